// Two translation units that include the header, linked into one program: what is not inline fails the link.
#include <softmax.hpp>

#include <cstdio>
#include <vector>

std::vector<float> softmax_of_the_second_unit(const std::vector<float>& x, float temperature);
double loss_of_the_second_unit(const std::vector<double>& x, int target);

int main() {
    const std::vector<float> x = {1, 2, 4};
    const std::vector<double> y = {1, 2, 4};
    std::vector<float> p(3);
    smx::softmax(x, p, 0.5F);
    smx::log_softmax(y, 0.5);
    const bool same = p == softmax_of_the_second_unit(x, 0.5F) && p != softmax_of_the_second_unit(x, 2) &&
                      smx::cross_entropy(y, 1, {.temperature = 2}) == loss_of_the_second_unit(y, 1) &&
                      smx::logsumexp(y, 2) - 1 == loss_of_the_second_unit(y, 1);
    if (!same) {
        std::printf("two_translation_units: the two units disagree\n");
    }
    return same ? 0 : 1;
}
