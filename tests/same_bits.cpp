// The bits of every result, hashed, against one table for all machines with fused multiply-add: every instruction set
// that this one has, aligned and not, alone and in a batch. CMake builds this file at several optimization levels and
// with the flags that are known to change floating-point code. A program without Catch2, so that it cross-compiles alone.
//
// A hash changes when a kernel, its constants or the order of a sum does. Then the accuracy test has the word, and the
// new hash is printed here. Where there is no fused multiply-add the bits differ, within the same bounds.
#include "support/bits.hpp"

#include <softmax.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <numeric>
#include <span>
#include <type_traits>
#include <vector>

namespace {

using bits::hash;
using bits::logits;

template <class Real>
struct results {
    std::vector<Real> probabilities, log_probabilities, gradient;
    Real logsumexp, loss, mean_loss;

    friend bool operator==(const results&, const results&) = default;
};

// At each element from the start of a cache line: offset.
template <class Real>
results<Real> compute(const std::vector<Real>& row, double temperature, std::size_t offset) {
    const std::size_t n = row.size();
    const std::size_t line = 64 / sizeof(Real);
    std::vector<Real> in(n + 2 * line);
    std::vector<Real> out(n + 2 * line);
    const auto place = [&](std::vector<Real>& buffer) {
        const auto address = reinterpret_cast<std::uintptr_t>(buffer.data()) / sizeof(Real);
        return std::span(buffer).subspan((line - address % line) % line + offset, n);
    };
    const auto x = place(in);
    const auto y = place(out);
    std::memcpy(x.data(), row.data(), n * sizeof(Real));
    const auto taken = [&] { return std::vector<Real>(y.begin(), y.end()); };
    const std::size_t target = n / 3;
    const smx::cross_entropy_options<Real> options{.temperature = temperature};

    results<Real> all;
    smx::softmax(x, y, temperature);
    all.probabilities = taken();
    smx::log_softmax(x, y, temperature);
    all.log_probabilities = taken();
    all.logsumexp = smx::logsumexp(x, temperature);
    all.loss = smx::cross_entropy(x, target, options);
    all.mean_loss = smx::cross_entropy(x, target, y, options);
    all.gradient = taken();
    return all;
}

int failures = 0;

void expect(bool holds, const char* what, std::size_t n) {
    if (!holds) {
        std::printf("FAILED: %s differs, %zu classes\n", what, n);
        ++failures;
    }
}

// The same row as the middle one of three, and as the middle column of three.
template <class Real>
void expect_same_in_a_batch(const std::vector<Real>& row, const results<Real>& alone, double temperature) {
    const std::size_t n = row.size();
    for (const smx::shape shape : {smx::shape{3, n, 1}, smx::shape{1, n, 3}}) {
        const auto at = [&](std::size_t r, std::size_t c) {
            return shape.inner == 1 ? r * n + c : c * 3 + r;
        };
        std::vector<Real> x(3 * n);
        std::vector<Real> y(3 * n);
        std::vector<Real> sums(3);
        for (std::size_t c = 0; c < n; ++c) {
            x[at(0, c)] = row[n - 1 - c];
            x[at(1, c)] = row[c];
            x[at(2, c)] = row[c] / 4;
        }
        const auto middle_is = [&](const std::vector<Real>& expected) {
            std::vector<Real> middle(n);
            for (std::size_t c = 0; c < n; ++c) {
                middle[c] = y[at(1, c)];
            }
            return middle == expected;
        };
        smx::softmax(x, y, shape, temperature);
        expect(middle_is(alone.probabilities), "softmax in a batch", n);
        smx::softmax(x, y, shape, std::vector<double>{1.5, temperature, 0});
        expect(middle_is(alone.probabilities), "softmax at a temperature per row", n);
        smx::log_softmax(x, y, shape, temperature);
        expect(middle_is(alone.log_probabilities), "log_softmax in a batch", n);
        smx::logsumexp(x, sums, shape, temperature);
        expect(sums[1] == alone.logsumexp, "logsumexp in a batch", n);
        const std::size_t targets[] = {0, n / 3, n - 1};
        smx::cross_entropy(
            x, targets, y, shape,
            smx::cross_entropy_options<Real>{.temperature = temperature, .reduce = smx::reduction::sum});
        expect(middle_is(alone.gradient), "gradient in a batch", n);
        smx::softmax(x, x, shape, temperature);
        y = x;
        expect(middle_is(alone.probabilities), "softmax in place", n);
    }
}

// 1 to `most`, then some longer ones.
std::vector<std::size_t> sizes(std::size_t most, std::initializer_list<std::size_t> longer) {
    std::vector<std::size_t> all(most);
    std::iota(all.begin(), all.end(), std::size_t{1});
    all.insert(all.end(), longer);
    return all;
}

template <class Real>
std::uint64_t hash_of_all() {
    hash all;
    logits<Real> next;
    for (const std::size_t n : sizes(300, {1000, 1023, 4096, 4097, 50257, 200003, 2097155})) {
        for (const double temperature : {1.0, 0.7, 3.0}) {
            if (n > 1000000 && temperature != 0.7) { // long rows are long at any temperature
                continue;
            }
            const int scale = static_cast<int>(n % 7);
            std::vector<Real> row(n);
            for (Real& x : row) {
                x = next(scale);
            }
            const auto found = compute(row, temperature, 0);
            expect(found.loss == found.mean_loss, "the loss without and with its gradient", n);
            for (const std::size_t offset : {std::size_t{1}, n % (64 / sizeof(Real))}) {
                expect(compute(row, temperature, offset) == found, "a misaligned row", n);
            }
            if (n <= 5000) {
                expect_same_in_a_batch(row, found, temperature);
            }
            all.add(std::span<const Real>(found.probabilities));
            all.add(std::span<const Real>(found.log_probabilities));
            all.add(std::span<const Real>(found.gradient));
            all.add(found.logsumexp);
            all.add(found.loss);
        }
    }
    return all.value();
}

// The gradients of the forward functions, of outputs that these did not make, and the loss of distillation with its own.
template <class Real>
std::uint64_t hash_of_gradients() {
    hash all;
    logits<Real> next;
    for (const std::size_t n : sizes(70, {300, 1023, 5000, 200003})) {
        for (const double temperature : {1.0, 0.7, 3.0}) {
            const int scale = static_cast<int>(n % 5);
            std::vector<Real> x(n), u(n), p(n), l(n), g(n), h(n), d(n);
            for (std::size_t c = 0; c < n; ++c) {
                x[c] = next(scale);
                u[c] = next(1);
                p[c] = (x[c] < 0 ? -x[c] : x[c]) / 64;
                l[c] = x[c] - 16;
            }
            smx::softmax_backward(p, u, g, temperature);
            smx::log_softmax_backward(l, u, h, temperature);
            const Real divergence = smx::kl_divergence(x, u, d, {.temperature = temperature});
            all.add(std::span<const Real>(g));
            all.add(std::span<const Real>(h));
            all.add(std::span<const Real>(d));
            all.add(divergence);
        }
    }
    return all.value();
}

// Rows under a bias that excludes some logits, under truth values, and beside a sink.
template <class Real>
std::uint64_t hash_of_masked() {
    hash all;
    logits<Real> next;
    for (const std::size_t n : sizes(140, {300, 1023, 5000})) {
        for (const double temperature : {1.0, 0.7, 3.0}) {
            std::vector<Real> x(n), bias(n), p(n);
            std::vector<unsigned char> mask(n);
            for (std::size_t c = 0; c < n; ++c) {
                x[c] = next(static_cast<int>(n % 7));
                bias[c] = c % 5 == 4 ? -std::numeric_limits<Real>::infinity() : next(3);
                mask[c] = c % 5 != 4;
            }
            const auto add = [&](const auto& by, const smx::masked_options<Real>& options) {
                smx::masked_softmax(x, by, p, options);
                all.add(std::span<const Real>(p));
                smx::masked_log_softmax(x, by, p, options);
                all.add(std::span<const Real>(p));
            };
            add(bias, {.temperature = temperature});
            add(mask, {.temperature = temperature});
            add(bias, {.temperature = temperature, .sink = 1});
        }
    }
    return all.value();
}

struct golden {
    std::uint64_t all, gradients, masked;

