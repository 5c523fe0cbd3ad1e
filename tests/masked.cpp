// masked_softmax and masked_log_softmax under random masks of every kind, with every option, against an oracle wider than the
// result, on every instruction set of the machine; the bits that they share with softmax; what is excluded; batches; gradients.
#include <softmax.hpp>

#include "support/accuracy.hpp"
#include "support/instruction_sets.hpp"
#include "support/oracle_masked.hpp"
#include "support/sanitizers.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <list>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

namespace {

using namespace accuracy;

template <class Real>
constexpr Real inf = std::numeric_limits<Real>::infinity();
template <class Real>
constexpr Real nan_of = std::numeric_limits<Real>::quiet_NaN();

// tanh rounds x / T to the type, and is the type's: a bound of its own. Floats are computed in double.
template <class Real>
double bound_of(double softcap) {
    return 3 + (softcap > 0 && !std::is_same_v<Real, float> ? 4 * softcap : 0);
}

// One row with its mask in the one form that says all, and what a sink and a cap add.
template <class Real>
struct masked_case {
    std::vector<Real> x;
    std::vector<bool> part;
    std::vector<Real> bias;
    smx::masked_options<Real> options;
};

enum class kind {
    everything,
    nothing,
    one,
    random,
    bias,
    bias_and_holes,
    selecting_bias,
    far_bias,
    slope,
    length
};
constexpr kind all_kinds[] = {
    kind::everything,     kind::nothing,        kind::one,      kind::random, kind::bias,
    kind::bias_and_holes, kind::selecting_bias, kind::far_bias, kind::slope,  kind::length};
constexpr const char* name_of_kind[] = {
    "everything",         "nothing",      "one",   "random", "bias", "bias and holes",
    "bias of 0 and -inf", "bias of -1e9", "slope", "length"};

constexpr bool is_bias(kind k) { return k >= kind::bias && k <= kind::slope; }

template <class Real>
masked_case<Real> case_of(kind k, std::size_t n, double spread, random_numbers& random) {
    masked_case<Real> row{std::vector<Real>(n), std::vector<bool>(n, true), std::vector<Real>(n), {}};
    const std::size_t one = n == 0 ? 0 : random.below(n), length = random.below(n + 1);
    for (std::size_t c = 0; c != n; ++c) {
        row.x[c] = static_cast<Real>(spread * random.normal());
        const bool hole = random.below(3) == 0;
        switch (k) {
        case kind::everything:
            break;
        case kind::nothing:
            row.part[c] = false;
            break;
        case kind::one:
            row.part[c] = c == one;
            break;
        case kind::random:
        case kind::selecting_bias:
            row.part[c] = !hole;
            break;
        case kind::bias:
            row.bias[c] = static_cast<Real>(10 * random.normal());
            break;
        case kind::bias_and_holes:
            row.bias[c] = static_cast<Real>(40 * random.normal());
            row.part[c] = !hole;
            break;
        case kind::far_bias:
            row.bias[c] = hole ? static_cast<Real>(-1e9) : static_cast<Real>(random.normal());
            break;
        case kind::slope:
            row.bias[c] = static_cast<Real>(-0.0884 * static_cast<double>(n - 1 - c));
            break;
        case kind::length:
            row.part[c] = c < length;
            break;
        }
        if (!row.part[c]) { // must have no effect
            const Real poison[] = {nan_of<Real>, inf<Real>, -inf<Real>, static_cast<Real>(3e38), Real(1)};
            row.x[c] = poison[random.below(5)];
            row.bias[c] = is_bias(k) ? -inf<Real> : Real(0);
        }
    }
    return row;
}

// f(mask) with the mask of a case, in the form that its kind has.
template <class Real, class F>
void with_mask(kind k, const masked_case<Real>& row, F f) {
    const std::size_t n = row.x.size();
    if (is_bias(k)) {
        f(row.bias);
    } else if (k == kind::length) {
        f(smx::valid_lengths({static_cast<std::size_t>(std::count(row.part.begin(), row.part.end(), true))}));
    } else if (n % 3 == 0) {
        f(row.part);
    } else if (n % 3 == 1) {
        const auto truth = std::make_unique<bool[]>(n);
        std::copy(row.part.begin(), row.part.end(), truth.get());
        f(std::span<const bool>(truth.get(), n));
    } else {
        std::vector<int> truth;
        for (const bool part : row.part) {
            truth.push_back(part ? -256 : 0); // a byte of it is 0
        }
        f(truth);
    }
}

template <class Real>
bool same_bits(const std::vector<Real>& a, const std::vector<Real>& b) {
    for (std::size_t c = 0; c != a.size(); ++c) {
        if (!(a[c] == b[c]) && !(std::isnan(a[c]) && std::isnan(b[c]))) {
            return false;
        }
    }
    return a.size() == b.size();
}

template <class Real>
void examine(kind k, const masked_case<Real>& row, const oracle::masked_row<Real>& exact,
             const std::string& where) {
    const std::size_t n = row.x.size();
    const double cap = static_cast<double>(row.options.softcap);
    const std::string option = cap > 0 ? " with a softcap" : is_bias(k) ? " with a bias" : "";
    verdict<Real> p_found("masked_softmax" + option, bound_of<Real>(cap), where),
        l_found("masked_log_softmax" + option, bound_of<Real>(cap), where);
    with_mask(k, row, [&](const auto& mask) {
        std::vector<Real> p(n, Real(7)), l(n, Real(7)), in_place = row.x;
        smx::masked_softmax(row.x, mask, p, row.options);
        smx::masked_softmax(in_place, mask, in_place, row.options);
        std::size_t wrong = same_bits(p, in_place) ? 0 : 1000;
        smx::masked_log_softmax(row.x, mask, l, row.options);
        in_place = row.x;
        smx::masked_log_softmax(in_place, mask, in_place, row.options);
        wrong += same_bits(l, in_place) ? 0 : 1000;
        for (std::size_t c = 0; c != n; ++c) {
            if (!row.part[c]) {
                wrong += p[c] == 0 && l[c] == -inf<Real> ? 0 : 1;
                continue;
            }
            wrong += p[c] >= 0 && p[c] <= 1 && l[c] <= 0 ? 0 : 1;
            l_found.add(l[c], exact.log_probability(c), c);
            if (is_normal_magnitude<Real>(exact.probability(c))) {
                p_found.add(p[c], exact.probability(c), c);
            } else {
                wrong += p[c] <= (std::numeric_limits<Real>::min)() ? 0 : 1;
            }
        }
        CAPTURE(where);
        CHECK(wrong == 0);
    });
    p_found.check();
    l_found.check();
}

template <class Real>
std::vector<smx::masked_options<Real>> options_to_judge() {
    return {{.temperature = 1},
            {.temperature = static_cast<Real>(0.7)},
            {.temperature = 8, .sink = static_cast<Real>(0.3)},
            {.temperature = static_cast<Real>(1.3), .softcap = 20},
            {.temperature = static_cast<Real>(0.3), .softcap = 5, .sink = 2},
            {.temperature = 2, .sink = static_cast<Real>(30)},
            {.temperature = 3, .sink = -80},
            {.temperature = static_cast<Real>(0.9), .sink = 60}};
}

} // namespace

