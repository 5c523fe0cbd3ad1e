// A row has the same bits alone and in any batch, whatever its neighbours: short rows are done many at a time by one
// reference, which neighbours can make fail.
#include "support/catch.hpp"
#include "support/instruction_sets.hpp"

#include <softmax.hpp>

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <span>
#include <string>
#include <vector>

namespace {

template <class Real>
using bits_of = std::conditional_t<sizeof(Real) == 4, std::uint32_t, std::uint64_t>;

template <class Real>
bool same_bits(const Real* a, const Real* b, std::size_t n) {
    for (std::size_t i = 0; i != n; ++i) {
        if (std::bit_cast<bits_of<Real>>(a[i]) != std::bit_cast<bits_of<Real>>(b[i]) &&
            !(std::isnan(a[i]) && std::isnan(b[i]))) {
            return false;
        }
    }
    return true;
}

// Rows of every kind: usual ones, far from zero on either side, spread beyond the normal numbers, tied, and special. Most
// of a batch lie around one number, so that they share a reference which none of them has alone.
template <class Real>
std::vector<Real> rows_of_all_kinds(std::size_t rows, std::size_t n, std::mt19937_64& random) {
    constexpr Real infinity = std::numeric_limits<Real>::infinity();
    constexpr double range = sizeof(Real) == 4 ? 1 : 8; // of exponents, by that of float
    std::normal_distribution<double> normal;
    std::uniform_real_distribution<double> around(-12 * range, 12 * range);
    const double centre = random() % 4 == 0 ? 0 : std::round(9 * around(random));
    const bool quiet = random() % 2 == 0; // no row that takes the others to the way of single rows
    std::vector<Real> x(rows * n);
    for (std::size_t r = 0; r != rows; ++r) {
        const std::uint64_t kind = random() % (quiet ? 7 : 16);
        const double spread = kind < 3 ? 1 : kind < 6 ? 50 * range : kind == 6 ? 0 : 5;
        const double offset = kind == 10   ? 1e4
                              : kind == 11 ? -300
                              : kind == 13 ? 1e30
                                           : centre + around(random);
        for (std::size_t c = 0; c != n; ++c) {
            x[r * n + c] = static_cast<Real>(offset - std::abs(spread * normal(random)));
        }
        Real& one = x[r * n + random() % n];
        one = kind == 4 || kind == 7   ? -infinity
              : kind == 14             ? std::numeric_limits<Real>::quiet_NaN()
              : kind == 15             ? infinity
              : kind == 5 || kind == 3 ? static_cast<Real>(offset)
                                       : one;
    }
    return x;
}

} // namespace

TEMPLATE_TEST_CASE("a row has the same bits alone and in any batch", "", float, double) {
    using real = TestType;
    std::mt19937_64 random(20261124);
    // log2(e): products with the logits that are halves of integers exactly
    for (const double temperature : {1.0, 0.05, 1.4426950408889634, 3.0}) {
        for (std::size_t n = 1; n <= 300; n += n < 70 ? 1 : 13) {
            const std::size_t rows = 1 + random() % 70;
            auto x = rows_of_all_kinds<real>(rows, n, random);
            if (temperature > 1.4 && temperature < 1.5) {
                for (real& logit : x) {
                    logit = std::isfinite(logit) ? std::round(logit) / 2 : logit;
                }
            }
            const smx::shape batch{rows, n};
            std::vector<real> p(x.size()), l(x.size()), sums(rows), alone(n);
            smx::softmax(x, p, batch, temperature);
            smx::log_softmax(x, l, batch, temperature);
            smx::logsumexp(x, sums, batch, temperature);
            std::size_t different = 0;
            for (std::size_t r = 0; r != rows; ++r) {
                const std::vector<real> row(x.begin() + static_cast<std::ptrdiff_t>(r * n),
                                            x.begin() + static_cast<std::ptrdiff_t>((r + 1) * n));
                smx::softmax(row, alone, temperature);
                different += same_bits(alone.data(), p.data() + r * n, n) ? 0 : 1;
                smx::log_softmax(row, alone, temperature);
                different += same_bits(alone.data(), l.data() + r * n, n) ? 0 : 1;
                const real sum = smx::logsumexp(row, temperature);
                different += same_bits(&sum, &sums[r], 1) ? 0 : 1;
            }
            INFO(rows << " rows of " << n << " at T = " << temperature);
            CHECK(different == 0);

            auto in_place = x;
            smx::softmax(in_place, in_place, batch, temperature);
            CHECK(same_bits(in_place.data(), p.data(), x.size()));
            smx::log_softmax(x, x, batch, temperature);
            CHECK(same_bits(x.data(), l.data(), x.size()));
        }
    }
}