    friend bool operator==(const golden&, const golden&) = default;
};

template <class Real>
void check(const char* type, const char* instruction_set, bool fused, const golden& expected) {
    const golden found{hash_of_all<Real>(), hash_of_gradients<Real>(), hash_of_masked<Real>()};
    const auto number = [](std::uint64_t hash) { return static_cast<unsigned long long>(hash); };
    std::printf("%-6s %-8s %016llx %016llx %016llx%s\n", type, instruction_set, number(found.all),
                number(found.gradients), number(found.masked),
                fused ? "" : "  (no fused multiply-add: its own bits)");
    if (fused && found != expected) {
        std::printf("FAILED: expected %016llx %016llx %016llx\n", number(expected.all),
                    number(expected.gradients), number(expected.masked));
        ++failures;
    }
}

} // namespace

int main() {
    namespace detail = smx::detail;
    using set = detail::instruction_set;
    constexpr golden golden_float{0xce59479ac1aecdeb, 0x6f7b3894868d89df, 0xf7a5054a472a4ad3};
    constexpr golden golden_double{0xa46fcc18bf5c2824, 0x532a791a20eb75d0, 0xd091d1ddb686c555};
    constexpr struct {
        set which;
        const char* name;
    } sets[] = {{set::avx512, "AVX-512"}, {set::avx2, "AVX2"}, {set::baseline, "baseline"}};
    if (detail::use_instruction_set(set::avx512) > detail::best_instruction_set()) { // pinned at compile time
        std::printf("not on this machine\n");
        return 0;
    }
    for (const auto& [which, name] : sets) {
        if (detail::use_instruction_set(which) != which) {
            std::printf("%s: not on this machine\n", name);
            continue;
        }
        const bool fused = which != set::baseline || detail::is_fused<detail::pack<float, 4>>;
        check<float>("float", name, fused, golden_float);
        check<double>("double", name, fused, golden_double);
    }
    std::printf("%d failed\n", failures);
    return failures == 0 ? 0 : 1;
}