TEMPLATE_TEST_CASE("masked_softmax and masked_log_softmax keep their bounds under every mask and option", "",
                   float, double, long double) {
    using real = TestType;
    std::vector<std::size_t> sizes;
    for (std::size_t n = 0; n <= 130; n += is_sanitized && n > 20 ? 13 : 1) {
        sizes.push_back(n);
    }
    sizes.insert(sizes.end(), {1000, 2049, 5000});
    random_numbers random(17);
    for (const std::size_t n : sizes) {
        const std::size_t thorough = n <= 130 || std::is_same_v<real, float> ? 1 : 0;
        for (const kind k : all_kinds) {
            std::size_t number = 0;
            for (const auto& options : options_to_judge<real>()) {
                ++number;
                if (n > 20 && (n + number) % 3 != 0 && options.softcap == 0 && thorough == 0) {
                    continue;
                }
                if (n > 20 && n % options_to_judge<real>().size() != number - 1 && number != 2) {
                    continue; // each option at every length is the work of minutes
                }
                const double spread = number % 2 == 0 ? 3 : 20;
                auto row = case_of<real>(k, n, spread, random);
                row.options = options;
                const oracle::masked_row<real> exact(row);
                const auto check = [&] {
                    examine(k, row, exact,
                            std::string(name_of_kind[static_cast<int>(k)]) + ", " + std::to_string(n) +
                                " logits, options " + std::to_string(number));
                };
                std::is_same_v<real, long double> ? check() : on_every_instruction_set(check);
            }
        }
    }
}

TEMPLATE_TEST_CASE("masked_softmax keeps its bounds under logits and biases of any size", "", float, double) {
    using real = TestType;
    random_numbers random(5);
    for (const double size : {1e2, 3e2, 7e2, 5e3, 1e5, 3e6, 1e15, 1e30}) {
        for (const std::size_t n : {1U, 7U, 64U, 200U}) {
            masked_case<real> row = case_of<real>(kind::bias, n, 3, random);
            row.options.temperature = 0.7;
            const real far = static_cast<real>(size);
            for (std::size_t c = 0; c != n; ++c) { // x / T and the bias nearly cancel, or do not
                const int how = static_cast<int>(random.below(4));
                row.x[c] = how == 0   ? far
                           : how == 1 ? -far
                           : how == 2 ? far * static_cast<real>(random.normal())
                                      : row.x[c];
                row.bias[c] = how == 0   ? static_cast<real>(-static_cast<double>(far) / 0.7)
                              : how == 1 ? static_cast<real>(static_cast<double>(far) / 0.7) + row.bias[c]
                                         : row.bias[c];
            }
            const oracle::masked_row<real> exact(row);
            on_every_instruction_set(
                [&] { examine(kind::bias, row, exact, "size " + std::to_string(size)); });
        }
    }
}

