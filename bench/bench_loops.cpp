// softmax and log_softmax of one row of floats: the loop that users write, at -O2 and at -O3 -march=native
// -ffast-math, beside smx at -O2. The last column counts. For numbers that hold on a noisy machine, medians of:
//   bench_loops --benchmark_repetitions=9 --benchmark_enable_random_interleaving=true
// (Debian's benchmark library warns that it was built for debugging. What is timed here is not in it.)
#include "loop.hpp"

#include <benchmark/benchmark.h>
#include <softmax.hpp>

#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <random>
#include <span>
#include <string>
#include <vector>

namespace {

using function = void (*)(const float*, float*, std::size_t rows, std::size_t columns);

void smx_softmax(const float* logits, float* probabilities, std::size_t, std::size_t n) {
    smx::softmax(std::span(logits, n), std::span(probabilities, n));
}

void smx_log_softmax(const float* logits, float* log_probabilities, std::size_t, std::size_t n) {
    smx::log_softmax(std::span(logits, n), std::span(log_probabilities, n));
}

struct contestant {
    const char* name;
    function softmax;
    function log_softmax;
};

constexpr contestant contestants[] = {
    {"loop_O2", loop_plain::softmax, loop_plain::log_softmax},
    {"loop_O3_native_fast_math", loop_fast::softmax, loop_fast::log_softmax},
    {"smx_O2", smx_softmax, smx_log_softmax},
};

constexpr std::size_t row_lengths[] = {10, 100, 1000, 32768, 128256};

std::vector<float> logits_of(std::size_t n) {
    std::mt19937 generator(1);
    std::normal_distribution<float> distribution(0, 3);
    std::vector<float> logits(n);
    for (float& x : logits)
        x = distribution(generator);
    return logits;
}

void measure(benchmark::State& state, function f, std::size_t n) {
    const std::vector<float> logits = logits_of(n);
    std::vector<float> result(n);
    const auto start = std::chrono::steady_clock::now();
    for (auto _ : state) {
        f(logits.data(), result.data(), 1, n);
        benchmark::ClobberMemory();
    }
    const std::chrono::duration<double, std::nano> elapsed = std::chrono::steady_clock::now() - start;
    // The library's own rates would come in seconds, printed as ns here and ps there.
    state.counters["ns_per_element"] =
        elapsed.count() / (static_cast<double>(state.iterations()) * static_cast<double>(n));
}

// A fast loop that computes something else is no baseline.
bool agree(function f, function g, std::size_t n) {
    const std::vector<float> logits = logits_of(n);
    std::vector<float> a(n), b(n);
    f(logits.data(), a.data(), 1, n);
    g(logits.data(), b.data(), 1, n);
    for (std::size_t i = 0; i < n; ++i)
        if (!(std::abs(a[i] - b[i]) <= 1e-3F * std::abs(b[i])))
            return false;
    return true;
}

} // namespace

int main(int argc, char** argv) {
    for (const std::size_t n : row_lengths) {
        for (const contestant& c : contestants) {
            if (!agree(c.softmax, smx_softmax, n) || !agree(c.log_softmax, smx_log_softmax, n)) {
                std::fprintf(stderr, "bench_loops: %s and smx disagree at n = %zu\n", c.name, n);
                return 1;
            }
        }
        const auto add = [n](const std::string& operation, const char* name, function f) {
            benchmark::RegisterBenchmark((operation + "/" + std::to_string(n) + "/" + name).c_str(), measure,
                                         f, n);
        };
        for (const contestant& c : contestants)
            add("softmax", c.name, c.softmax);
        for (const contestant& c : contestants)
            add("log_softmax", c.name, c.log_softmax);
    }
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv))
        return 1;
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
}
