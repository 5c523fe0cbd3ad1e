// Compiled with -fno-exceptions, so without Catch: a broken precondition reaches the handler that the user
// named, with the message, before anything is written; where the handler comes back, the program aborts.
void on_violation(const char* message);
#define SMX_VIOLATION_HANDLER on_violation
#include <softmax.hpp>

#include "support/strided_view.hpp"

#include <cmath>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <vector>

#if defined(__cpp_exceptions)
#error "this test is about programs without exceptions"
#endif

namespace {

int failures = 0;

void expect(bool holds, const char* what) {
    if (!holds) {
        std::printf("no_exceptions: failed: %s\n", what);
        ++failures;
    }
}

const std::vector<double> x = {1, 2, 4};
const std::vector<double> two = {1, 2};
const std::vector<double> each = {0.5, -2};
const std::vector<int> targets = {7};
const std::vector<double> untouched(3, -77.0);
std::vector<double> out(3, -77.0), short_out(2, -77.0);

const auto one_by_one = [](std::size_t tasks, auto&& f) {
    for (std::size_t i = 0; i != tasks; ++i) {
        f(i);
    }
};

template <class T>
test::strided_view<T, 2> matrix_of(T* elements, std::size_t size, std::size_t rows) {
    const std::size_t columns = size / rows;
    return {elements, {rows, columns}, {static_cast<std::ptrdiff_t>(columns), 1}};
}

struct violation {
    void (*commit)();
    const char* parts[3]; // the message begins with the first and holds the others
};

const violation violations[] = {
    {[] { smx::softmax(x, short_out, 2); }, {"smx::softmax: ", "probabilities has 2", "logits has 3"}},
    {[] { smx::softmax(x, out, -2); }, {"smx::softmax: ", "temperature", "-2"}},
    {[] { smx::log_softmax(x, short_out); }, {"smx::log_softmax: ", "log_probabilities", "3"}},
    {[] { smx::logsumexp(x, 0); }, {"smx::logsumexp: ", "temperature", "0"}},
    {[] { smx::softmax(two, short_out, smx::shape{2, 1, 1}, each); },
     {"smx::softmax: ", "temperature", "-2"}},
    {[] { smx::cross_entropy(x, 7, out); }, {"smx::cross_entropy: ", "target is 7", "[0, 3)"}},
    {[] { smx::cross_entropy(x, targets, out, smx::shape{1, 3, 1}); },
     {"smx::cross_entropy: ", "target", "7"}},
    {[] { smx::cross_entropy(x, 1, out, {.label_smoothing = 2}); },
     {"smx::cross_entropy: ", "label_smoothing", "2"}},
    {[] { smx::softmax_backward(x, x, short_out); }, {"smx::softmax_backward: ", "gradient has 2", "3"}},
    {[] { smx::log_softmax_backward(x, x, out, 0); }, {"smx::log_softmax_backward: ", "temperature", "0"}},
    {[] { smx::kl_divergence(x, two, out); }, {"smx::kl_divergence: ", "teacher_logits has 2", "3"}},
    {[] { smx::softmax(matrix_of(x.data(), 3, 1), matrix_of(out.data(), 3, 1), 2); },
     {"smx::softmax: ", "axis is 2", "[-2, 2)"}},
    {[] { smx::softmax(matrix_of(x.data(), 3, 3), matrix_of(out.data(), 3, 1), 0); },
     {"smx::softmax: ", "probabilities has 1", "logits has 3"}},
    {[] { smx::log_softmax(one_by_one, x, out, smx::shape{1, 3}, -2); },
     {"smx::log_softmax: ", "temperature", "-2"}},
    // The last one: its handler comes back.
    {[] { smx::softmax(x, short_out, -3); }, {"smx::softmax: ", "", ""}},
};
constexpr std::size_t count = sizeof violations / sizeof violations[0];
std::size_t current = 0;

void commit_current() {
    const std::size_t before = current;
    violations[current].commit();
    std::printf("no_exceptions: failed: the program went on after violation %zu\n", before);
    std::_Exit(EXIT_FAILURE);
}

extern "C" void on_abort(int) {
    std::_Exit(failures == 0 && current == count - 1 ? EXIT_SUCCESS : EXIT_FAILURE);
}

} // namespace

// A handler has no way back that skips no destructor, so each one goes on with the next violation.
void on_violation(const char* message) {
    const violation& now = violations[current];
    std::printf("no_exceptions: %s\n", message);
    expect(std::strncmp(message, now.parts[0], std::strlen(now.parts[0])) == 0, now.parts[0]);
    expect(std::strstr(message, now.parts[1]) != nullptr, now.parts[1]);
    expect(std::strstr(message, now.parts[2]) != nullptr, now.parts[2]);
    expect(out == untouched && short_out == std::vector<double>(2, -77.0), "outputs as they were");
    if (current + 1 != count) {
        ++current;
        commit_current();
    }
}

int main() {
    const double e = std::exp(0.5);
    const double sum = e + e * e + e * e * e * e;
    std::vector<double> p(3);
    smx::softmax(x, p, 2);
    expect(std::abs(p[0] - e / sum) < 1e-15 && std::abs(p[2] - e * e * e * e / sum) < 1e-15,
           "softmax at T = 2");
    smx::log_softmax(x, p, 2);
    expect(std::abs(p[1] - (1 - std::log(sum))) < 1e-14, "log_softmax at T = 2");
    expect(std::abs(smx::logsumexp(x, 2) - std::log(sum)) < 1e-14, "logsumexp at T = 2");
    expect(std::abs(smx::cross_entropy(x, 1, p, {.temperature = 2}) - (std::log(sum) - 1)) < 1e-14,
           "cross_entropy");
    expect(std::abs(p[1] - (e * e / sum - 1) / 2) < 1e-15, "the gradient of cross_entropy at T = 2");
    expect(std::isnan(smx::logsumexp(std::vector<double>{1, std::numeric_limits<double>::quiet_NaN()})),
           "NaN");

    smx::softmax_backward(std::vector<double>{0.5, 0.25, 0.25}, x, p, 2);
    expect(p[0] == -0.25 && p[1] == 0 && p[2] == 0.25, "softmax_backward at T = 2");
    expect(smx::kl_divergence(x, x, p, {.temperature = 2}) == 0 && p[1] == 0, "kl_divergence of equal rows");

    std::signal(SIGABRT, on_abort);
    commit_current();
}