// Rows that the kernels do with the bias where they load it.
TEMPLATE_TEST_CASE("masked_softmax keeps its bounds under biases and temperatures that do not divide", "",
                   float, double) {
    using real = TestType;
    random_numbers random(31);
    constexpr double temperatures[] = {1, 0.3, 1.7, 8, 11.3, 1e-3};
    std::vector<std::size_t> sizes;
    for (std::size_t n = 1; n <= 130; n += is_sanitized ? 13 : 1) {
        sizes.push_back(n);
    }
    sizes.insert(sizes.end(), {511, 512, 513, 2047, 2048, 2049});
    std::size_t number = 0;
    for (const std::size_t n : sizes) {
        const double t = temperatures[number++ % std::size(temperatures)];
        masked_case<real> row = case_of<real>(kind::bias, n, 20 * t, random);
        row.options.temperature = static_cast<real>(t);
        const std::size_t hole = n > 2 ? number % 4 : 0; // -inf first, last, in the middle, nowhere
        for (std::size_t c = 0; c != n; ++c) {
            switch (number % 3) {
            case 0: // they cancel
                row.bias[c] = static_cast<real>(1e4 * random.normal());
                row.x[c] -= static_cast<real>(t) * row.bias[c];
                break;
            case 1:
                row.bias[c] = static_cast<real>(-0.0884 * static_cast<double>(c) + random.normal());
                break;
            default:
                row.bias[c] = static_cast<real>(1e4 * random.normal());
                break;
            }
            if ((hole == 1 && c == 0) || (hole == 2 && c == n - 1) || (hole == 3 && c % 3 == 1)) {
                row.part[c] = false;
                row.bias[c] = -inf<real>;
                row.x[c] = number % 2 == 0 ? nan_of<real> : std::numeric_limits<real>::max();
            }
        }
        const oracle::masked_row<real> exact(row);
        on_every_instruction_set([&] {
            examine(kind::bias, row, exact, std::to_string(n) + " logits, T = " + std::to_string(t));
        });
    }
}

// 1 over the sum of terms is no number of the type there.
TEMPLATE_TEST_CASE("masked_softmax keeps its bounds under a sink far above all logits", "", float, double) {
    using real = TestType;
    random_numbers random(31);
    for (const double sink : {20.0, 40.0, 60.0, 80.0, 85.0, 300.0, 600.0, 700.0}) {
        for (const std::size_t n : {1U, 9U, 64U, 200U}) {
            for (const kind k : {kind::everything, kind::random, kind::bias, kind::length}) {
                auto row = case_of<real>(k, n, 1, random);
                row.options = {.temperature = static_cast<real>(0.7), .sink = static_cast<real>(sink)};
                const oracle::masked_row<real> exact(row);
                on_every_instruction_set([&] { examine(k, row, exact, "sink " + std::to_string(sink)); });
            }
        }
    }
}

// (x - top) / T and x / T have no number there.
TEMPLATE_TEST_CASE(
    "masked_log_softmax keeps the other logits where one of them over T overflows under a sink", "", float,
    double, long double) {
    using real = TestType;
    const real t = real(1e-25), far = (std::numeric_limits<real>::max)() / 2;
    const std::vector<real> x{-3, -far, -5}, bias{real(0.25), real(0.5), real(-0.25)};
    std::vector<real> l(3), p(3);
    on_every_instruction_set([&] {
        smx::masked_softmax(x, bias, p, {.temperature = t, .sink = -3});
        smx::masked_log_softmax(x, bias, l, {.temperature = t, .sink = -3});
        CHECK(p == std::vector<real>(3));
        CHECK(l[0] == x[0] / t);
        CHECK(l[1] == -inf<real>);
        CHECK(l[2] == x[2] / t);
    });
}

TEMPLATE_TEST_CASE("masked_softmax has the bits of softmax under masks that exclude nothing, or the end", "",
                   float, double) {
    using real = TestType;
    on_every_instruction_set([] {
        random_numbers random(3);
        for (std::size_t n = 1; n <= 3000; n += n < 130 || (n > 2040 && n < 2050) ? 1 : n == 2040 ? 5 : 191) {
            for (const double t : {1.0, 0.7, 11.3, inf<double>}) {
                std::vector<real> x(n), expected(n), found(n), log_expected(n);
                for (real& v : x) {
                    v = static_cast<real>(5 * random.normal());
                }
                const smx::masked_options<real> options{.temperature = t};
                smx::softmax(x, expected, t);
                smx::log_softmax(x, log_expected, t);
                const std::vector<unsigned char> bytes(n, 7);
                const std::vector<bool> bits(n, true);
                const std::vector<real> zero(n);
                const auto check = [&](const auto& mask) {
                    smx::masked_softmax(x, mask, found, options);
                    CHECK(same_bits(found, expected));
                    smx::masked_log_softmax(x, mask, found, options);
                    CHECK(same_bits(found, log_expected));
                };
                check(bytes);
                check(bits);
                check(zero);
                check(smx::valid_lengths({n}));
                check(smx::causal(static_cast<std::ptrdiff_t>(n) - 1));

                // A longer row whose end does not count.
                std::vector<real> longer = x, whole(n + 37);
                longer.resize(n + 37, nan_of<real>);
                smx::masked_softmax(longer, smx::valid_lengths({n}), whole, options);
                CHECK(std::equal(expected.begin(), expected.end(), whole.begin()));
                CHECK(std::count(whole.begin(), whole.end(), real(0)) >= 37);
                smx::masked_log_softmax(longer, smx::causal(static_cast<std::ptrdiff_t>(n) - 1), whole,
                                        options);
                CHECK(std::equal(log_expected.begin(), log_expected.end(), whole.begin()));
                CHECK(whole[n] == -inf<real>);
                CHECK(whole.back() == -inf<real>);
            }
        }
    });
}