// Columns are copied to rows by blocks of vectors, those of large images past the caches: every instruction set, every remainder,
// aligned or not.
TEMPLATE_TEST_CASE("a column has the bits of a row under images of every size", "", float, double) {
    using real = TestType;
    std::mt19937_64 random(20260721);
    // The results begin `past` elements after a cache line does.
    const auto check = [&](std::size_t n, std::size_t inner, std::size_t past) {
        constexpr std::size_t line = 64 / sizeof(real);
        std::vector<real> rows(inner * n), expected(inner * n), x(inner * n + line + past), y(x.size());
        const std::size_t offset =
            past + (line - reinterpret_cast<std::uintptr_t>(y.data()) / sizeof(real) % line) % line;
        std::normal_distribution<real> normal(0, 4);
        for (std::size_t k = 0; k != rows.size(); ++k) {
            rows[k] = normal(random);
        }
        for (std::size_t i = 0; i != inner; ++i) {
            for (std::size_t c = 0; c != n; ++c) {
                x[offset + c * inner + i] = rows[i * n + c];
            }
        }
        smx::softmax(rows, expected, {inner, n}, 0.7);
        smx::softmax(std::span(x).subspan(offset, n * inner), std::span(y).subspan(offset, n * inner),
                     {1, n, inner}, 0.7);
        std::size_t different = 0;
        for (std::size_t i = 0; i != inner; ++i) {
            for (std::size_t c = 0; c != n; ++c) {
                different += same_bits(&y[offset + c * inner + i], &expected[i * n + c], 1) ? 0U : 1U;
            }
        }
        INFO(n << " classes, " << inner << " pixels, " << past << " past a line");
        CHECK(different == 0);
    };
    on_every_instruction_set([&] {
        for (std::size_t n = 1; n <= 40; ++n) {
            for (const std::size_t inner :
                 {1U, 2U, 3U, 4U, 5U, 8U, 15U, 16U, 17U, 31U, 40U, 127U, 128U, 129U, 300U}) {
                check(n, inner, (n * inner) % 5);
            }
        }
        for (const std::size_t n : {100U, 150U, 1000U}) {
            check(n, 77, 1);
            check(n, 128, 0);
        }
    });
    const std::size_t pixels = (std::size_t{1} << 26) / sizeof(real) / 21 / 64 * 64;
    check(21, pixels, 0);
    check(21, pixels, 3);
    check(150, pixels / 5 / 64 * 64 + 16, 0);
}

// Losses of short rows are done in blocks, a row in a lane: as they stand side by side, or turned. Every instruction set, blocks that
// are full and that are not, dominated rows, rows beyond the common reference, ignored ones.
TEMPLATE_TEST_CASE("a loss has the same bits alone, in a batch and side by side under rows of all kinds", "",
                   float, double) {
    using real = TestType;
    const auto check = [](std::size_t rows, std::size_t n, int options_of, std::mt19937_64& random) {
        const auto x = rows_of_all_kinds<real>(rows, n, random);
        std::vector<int> targets(rows);
        for (int& target : targets) {
            target = options_of == 1 && random() % 5 == 0 ? -100 : static_cast<int>(random() % n);
        }
        std::vector<real> weights(n);
        for (real& weight : weights) {
            weight = static_cast<real>(random() % 5) / 2;
        }
        smx::cross_entropy_options<real> options{.ignore_index = -100, .reduce = smx::reduction::sum};
        options.temperature = options_of == 0 ? 1 : 0.7;
        if (options_of == 1) {
            options.class_weights = weights;
            options.z_loss = 1e-3;
        }
        std::vector<real> losses(rows), gradient(x.size()), logsumexps(rows), only(rows), side(rows),
            lse(rows);
        const auto options_with = [&](std::vector<real>& sums) {
            auto copy = options;
            copy.logsumexps = sums;
            return copy;
        };
        smx::cross_entropy_per_row(x, targets, losses, gradient, {rows, n}, options_with(logsumexps));
        smx::cross_entropy_per_row(x, targets, only, {rows, n}, options);
        std::vector<real> columns(x.size()), found(x.size());
        const auto turn = [&](const std::vector<real>& from, std::vector<real>& to, std::size_t lines) {
            const std::size_t length = from.size() / lines;
            for (std::size_t i = 0; i != from.size(); ++i) {
                to[i % length * lines + i / length] = from[i];
            }
        };
        turn(x, columns, rows);
        smx::cross_entropy_per_row(columns, targets, side, columns, {1, n, rows}, options_with(lse));
        turn(columns, found, n);
        std::size_t different = 0;
        for (std::size_t r = 0; r != rows; ++r) {
            const std::vector<real> row(x.begin() + static_cast<std::ptrdiff_t>(r * n),
                                        x.begin() + static_cast<std::ptrdiff_t>((r + 1) * n));
            std::vector<real> alone(n), sum(1);
            const real loss = smx::cross_entropy(row, targets[r], alone, options_with(sum));
            different += same_bits(&loss, &losses[r], 1) && same_bits(&loss, &only[r], 1) &&
                                 same_bits(&loss, &side[r], 1) && same_bits(sum.data(), &logsumexps[r], 1) &&
                                 same_bits(sum.data(), &lse[r], 1) &&
                                 same_bits(alone.data(), gradient.data() + r * n, n) &&
                                 same_bits(alone.data(), found.data() + r * n, n)
                             ? 0U
                             : 1U;
        }
        INFO(rows << " rows of " << n << ", options " << options_of);
        CHECK(different == 0);
    };
    on_every_instruction_set([&] {
        std::mt19937_64 random(20261125);
        for (std::size_t n = 1; n <= 67; ++n) {
            for (const std::size_t rows : {1U, 2U, 7U, 16U, 31U, 32U, 33U, 64U, 65U, 130U}) {
                check(rows, n, static_cast<int>((n + rows) % 3), random);
            }
        }
    });
}
