// The other unit of first_unit.cpp.
#include <softmax.hpp>

#include <vector>

std::vector<float> softmax_of_the_second_unit(const std::vector<float>& x, float temperature);
double loss_of_the_second_unit(const std::vector<double>& x, int target);

std::vector<float> softmax_of_the_second_unit(const std::vector<float>& x, float temperature) {
    return smx::softmax(x, temperature);
}

double loss_of_the_second_unit(const std::vector<double>& x, int target) {
    std::vector<double> gradient(x.size());
    return smx::cross_entropy(x, target, gradient, {.temperature = 2});
}