TEMPLATE_TEST_CASE("masked_softmax has the bits of truth values under a bias of 0 and -inf", "", float,
                   double) {
    using real = TestType;
    on_every_instruction_set([] {
        random_numbers random(4);
        for (std::size_t n = 1; n <= 2100; n += n < 70 ? 1 : 203) {
            auto row = case_of<real>(kind::selecting_bias, n, 3, random);
            std::vector<real> by_bias(n), by_truth(n), by_bytes(n);
            const std::vector<unsigned char> bytes(row.part.begin(), row.part.end());
            for (const double t : {1.0, 0.7, 8.0}) {
                for (const double sink : {-inf<double>, 0.5}) {
                    const smx::masked_options<real> options{.temperature = t, .sink = sink};
                    smx::masked_softmax(row.x, row.bias, by_bias, options);
                    smx::masked_softmax(row.x, row.part, by_truth, options);
                    smx::masked_softmax(row.x, bytes, by_bytes, options);
                    CHECK(same_bits(by_bias, by_truth));
                    CHECK(same_bits(by_bytes, by_truth));
                }
            }
        }
    });
}

TEMPLATE_TEST_CASE("masked_softmax of a batch has the bits of its rows under every mask and shape", "", float,
                   double, long double) {
    using real = TestType;
    on_every_instruction_set([] {
        random_numbers random(8);
        for (const smx::shape s : {smx::shape{6, 5},
                                   {40, 3},
                                   {37, 20},
                                   {20, 130},
                                   {6, 40},
                                   {6, 700},
                                   {5, 2048},
                                   {4, 5000},
                                   {2, 33, 3},
                                   {3, 7, 4},
                                   {1, 5, 6}}) {
            const std::size_t rows = s.outer * s.inner, n = s.classes;
            std::vector<real> x(rows * n), bias(rows * n), sinks(rows), found(x.size());
            std::vector<char> truth(rows * n);
            std::vector<bool> bits(rows * n);
            std::vector<short> lengths(rows);
            for (std::size_t i = 0; i != x.size(); ++i) {
                x[i] = static_cast<real>(3 * random.normal());
                bias[i] = random.below(4) == 0 ? -inf<real> : static_cast<real>(random.normal());
                bits[i] = random.below(3) != 0;
                truth[i] = bits[i] ? 'x' : '\0';
            }
            for (std::size_t r = 0; r != rows; ++r) {
                sinks[r] = static_cast<real>(random.normal());
                lengths[r] = static_cast<short>(random.below(n + 1));
            }
            const auto at = [&](std::size_t r, std::size_t c) {
                return (r / s.inner * n + c) * s.inner + r % s.inner;
            };
            const auto check = [&](const auto& masks, auto mask_of_row, bool sunk) {
                smx::masked_options<real> options{.temperature = 2};
                options.sinks = sunk ? std::span<const real>(sinks) : std::span<const real>();
                smx::masked_softmax(x, masks, found, s, options);
                std::vector<real> in_place = x, logs(x.size());
                smx::masked_softmax(in_place, masks, in_place, s, options);
                CHECK(same_bits(found, in_place));
                smx::masked_log_softmax(x, masks, logs, s, options);
                std::size_t different = 0;
                for (std::size_t r = 0; r != rows; ++r) {
                    std::vector<real> row(n), expected(n), log_expected(n);
                    for (std::size_t c = 0; c != n; ++c) {
                        row[c] = x[at(r, c)];
                    }
                    smx::masked_options<real> own{.temperature = 2};
                    if (sunk) {
                        own.sink = sinks[r];
                    }
                    const auto mask = mask_of_row(r);
                    smx::masked_softmax(row, mask, expected, own);
                    smx::masked_log_softmax(row, mask, log_expected, own);
                    for (std::size_t c = 0; c != n; ++c) {
                        different +=
                            found[at(r, c)] == expected[c] && logs[at(r, c)] == log_expected[c] ? 0 : 1;
                    }
                }
                CAPTURE(s.outer, s.classes, s.inner, sunk);
                CHECK(different == 0);
            };
            const auto row_of = [&](const auto& all) {
                return [&](std::size_t r) {
                    std::vector<typename std::remove_cvref_t<decltype(all)>::value_type> row(n);
                    for (std::size_t c = 0; c != n; ++c) {
                        row[c] = all[all.size() == n ? c : at(r, c)];
                    }
                    return row;
                };
            };
            for (const bool sunk : {false, true}) {
                check(truth, row_of(truth), sunk);
                check(bits, row_of(bits), sunk);
                check(bias, row_of(bias), sunk);
                const std::vector<real> one_bias(bias.begin(), bias.begin() + static_cast<std::ptrdiff_t>(n));
                const std::vector<char> one_truth(truth.begin(),
                                                  truth.begin() + static_cast<std::ptrdiff_t>(n));
                check(one_bias, row_of(one_bias), sunk);
                check(one_truth, row_of(one_truth), sunk);
                std::size_t length = 0;
                const auto one_length = [&](std::size_t of) {
                    length = of;
                    return smx::valid_lengths(std::span<const std::size_t>(&length, 1));
                };
                check(
                    smx::valid_lengths(lengths),
                    [&](std::size_t r) { return one_length(std::size_t(lengths[r])); }, sunk);
                for (const std::ptrdiff_t offset : {-3, 0, 2}) {
                    const auto seen = [&](std::size_t r) {
                        const auto wanted = static_cast<std::ptrdiff_t>(r) + 1 + offset;
                        return one_length(static_cast<std::size_t>(
                            std::clamp<std::ptrdiff_t>(wanted, 0, std::ptrdiff_t(n))));
                    };
                    check(smx::causal(offset), seen, sunk);
                    check(smx::causal(offset, 2), [&](std::size_t r) { return seen(r % 2); }, sunk);
                }
            }
        }
    });
}

