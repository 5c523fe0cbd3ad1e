// What the page calls, compiled to WebAssembly: logits in one buffer, probabilities in another, entropy and the top class.
#include <softmax.hpp>

#include <cmath>
#include <cstddef>
#include <span>

namespace {

constexpr std::size_t most = 64;
double logits[most], probabilities[most], log_probabilities[most];

} // namespace

extern "C" {
[[clang::export_name("most")]] std::size_t most_logits() { return most; }
[[clang::export_name("logits")]] double* logits_buffer() { return logits; }
[[clang::export_name("probabilities")]] double* probabilities_buffer() { return probabilities; }

// The probabilities of the first n logits.
[[clang::export_name("softmax")]] void softmax_of_buffer(std::size_t n, double temperature) {
    smx::softmax(std::span(logits, n), std::span(probabilities, n), temperature);
}

// In nats: -sum p log(p), of the softmax that was computed last.
[[clang::export_name("entropy")]] double entropy_of_buffer(std::size_t n, double temperature) {
    smx::log_softmax(std::span(logits, n), std::span(log_probabilities, n), temperature);
    double sum = 0;
    for (std::size_t c = 0; c != n; ++c) {
        if (probabilities[c] > 0) {
            sum -= probabilities[c] * log_probabilities[c];
        }
    }
    return sum;
}
}
