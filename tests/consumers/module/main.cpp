// A program that imports the module, linked with a unit that includes the header.
#include <cstdio>
#include <vector>

import softmax;

#if defined(SMX_VERSION_MAJOR)
#error "a module exports no macros"
#endif

std::vector<float> softmax_of_the_second_unit(const std::vector<float>& x, float temperature);
double loss_of_the_second_unit(const std::vector<double>& x, int target);

int main() {
    const std::vector<float> x = {1, 2, 4, 1, 2, 4};
    std::vector<float> p(6);
    smx::softmax(x, p, smx::shape{.outer = 2, .classes = 3}, 0.5F);
    const bool same_softmax =
        std::vector<float>(p.begin() + 3, p.end()) == softmax_of_the_second_unit({1, 2, 4}, 0.5F);

    const std::vector<double> y = {1, 2, 4};
    const smx::cross_entropy_options<double> options = {.temperature = 2, .reduce = smx::reduction::sum};
    const bool same_loss = smx::cross_entropy(y, 1, options) == loss_of_the_second_unit(y, 1) &&
                           smx::logsumexp(y, 2) - 1 == loss_of_the_second_unit(y, 1) &&
                           -smx::log_softmax(y, 2)[1] == loss_of_the_second_unit(y, 1);

    static_assert(smx::temperature_for<int, float> && smx::temperatures_for<std::vector<float>, float>);
    std::printf("module: softmax %s, loss %s\n", same_softmax ? "same" : "differs",
                same_loss ? "same" : "differs");
    return same_softmax && same_loss ? 0 : 1;
}