TEST_CASE("masked_softmax uses the rows of a mask in turn under batches of several matrices") {
    // Two matrices of 3 x 2, one mask of 3 x 2.
    const std::vector<double> x = {1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6};
    const std::array<bool, 6> mask = {true, false, true, true, false, true};
    std::vector<double> p(12);
    smx::masked_softmax(x, mask, p, {6, 2}, {.temperature = 2});
    CHECK(p[0] == 1);
    CHECK(p[1] == 0);
    CHECK(p[4] == 0);
    CHECK(std::equal(p.begin(), p.begin() + 6, p.begin() + 6));
}

TEMPLATE_TEST_CASE("masked_softmax has the bits of a mask written out under one that is used in turn", "",
                   float, double) {
    using real = TestType;
    on_every_instruction_set([] {
        random_numbers random(12);
        for (const std::size_t n : {1U, 3U, 16U, 65U, 127U, 128U, 600U}) {
            for (const std::size_t count : {1U, 2U, 5U, 20U}) {
                const smx::shape s{40, n};
                std::vector<real> x(40 * n), bias(count * n), found(x.size()), expected(x.size());
                for (real& v : x) {
                    v = static_cast<real>(3 * random.normal());
                }
                for (real& b : bias) {
                    b = random.below(4) == 0 ? -inf<real> : static_cast<real>(random.normal());
                }
                std::vector<real> far = bias, selecting = bias;
                for (std::size_t i = 0; i != bias.size(); ++i) {
                    far[i] = i % 5 == 1 ? static_cast<real>(-1e9) : bias[i];
                    selecting[i] = bias[i] > 0 ? real(0) : -inf<real>;
                }
                std::vector<bool> bits(bias.size());
                for (std::size_t i = 0; i != bits.size(); ++i) { // every third row has nothing left
                    bits[i] = bias[i] > 0 && i / n % 3 != 2;
                }
                const std::vector<unsigned char> bytes(bits.begin(), bits.end());
                const auto check = [&](const auto& mask) {
                    auto whole = mask;
                    for (std::size_t i = mask.size(); i != x.size(); ++i) {
                        whole.push_back(mask[i % mask.size()]);
                    }
                    for (const double t : {1.0, 1.7}) {
                        const smx::masked_options<real> options{.temperature = t};
                        smx::masked_softmax(x, mask, found, s, options);
                        smx::masked_softmax(x, whole, expected, s, options);
                        CHECK(same_bits(found, expected));
                    }
                };
                check(bias);
                check(bits);
                check(bytes);
                check(selecting);
                check(far);
                for (std::size_t i = 1; i < x.size(); i += 3 * n) { // what makes up for it
                    x[i] = static_cast<real>(1e9);
                }
                check(far);
            }
        }
    });
}

TEMPLATE_TEST_CASE(
    "masked_softmax leaves nothing but 0 of rows with nothing left, and NaN where it takes part", "", float,
    double, long double) {
    using real = TestType;
    on_every_instruction_set([] {
        for (const std::size_t n : {1U, 3U, 16U, 40U, 300U, 2500U}) {
            std::vector<real> x(n, real(0.5)), p(n), l(n);
            std::vector<char> some(n, 1);
            std::vector<real> bias(n, real(0.25));
            for (std::size_t c = 1; c < n; c += 2) {
                some[c] = 0;
                bias[c] = -inf<real>;
            }
            const auto all_are = [&](real taken, real log_taken) {
                bool right = true;
                for (std::size_t c = 0; c != n; ++c) {
                    const real expected = some[c] != 0 ? taken : real(0);
                    const real log_expected = some[c] != 0 ? log_taken : -inf<real>;
                    right = right && (std::isnan(expected) ? std::isnan(p[c]) : p[c] == expected);
                    right = right && (std::isnan(log_expected) ? std::isnan(l[c]) : l[c] == log_expected);
                }
                return right;
            };
            for (const double sink : {-inf<double>, 1.0, 2e5, -2e5}) {
                const smx::masked_options<real> options{.temperature = 3, .sink = static_cast<real>(sink)};
                const auto run = [&](const auto& mask) {
                    smx::masked_softmax(x, mask, p, options);
                    smx::masked_log_softmax(x, mask, l, options);
                };
                for (const real bad : {nan_of<real>, inf<real>}) {
                    x.assign(n, real(0.5));
                    x[n / 2 / 2 * 2] = bad;
                    run(some);
                    CHECK(all_are(nan_of<real>, nan_of<real>));
                    run(bias);
                    CHECK(all_are(nan_of<real>, nan_of<real>));
                }
                x.assign(n, -inf<real>); // takes part, but has no weight
                run(some);
                CHECK((sink > -1e9 ? all_are(0, -inf<real>) : all_are(nan_of<real>, nan_of<real>)));
                run(bias);
                CHECK((sink > -1e9 ? all_are(0, -inf<real>) : all_are(nan_of<real>, nan_of<real>)));
                x.assign(n, nan_of<real>);
                const auto nothing_left = [&](const auto& mask) {
                    run(mask);
                    CHECK(std::count(p.begin(), p.end(), real(0)) == static_cast<std::ptrdiff_t>(n));
                    CHECK(std::count(l.begin(), l.end(), -inf<real>) == static_cast<std::ptrdiff_t>(n));
                };
                nothing_left(std::vector<bool>(n));
                nothing_left(std::vector<char>(n));
                nothing_left(std::vector<real>(n, -inf<real>));
                nothing_left(smx::valid_lengths({0}));
                nothing_left(smx::causal(-1));
            }
            x.assign(n, real(0.5));
            for (const real sink : {nan_of<real>, inf<real>}) {
                smx::masked_softmax(x, some, p, {.sink = sink});
                smx::masked_log_softmax(x, some, l, {.sink = sink});
                CHECK(all_are(nan_of<real>, nan_of<real>));
            }
            bias[0] = inf<real>;
            smx::masked_softmax(x, bias, p);
            CHECK(std::isnan(p[0]));
            // T = 0: shared by the maxima of what takes part.
            x[0] = 2;
            x[n - 1] = 2;
            if (n > 1) {
                x[1] = 9;
            }
            smx::masked_softmax(x, some, p, {.temperature = 0});
            smx::masked_log_softmax(x, some, l, {.temperature = 0});
            const bool both = n > 1 && some[n - 1] != 0;
            CHECK(p[0] == (both ? real(0.5) : real(1)));
            CHECK(std::abs(l[0] - std::log(p[0])) <= std::numeric_limits<real>::epsilon());
            CHECK((n == 1 || (p[1] == 0 && l[1] == -inf<real>)));
        }
    });
}

TEMPLATE_TEST_CASE("masked gradients keep their bounds under every mask", "", float, double, long double) {
    using real = TestType;
    using wide = oracle::wide_t<real>;
    using std::abs;
    random_numbers random(23);
    const auto check = [&] {
        for (const std::size_t n : {0U, 1U, 5U, 16U, 17U, 64U, 129U, 700U}) {
            for (const kind k : all_kinds) {
                for (const double cap : {0.0, 6.0}) {
                    auto row = case_of<real>(k, n, 4, random);
                    row.options = {
                        .temperature = static_cast<real>(1.7), .softcap = static_cast<real>(cap), .sink = 1};
                    with_mask(k, row, [&](const auto& mask) {
                        std::vector<real> p(n), l(n), u(n), g(n), h(n);
                        for (std::size_t c = 0; c != n; ++c) {
                            u[c] = row.part[c] ? static_cast<real>(random.normal()) : nan_of<real>;
                        }
                        smx::masked_softmax(row.x, mask, p, row.options);
                        smx::masked_log_softmax(row.x, mask, l, row.options);
                        smx::masked_softmax_backward(row.x, mask, p, u, g, row.options);
                        smx::masked_log_softmax_backward(row.x, mask, l, u, h, row.options);
                        wide sum = 0, log_sum = 0, size = 0, log_size = 0;
                        const wide t(row.options.temperature);
                        for (std::size_t c = 0; c != n; ++c) {
                            if (row.part[c]) {
                                sum += wide(p[c]) * wide(u[c]);
                                size += abs(wide(wide(p[c]) * wide(u[c])));
                                log_sum += wide(u[c]);
                                log_size += abs(wide(u[c]));
                            }
                        }
                        const double more = cap > 0 ? (std::is_same_v<real, float> ? 1 : 8) : 0;
                        const std::string where =
                            std::string(name_of_kind[static_cast<int>(k)]) + ", " + std::to_string(n);
                        verdict<real> found("masked_softmax_backward", 3 + more, where),
                            log_found("masked_log_softmax_backward", 4 + more, where);
                        const wide epsilon(std::numeric_limits<real>::epsilon());
                        std::size_t wrong = 0;
                        for (std::size_t c = 0; c != n; ++c) {
                            if (!row.part[c]) {
                                wrong += g[c] == 0 && h[c] == 0 ? 0U : 1U;
                                continue;
                            }
                            using std::cosh;
                            using std::exp;
                            const wide z = cap > 0 ? wide(wide(row.x[c]) / t / wide(cap)) : wide(0);
                            const wide slope = 1 / (cosh(z) * cosh(z));
                            const wide q = exp(wide(l[c]));
                            const wide largest =
                                std::max({wide(abs(wide(u[c]))), wide(abs(sum)), wide(epsilon * size)});
                            const wide scale = wide(p[c]) * largest / t * slope;
                            const wide log_scale =
                                std::max(wide(abs(wide(u[c]))),
                                         wide(q * std::max(wide(abs(log_sum)), wide(epsilon * log_size)))) /
                                t * slope;
                            if (is_normal_magnitude<real>(scale)) {
                                found.add(g[c], wide(wide(p[c]) * (wide(u[c]) - sum) / t * slope), scale, c);
                            }
                            if (is_normal_magnitude<real>(q)) {
                                log_found.add(h[c], wide((wide(u[c]) - q * log_sum) / t * slope), log_scale,
                                              c);
                            }
                        }
                        CHECK(wrong == 0);
                        found.check();
                        log_found.check();
                        // In place on everything that is read.
                        for (std::vector<real> copy : {p, u, row.x}) {
                            const std::vector<real> before = copy;
                            auto& as_p = same_bits(before, p) ? copy : p;
                            auto& as_u = same_bits(before, u) ? copy : u;
                            auto& as_x = same_bits(before, row.x) ? copy : row.x;
                            smx::masked_softmax_backward(as_x, mask, as_p, as_u, copy, row.options);
                            CHECK(same_bits(copy, g));
                        }
                        std::vector<real> on_logs = l, on_upstream = u;
                        smx::masked_log_softmax_backward(row.x, mask, on_logs, u, on_logs, row.options);
                        smx::masked_log_softmax_backward(row.x, mask, l, on_upstream, on_upstream,
                                                         row.options);
                        CHECK(same_bits(on_logs, h));
                        CHECK(same_bits(on_upstream, h));
                        // A batch of it.
                        std::vector<real> two = p, up = u, out(2 * n), xs = row.x;
                        two.insert(two.end(), p.begin(), p.end());
                        up.insert(up.end(), u.begin(), u.end());
                        xs.insert(xs.end(), row.x.begin(), row.x.end());
                        smx::masked_softmax_backward(xs, mask, two, up, out, {2, n}, row.options);
                        CHECK(same_bits(
                            std::vector<real>(out.begin() + static_cast<std::ptrdiff_t>(n), out.end()), g));
                        two = l;
                        two.insert(two.end(), l.begin(), l.end());
                        smx::masked_log_softmax_backward(xs, mask, two, up, out, {2, n}, row.options);
                        CHECK(same_bits(
                            std::vector<real>(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(n)), h));
                    });
                }
            }
        }
    };
    std::is_same_v<real, long double> ? check() : on_every_instruction_set(check);
}

TEST_CASE("masked gradients are the derivatives of the masked functions under every option") {
    random_numbers random(29);
    for (const kind k : all_kinds) {
        for (const double cap : {0.0, 3.0}) {
            auto row = case_of<double>(k, 11, 2, random);
            row.options = {.temperature = 1.7, .softcap = cap, .sink = 0.5};
            with_mask(k, row, [&](const auto& mask) {
                std::vector<double> p(11), l(11), u(11), g(11), h(11);
                for (double& v : u) {
                    v = random.normal();
                }
                const auto loss = [&](bool log) {
                    std::vector<double> out(11);
                    log ? smx::masked_log_softmax(row.x, mask, out, row.options)
                        : smx::masked_softmax(row.x, mask, out, row.options);
                    double sum = 0;
                    for (std::size_t c = 0; c != 11; ++c) {
                        sum += row.part[c] ? u[c] * out[c] : 0;
                    }
                    return sum;
                };
                smx::masked_softmax(row.x, mask, p, row.options);
                smx::masked_log_softmax(row.x, mask, l, row.options);
                smx::masked_softmax_backward(row.x, mask, p, u, g, row.options);
                smx::masked_log_softmax_backward(row.x, mask, l, u, h, row.options);
                for (std::size_t c = 0; c != 11; ++c) {
                    if (row.part[c] && row.bias[c] > -1e6) {
                        const double x = row.x[c], step = 1e-5;
                        row.x[c] = x + step;
                        const double above = loss(false), log_above = loss(true);
                        row.x[c] = x - step;
                        const double below = loss(false), log_below = loss(true);
                        row.x[c] = x;
                        CHECK(std::abs((above - below) / (2 * step) - g[c]) < 1e-8);
                        // (Of logarithms of -1e9 no difference is left.)
                        CHECK((k == kind::far_bias ||
                               std::abs((log_above - log_below) / (2 * step) - h[c]) < 1e-8));
                    }
                }
            });
        }
    }
}

TEST_CASE("masked_softmax takes rows of other types and in constant expressions") {
    const std::list<int> x = {1, 2, 3};
    std::list<double> p(3);
    std::list<short> mask = {1, 0, 1};
    smx::masked_softmax(x, mask, p, {.temperature = 0.5});
    CHECK(*std::next(p.begin()) == 0);
    CHECK(std::abs(p.front() - 1 / (1 + std::exp(4.0))) < 1e-15);
    smx::masked_softmax(x, std::list<float>{0.5F, -inf<float>, -1.0F}, p, {.temperature = 0.5});
    CHECK(std::abs(p.front() - 1 / (1 + std::exp(2.5))) < 1e-15);
    constexpr auto at_compile_time = [] {
        std::array<float, 4> in{1, 2, 3, 4}, out{};
        smx::masked_softmax(in, smx::causal(1), out, {.temperature = 2, .sink = 1});
        return out;
    }();
    static_assert(at_compile_time[3] == 0 && at_compile_time[1] > at_compile_time[0] &&
                  at_compile_time[0] > 0);
    std::array<float, 4> in{1, 2, 3, 4}, out{};
    smx::masked_softmax(in, smx::causal(1), out, {.temperature = 2, .sink = 1});
    CHECK(std::abs(out[1] - at_compile_time[1]) < 1e-7F);
}

TEST_CASE("masked functions refuse what does not fit, with both numbers, and write nothing") {
    std::vector<float> x(6, 1.0F), p(6, 9.0F);
    const auto message = [&](auto call) -> std::string {
        try {
            call();
        } catch (const std::logic_error& error) {
            CHECK(std::count(p.begin(), p.end(), 9.0F) == 6);
            return error.what();
        }
        return "";
    };
    CHECK(message([&] { smx::masked_softmax(x, std::vector<bool>(5), p); }) ==
          "smx::masked_softmax: mask has 5 elements, must have 6 (one row) or 6 (all rows)");
    CHECK(message([&] { smx::masked_log_softmax(x, std::vector<float>(4), p, {2, 3}); }) ==
          "smx::masked_log_softmax: mask has 4 elements, must have 3 (one row) or 6 (all rows)");
    CHECK(message([&] { smx::masked_softmax(x, smx::valid_lengths({2, 4}), p, {2, 3}); }) ==
          "smx::masked_softmax: a valid length is 4, outside [0, 3]");
    CHECK(message([&] { smx::masked_softmax(x, smx::valid_lengths({-1, 2}), p, {2, 3}); }) ==
          "smx::masked_softmax: a valid length is -1, outside [0, 3]");
    CHECK(message([&] { smx::masked_softmax(x, smx::valid_lengths({1, 2, 3}), p, {2, 3}); }) ==
          "smx::masked_softmax: valid_lengths has 3 elements, the batch of rows has 2");
    CHECK(message([&] { smx::masked_softmax(x, smx::causal(), p, {2, 3}, {.temperature = -1}); }) ==
          "smx::masked_softmax: temperature is -1, must be at least 0");
    CHECK(message([&] { smx::masked_softmax(x, smx::causal(), p, {2, 3}, {.softcap = -1}); }) ==
          "smx::masked_softmax: softcap is -1, must be at least 0");
    CHECK(message([&] { smx::masked_softmax(x, smx::causal(), p, {2, 3}, {.temperature = 0, .sink = 1}); }) ==
          "smx::masked_softmax: temperature is 0, must be greater than 0 with a bias, a softcap or a sink");
    CHECK(message([&] { smx::masked_softmax(x, x, p, {.temperature = 0}); }) ==
          "smx::masked_softmax: temperature is 0, must be greater than 0 with a bias, a softcap or a sink");
    const std::vector<float> sinks(3);
    CHECK(message([&] { smx::masked_softmax(x, smx::causal(), p, {2, 3}, {.sinks = sinks}); }) ==
          "smx::masked_softmax: sinks has 3 elements, the batch of rows has 2");
    CHECK(message([&] { smx::masked_softmax(std::vector<float>(5), smx::causal(), p); }) ==
          "smx::masked_softmax: probabilities has 6 elements, logits has 5");
    CHECK(message([&] { smx::masked_softmax_backward(x, smx::causal(), x, std::vector<float>(5), p); }) ==
          "smx::masked_softmax_backward: upstream has 5 elements, logits has 6");
    CHECK(message([&] { smx::masked_log_softmax_backward(x, smx::causal(), x, x, p, {.temperature = 0}); }) ==
          "smx::masked_log_softmax_backward: temperature is 0, must be greater than 0");
}
