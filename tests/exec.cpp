// The caller's threads: every function has the bits that it has without them, whatever runs the tasks; tasks depend on the batch
// alone; errors come before the first task; what exec throws passes through.
#include "support/catch.hpp"
#include "support/executors.hpp"
#include "support/sanitizers.hpp"
#include "support/strided_view.hpp"

#include <softmax.hpp>

#include <cmath>
#include <cstddef>
#include <functional>
#include <initializer_list>
#include <limits>
#include <list>
#include <memory>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

template <class Real>
std::vector<Real> random_logits(std::size_t size) {
    std::mt19937_64 random(size);
    std::normal_distribution<double> normal(0, 4);
    std::vector<Real> x(size);
    for (Real& logit : x) {
        logit = static_cast<Real>(normal(random));
    }
    return x;
}

template <class Real>
bool same(const std::vector<Real>& a, const std::vector<Real>& b) {
    bool all = a.size() == b.size();
    for (std::size_t i = 0; all && i != a.size(); ++i) {
        all = a[i] == b[i] ? std::signbit(a[i]) == std::signbit(b[i]) : a[i] != a[i] && b[i] != b[i];
    }
    return all;
}

// Everything that the functions leave, of a shape or of views; call(function, arguments ...) calls function with exec or without.
template <class Real>
struct results {
    std::vector<Real> p, l, s, losses, gradient, mixed_gradient, row_gradient;
    std::vector<Real> reduced, logsumexps, backward, log_backward, divergence;

    results(std::size_t size, std::size_t rows)
        : p(size),
          l(size),
          s(rows),
          losses(rows),
          gradient(size),
          mixed_gradient(size),
          row_gradient(size),
          logsumexps(rows),
          backward(size),
          log_backward(size),
          divergence(size) {}

    bool is(const results& other) const {
        return same(p, other.p) && same(l, other.l) && same(s, other.s) && same(losses, other.losses) &&
               same(gradient, other.gradient) && same(mixed_gradient, other.mixed_gradient) &&
               same(row_gradient, other.row_gradient) && same(reduced, other.reduced) &&
               same(logsumexps, other.logsumexps) && same(backward, other.backward) &&
               same(log_backward, other.log_backward) && same(divergence, other.divergence);
    }
};

template <class Real>
struct batch {
    smx::shape shape;
    std::size_t rows = shape.outer * shape.inner;
    std::vector<Real> x = random_logits<Real>(rows * shape.classes), q = x;
    std::vector<unsigned short> targets;
    std::vector<double> temperatures, divisors; // the second without 0
    smx::distillation_options<Real> distillation{.temperature = 0.7};
    smx::cross_entropy_options<Real> options{.temperature = 0.7, .label_smoothing = 0.1, .ignore_index = 1};

    explicit batch(smx::shape s) : shape(s) {
        for (Real& share : q) {
            share = std::abs(share) / 4;
        }
        for (std::size_t r = 0; r != rows; ++r) {
            targets.push_back(static_cast<unsigned short>(r * 7 % shape.classes));
            divisors.push_back(0.5 + static_cast<double>(r % 13) / 8);
            temperatures.push_back(r % 11 == 5 ? 0 : divisors.back());
        }
    }

    smx::cross_entropy_options<Real> keeping(std::vector<Real>& logsumexps) const {
        auto all = options;
        all.logsumexps = logsumexps;
        return all;
    }

    // exec: none or one.
    template <class... Exec>
    results<Real> by_shape(Exec&&... exec) const {
        results<Real> all(x.size(), rows);
        smx::softmax(exec..., x, all.p, shape, 0.7);
        smx::log_softmax(exec..., x, all.l, shape, temperatures);
        smx::logsumexp(exec..., x, all.s, shape, 0.7);
        smx::cross_entropy_per_row(exec..., x, targets, all.losses, all.row_gradient, shape,
                                   keeping(all.logsumexps));
        all.reduced = {smx::cross_entropy(exec..., x, targets, all.gradient, shape, options),
                       smx::cross_entropy(exec..., x, targets, shape, options),
                       smx::cross_entropy(exec..., x, q, all.mixed_gradient, shape, options),
                       smx::cross_entropy(exec..., x, q, shape, options)};
        smx::softmax_backward(exec..., all.p, x, all.backward, shape, 0.7);
        smx::log_softmax_backward(exec..., all.l, x, all.log_backward, shape, divisors);
        all.reduced.push_back(smx::kl_divergence(exec..., x, q, all.divergence, shape, distillation));
        all.reduced.push_back(smx::kl_divergence(exec..., x, q, shape, distillation));
        std::vector<Real> without_gradient(rows);
        smx::cross_entropy_per_row(exec..., x, targets, without_gradient, shape, options);
        all.reduced.insert(all.reduced.end(), without_gradient.begin(), without_gradient.end());
        return all;
    }

    // The same numbers as views of {outer, classes, inner}, results per row as views and as ranges.
    template <class... Exec>
    results<Real> by_view(Exec&&... exec) const {
        results<Real> all(x.size(), rows);
        const auto three = [&](auto& elements) {
            const auto inner = static_cast<std::ptrdiff_t>(shape.inner);
            return test::strided_view<std::remove_reference_t<decltype(elements[0])>, 3>(
                elements.data(), {shape.outer, shape.classes, shape.inner},
                {static_cast<std::ptrdiff_t>(shape.classes) * inner, inner, 1});
        };
        const auto two = [&](auto& elements) {
            return test::strided_view<std::remove_reference_t<decltype(elements[0])>, 2>(
                elements.data(), {shape.outer, shape.inner}, {static_cast<std::ptrdiff_t>(shape.inner), 1});
        };
        smx::softmax(exec..., three(x), three(all.p), 1, 0.7);
        smx::log_softmax(exec..., three(x), three(all.l), -2, two(temperatures));
        smx::logsumexp(exec..., three(x), two(all.s), 1, 0.7);
        smx::cross_entropy_per_row(exec..., three(x), two(targets), two(all.losses), three(all.row_gradient),
                                   1, keeping(all.logsumexps));
        all.reduced = {smx::cross_entropy(exec..., three(x), targets, three(all.gradient), 1, options),
                       smx::cross_entropy(exec..., three(x), two(targets), 1, options),
                       smx::cross_entropy(exec..., three(x), three(q), three(all.mixed_gradient), 1, options),
                       smx::cross_entropy(exec..., three(x), three(q), 1, options)};
        smx::softmax_backward(exec..., three(all.p), three(x), three(all.backward), 1, 0.7);
        smx::log_softmax_backward(exec..., three(all.l), three(x), three(all.log_backward), -2,
                                  two(divisors));
        all.reduced.push_back(
            smx::kl_divergence(exec..., three(x), three(q), three(all.divergence), 1, distillation));
        all.reduced.push_back(smx::kl_divergence(exec..., three(x), three(q), 1, distillation));
        std::vector<Real> without_gradient(rows);
        smx::cross_entropy_per_row(exec..., three(x), targets, without_gradient, 1, options);
        all.reduced.insert(all.reduced.end(), without_gradient.begin(), without_gradient.end());
        return all;
    }
};

} // namespace

TEMPLATE_TEST_CASE("all functions have the same bits on any threads and without", "", float, double,
                   long double) {
    // Small, of many short rows, of rows as columns, of a few rows that are not shared, with the classes in the middle.
    const bool slow = is_sanitized || std::is_same_v<TestType, long double>;
    const std::vector<smx::shape> shapes =
        slow ? std::vector<smx::shape>{{3, 5}, {2, 9, 4001}}
             : std::vector<smx::shape>{{3, 5}, {30011, 10}, {3, 21, 4001}, {17, 20001}, {700, 4, 40}};
    for (const smx::shape& shape : shapes) {
        const batch<TestType> b(shape);
        const auto alone = b.by_shape();
        CHECK(alone.is(b.by_view()));
        executors::for_each([&](const char* name, auto& exec) {
            CAPTURE(name, shape.outer, shape.classes, shape.inner);
            CHECK(alone.is(b.by_shape(exec)));
            CHECK(alone.is(b.by_view(exec)));
        });
    }
}

namespace {

// Masks for a batch. A quarter of the logits is left out, some rows have nothing left.
template <class Real>
struct mask_set {
    explicit mask_set(const smx::shape& batch) {
        const std::size_t rows = batch.outer * batch.inner, size = rows * batch.classes;
        std::mt19937_64 random(size);
        for (std::size_t i = 0; i != size; ++i) {
            const bool part = random() % 4 != 0;
            bits.push_back(part);
            numbers.push_back(part ? 256 : 0);
            bias.push_back(part ? static_cast<Real>(random() % 64) / 8
                                : -std::numeric_limits<Real>::infinity());
        }
        one_row.assign(bits.begin(), bits.begin() + static_cast<std::ptrdiff_t>(batch.classes));
        one_bias.assign(bias.begin(), bias.begin() + static_cast<std::ptrdiff_t>(batch.classes));
        for (std::size_t r = 0; r != rows; ++r) {
            lengths.push_back(r * 7919 % (batch.classes + 1));
            sinks.push_back(static_cast<Real>(r % 7) - 3);
        }
    }

    // visit(name, mask) for masks of every kind.
    template <class Visit>
    void for_each(Visit visit) const {
        visit("one row of bits", one_row);
        visit("bits of each row", bits);
        visit("numbers of each row", numbers);
        visit("one bias", one_bias);
        visit("a bias of each row", bias);
        visit("lengths", smx::valid_lengths(lengths));
        visit("causal", smx::causal(-1, 17));
    }

    std::vector<bool> one_row, bits;
    std::vector<int> numbers;
    std::vector<Real> one_bias, bias, sinks;
    std::vector<std::size_t> lengths;
};

// What the masked functions leave, in place too. exec: none or one.
template <class Real, class Mask, class... Exec>
std::vector<std::vector<Real>> masked_results(const batch<Real>& b, const Mask& mask,
                                              const smx::masked_options<Real>& options, Exec&&... exec) {
    const auto& upstream = b.q;
    std::vector<Real> p(b.x.size()), l = b.x, g = p, h = upstream;
    smx::masked_softmax(exec..., b.x, mask, p, b.shape, options);
    smx::masked_log_softmax(exec..., l, mask, l, b.shape, options);
    smx::masked_softmax_backward(exec..., b.x, mask, p, upstream, g, b.shape, options);
    smx::masked_log_softmax_backward(exec..., b.x, mask, l, h, h, b.shape, options);
    return {p, l, g, h};
}

} // namespace

TEMPLATE_TEST_CASE("the masked functions have the same bits on any threads and without", "", float, double) {
    // Small, of many short rows, of a few rows that no buffer holds, with the classes in the middle.
    const std::vector<smx::shape> shapes =
        is_sanitized ? std::vector<smx::shape>{{3, 5}, {500, 150}, {2, 9, 4001}}
                     : std::vector<smx::shape>{{3, 5}, {8011, 10}, {700, 150}, {5, 20001}, {3, 21, 1601}};
    for (const smx::shape& shape : shapes) {
        const batch<TestType> b(shape);
        const mask_set<TestType> masks(shape);
        smx::masked_options<TestType> by_row{.temperature = 3};
        by_row.sinks = masks.sinks; // (as an initializer it crashes Clang 14)
        const smx::masked_options<TestType> all_options[] = {
            {.temperature = 0.7}, {.sink = 0.5}, by_row, {.softcap = 5}};
        masks.for_each([&](const char* mask_name, const auto& mask) {
            for (const auto& options : all_options) {
                if (options.softcap != 0 && shape.classes > 100) {
                    continue; // slow, and by the same code at any length
                }
                const auto alone = masked_results(b, mask, options);
                executors::for_each([&](const char* name, auto& exec) {
                    CAPTURE(mask_name, options.softcap, name, shape.outer, shape.classes, shape.inner);
                    const auto shared = masked_results(b, mask, options, exec);
                    for (std::size_t k = 0; k != alone.size(); ++k) {
                        CAPTURE(k);
                        CHECK(same(alone[k], shared[k]));
                    }
                });
            }
        });
    }
}

TEST_CASE("a matrix of masks is used again by rows of any task") {
    const batch<float> b({4 * 150, 150});
    const smx::masked_options<float> options{.temperature = 0.7};
    const std::vector<bool> bits = mask_set<float>({150, 150}).bits;
    const auto alone = masked_results(b, bits, options);
    executors::for_each([&](const char* name, auto& exec) {
        CAPTURE(name);
        CHECK(alone == masked_results(b, bits, options, exec));
    });
}

namespace {

// Rows whose maximum grows on the way, at once or all along; that sit beyond the fast range; with special entries.
template <class Real>
std::vector<Real> long_row(int kind, std::size_t n) {
    constexpr Real infinity = std::numeric_limits<Real>::infinity();
    std::vector<Real> x = random_logits<Real>(n);
    for (std::size_t i = 0; i != n && (kind == 1 || kind == 2); ++i) {
        const double ramp = 200 * static_cast<double>(i) / static_cast<double>(n);
        x[i] = static_cast<Real>(kind == 1 ? ramp : -ramp);
    }
    Real& some = x[n / 2 + n / 5];
    some = kind == 3 ? Real(150) : kind == 4 ? Real(1e30) : kind == 5 ? infinity : some;
    for (std::size_t i = 0; kind == 6 && i != 20000; ++i) {
        x[i] = -infinity;
    }
    for (std::size_t i = n / 2; kind == 7 && i != n / 2 + 10000; ++i) {
        x[i] = -infinity;
    }
    x[n - 1] = kind == 8 ? std::numeric_limits<Real>::quiet_NaN() : x[n - 1];
    for (Real& logit : x) {
        logit = kind == 9 ? std::round(logit) : logit; // many maxima
    }
    return x;
}

} // namespace

TEMPLATE_TEST_CASE("one long row has the same bits on any threads and without", "", float, double) {
    using real = TestType;
    const std::size_t unit = (std::size_t{1} << 19) / sizeof(real); // the first length that is read once
    const auto check = [&](int kind, std::size_t n, auto& exec) {
        const std::vector<real> x = long_row<real>(kind, n);
        std::vector<real> alone(n), shared(n), sums(1);
        CAPTURE(kind, n);
        smx::softmax(x, alone, 0.7);
        smx::softmax(exec, x, shared, {1, n}, 0.7);
        CHECK(same(alone, shared));
        smx::log_softmax(x, alone, 0.7);
        smx::log_softmax(exec, x, shared, {1, n}, std::list<double>{0.7});
        CHECK(same(alone, shared));
        const real sum = smx::logsumexp(x, 0.7);
        smx::logsumexp(exec, x, sums, {1, n}, 0.7);
        CHECK(same({sum}, sums));
    };
    for (int kind = 0; kind != 10; ++kind) {
        for (const std::size_t n : {unit + 1, 2 * unit + 77, 16 * unit + 1, 34 * unit + 4095}) {
            if (n < 16 * unit || (!is_sanitized && (kind < 2 || kind == 8))) {
                check(kind, n, executors::backwards);
            }
        }
    }
    executors::for_each([&](const char* name, auto& exec) {
        CAPTURE(name);
        check(1, 17 * unit + 5, exec);
    });
}

TEST_CASE("a few long rows are shared one by one, in place and in views too") {
    constexpr std::size_t n = (std::size_t{1} << 21) + 1001, padded = n + 3;
    std::vector<float> x = random_logits<float>(2 * padded), p(x.size(), -77), in_place = x, alone(n),
                       sums(2);
    const test::strided_view<float, 2> logits(x.data(), {2, n}, {padded, 1}),
        out(p.data(), {2, n}, {padded, 1}), over(in_place.data(), {2, n}, {padded, 1});
    const std::vector<double> temperatures = {0.7, 0}; // the second row is no kernel's
    executors::counting exec;
    smx::softmax(exec, logits, out, 1, temperatures);
    CHECK(exec.calls.size() == 3); // maxima, sums, probabilities
    smx::softmax(exec, over, over, 1, temperatures);
    smx::logsumexp(exec, logits, test::strided_view<float, 1>(sums.data() + 1, {2}, {-1}), 1, 2);
    for (std::size_t r = 0; r != 2; ++r) {
        const std::span<const float> row(x.data() + r * padded, n);
        smx::softmax(row, alone, temperatures[r]);
        const auto at = [&](const std::vector<float>& all) {
            return std::vector<float>(all.data() + r * padded, all.data() + r * padded + n);
        };
        CHECK(same(alone, at(p)));
        CHECK(same(alone, at(in_place)));
        CHECK(sums[1 - r] == smx::logsumexp(row, 2));
    }
    CHECK((p[n] == -77 && p[n + 2] == -77 && p[padded + n] == -77));
}

TEST_CASE("tasks depend on the batch alone under every function") {
    using calls = std::vector<std::size_t>;
    const auto tasks_of = [](smx::shape shape) {
        const batch<float> b(shape);
        std::vector<float> out(b.x.size()), per_row(b.rows);
        std::vector<calls> all;
        const auto note = [&](auto call) {
            executors::counting exec;
            call(exec);
            all.push_back(exec.calls);
        };
        note([&](auto& exec) { smx::softmax(exec, b.x, out, shape, 0.7); });
        note([&](auto& exec) { smx::log_softmax(exec, b.x, out, shape, b.temperatures); });
        note([&](auto& exec) { smx::logsumexp(exec, b.x, per_row, shape); });
        note([&](auto& exec) { smx::cross_entropy(exec, b.x, b.targets, shape); });
        note([&](auto& exec) { smx::cross_entropy(exec, b.x, b.q, out, shape); });
        note([&](auto& exec) { smx::cross_entropy_per_row(exec, b.x, b.targets, per_row, out, shape); });
        note([&](auto& exec) { smx::softmax_backward(exec, b.q, b.x, out, shape, 0.7); });
        note([&](auto& exec) { smx::log_softmax_backward(exec, b.x, b.x, out, shape, b.divisors); });
        note([&](auto& exec) { smx::kl_divergence(exec, b.x, b.q, out, shape); });
        const smx::causal mask(1);
        note([&](auto& exec) { smx::masked_softmax(exec, b.x, mask, out, shape, {.softcap = 5}); });
        note([&](auto& exec) { smx::masked_log_softmax(exec, b.x, b.x, out, shape); });
        note([&](auto& exec) { smx::masked_softmax_backward(exec, b.x, mask, b.q, b.x, out, shape); });
        note([&](auto& exec) { smx::masked_log_softmax_backward(exec, b.x, b.x, b.x, b.x, out, shape); });
        for (const calls& one : all) {
            CHECK(one == all.front());
        }
        return all.front();
    };
    CHECK(tasks_of({1, 10}) == calls{}); // not worth a call
    CHECK(tasks_of({3000, 10}) == calls{});
    CHECK(tasks_of({10000, 10}) == calls{3});
    CHECK(tasks_of({10, 10, 1000}) == calls{3});
    CHECK(tasks_of({8, 100000}) == calls{8}); // no more than rows
    CHECK(tasks_of({3000, 4000}) == calls{256});
    std::vector<float> none;
    executors::counting exec;
    smx::softmax(exec, none, none, {std::size_t{1} << 40, 0});
    smx::softmax(exec, none, none, {0, 10});
    smx::masked_softmax(exec, none, smx::causal(), none, {std::size_t{1} << 40, 0});
    smx::masked_softmax_backward(exec, none, smx::causal(), none, none, none, {std::size_t{1} << 40, 0});
    CHECK(exec.calls == calls{});
    // Rows that log_softmax cuts are whole under a mask.
    std::vector<float> x(2 * 140000, 1.0F);
    smx::masked_log_softmax(exec, x, smx::causal(), x, {2, 140000});
    CHECK(exec.calls == calls{2});
    smx::log_softmax(exec, x, x, {2, 140000});
    CHECK(exec.calls.size() > 3);
}

TEST_CASE("exec may be any callable under softmax") {
    const std::vector<double> x = random_logits<double>(100000);
    std::vector<double> expected(x.size()), p(x.size());
    const smx::shape shape{1000, 100};
    smx::softmax(x, expected, shape, 2);
    const auto check = [&](auto&& exec) {
        p.assign(p.size(), -77);
        smx::softmax(exec, x, p, shape, 2);
        CHECK(p == expected);
        p.assign(p.size(), -77);
        smx::softmax(std::forward<decltype(exec)>(exec), x, p, shape, 2);
        CHECK(p == expected);
    };
    struct pool { // as of a program whose interface is virtual
        virtual ~pool() = default;
        virtual void run(std::size_t tasks, const std::function<void(std::size_t)>& f) {
            for (std::size_t i = 0; i != tasks; ++i) {
                f(i);
            }
        }
    };
    pool crew;
    check([&](std::size_t tasks, std::function<void(std::size_t)> f) { crew.run(tasks, f); });
    check(std::function<void(std::size_t, const std::function<void(std::size_t)>&)>(
        [&](std::size_t tasks, const auto& f) { crew.run(tasks, f); }));
    check(+[](std::size_t tasks, std::function<void(std::size_t)> f) {
        for (std::size_t i = 0; i != tasks; ++i) {
            f(i);
        }
    });
    check([calls = 0, owner = std::make_unique<int>(1)](std::size_t tasks, auto f) mutable {
        ++calls;
        for (std::size_t i = 0; i != tasks; ++i) {
            const auto copy = f;
            copy(i);
        }
        return calls; // what it returns has no meaning
    });
}

TEST_CASE("an exception of exec passes through under every function") {
    const batch<float> b({1000, 100});
    std::vector<float> out(b.x.size()), per_row(b.rows);
    std::size_t done = 0;
    const auto gives_up = [&](std::size_t, auto f) {
        f(0);
        ++done;
        throw std::string("no threads today");
    };
    CHECK_THROWS_AS(smx::softmax(gives_up, b.x, out, b.shape), std::string);
    CHECK_THROWS_AS(smx::log_softmax(gives_up, b.x, out, b.shape), std::string);
    CHECK_THROWS_AS(smx::logsumexp(gives_up, b.x, per_row, b.shape), std::string);
    CHECK_THROWS_AS(smx::cross_entropy(gives_up, b.x, b.targets, out, b.shape), std::string);
    CHECK_THROWS_AS(smx::cross_entropy_per_row(gives_up, b.x, b.q, per_row, b.shape), std::string);
    CHECK_THROWS_AS(smx::softmax_backward(gives_up, b.q, b.x, out, b.shape), std::string);
    CHECK_THROWS_AS(smx::kl_divergence(gives_up, b.x, b.q, out, b.shape), std::string);
    CHECK_THROWS_AS(smx::masked_softmax(gives_up, b.x, smx::causal(), out, b.shape), std::string);
    CHECK_THROWS_AS(smx::masked_log_softmax(gives_up, b.x, b.x, out, b.shape), std::string);
    CHECK_THROWS_AS(smx::masked_softmax_backward(gives_up, b.x, b.x, b.q, b.x, out, b.shape), std::string);
    CHECK_THROWS_AS(smx::masked_log_softmax_backward(gives_up, b.x, b.x, b.x, b.x, out, b.shape),
                    std::string);
    CHECK(done == 11);
    const std::vector<float> row = random_logits<float>(std::size_t{1} << 22);
    std::vector<float> p(row.size());
    CHECK_THROWS_AS(smx::softmax(gives_up, row, p, {1, row.size()}), std::string);
}

TEST_CASE("errors come before the first task under every function") {
    const std::vector<double> x(123, 0.5);
    std::vector<double> out(123, -77), per_row(41, -77), temperatures(41, 2);
    std::vector<int> targets(41, 1);
    temperatures.back() = -1;
    targets.back() = 3;
    const auto never = [](std::size_t, auto) { FAIL("a task was to run"); };
    const smx::shape fits{41, 3}, other{37, 3};
    CHECK_THROWS_AS(smx::softmax(never, x, out, other), std::invalid_argument);
    CHECK_THROWS_AS(smx::softmax(never, x, out, fits, temperatures), std::invalid_argument);
    CHECK_THROWS_AS(smx::log_softmax(never, x, out, fits, -1), std::invalid_argument);
    CHECK_THROWS_AS(smx::logsumexp(never, x, per_row, fits, 0), std::invalid_argument);
    CHECK_THROWS_AS(smx::cross_entropy(never, x, targets, out, fits), std::out_of_range);
    CHECK_THROWS_AS(smx::cross_entropy(never, x, x, per_row, fits), std::invalid_argument);
    CHECK_THROWS_AS(smx::cross_entropy_per_row(never, x, targets, per_row, out, fits), std::out_of_range);
    CHECK_THROWS_AS(smx::softmax_backward(never, x, x, out, fits, temperatures), std::invalid_argument);
    CHECK_THROWS_AS(smx::log_softmax_backward(never, x, per_row, out, fits), std::invalid_argument);
    CHECK_THROWS_AS(smx::kl_divergence(never, x, x, per_row, fits), std::invalid_argument);
    const test::strided_view<double, 2> view(out.data(), {41, 3}, {3, 1});
    CHECK_THROWS_AS(smx::softmax(never, view, view, 2), std::out_of_range);
    CHECK_THROWS_AS(smx::cross_entropy(never, view, targets, view, 1), std::out_of_range);
    CHECK(out == std::vector<double>(123, -77));
    CHECK(per_row == std::vector<double>(41, -77));
}

TEST_CASE("errors come before the first task under every masked function") {
    const smx::shape shape{1000, 100}; // of some tasks
    const std::vector<double> x(100000, 0.5), short_of_one(99999);
    std::vector<double> out(x.size(), -77), upstream = out, sinks(999);
    std::vector<int> too_few(999), lengths(1000, 100);
    lengths.back() = 101;
    const auto never = [](std::size_t, auto) { FAIL("a task was to run"); };
    const auto refuse = [&](const auto& mask, auto error, smx::masked_options<double> options = {}) {
        using expected = decltype(error);
        CHECK_THROWS_AS(smx::masked_softmax(never, x, mask, out, shape, options), expected);
        CHECK_THROWS_AS(smx::masked_log_softmax(never, x, mask, out, shape, options), expected);
        CHECK_THROWS_AS(smx::masked_softmax_backward(never, x, mask, x, upstream, out, shape, options),
                        expected);
        CHECK_THROWS_AS(smx::masked_log_softmax_backward(never, x, mask, x, upstream, out, shape, options),
                        expected);
    };
    const std::invalid_argument unfit("");
    refuse(std::vector<bool>(99999), unfit);
    refuse(short_of_one, unfit);
    refuse(smx::valid_lengths(too_few), unfit);
    refuse(smx::valid_lengths(lengths), std::out_of_range(""));
    refuse(smx::causal(), unfit, {.temperature = -1});
    refuse(smx::causal(), unfit, {.softcap = -1});
    refuse(smx::causal(), unfit, {.temperature = 0, .sink = 1});
    refuse(smx::causal(), unfit, {.sinks = sinks});
    const smx::causal mask;
    CHECK_THROWS_AS(smx::masked_softmax(never, short_of_one, mask, out, shape), std::invalid_argument);
    CHECK_THROWS_AS(smx::masked_log_softmax(never, x, mask, sinks, shape), std::invalid_argument);
    CHECK_THROWS_AS(smx::masked_softmax_backward(never, x, mask, short_of_one, x, out, shape),
                    std::invalid_argument);
    CHECK_THROWS_AS(smx::masked_log_softmax_backward(never, x, mask, x, short_of_one, out, shape),
                    std::invalid_argument);
    CHECK(out == upstream);
}

namespace {

using serial = void (*)(std::size_t, std::function<void(std::size_t)>);
static_assert(smx::executor<serial> && smx::executor<executors::counting> &&
              smx::executor<executors::counting&>);
static_assert(smx::executor<decltype(executors::threads)>);
static_assert(!smx::executor<std::vector<double>> && !smx::executor<int> &&
              !smx::executor<void (*)(std::size_t)> && !smx::executor<smx::shape> &&
              !smx::executor<test::strided_view<double, 2>>);

// Masks that rows of a batch can have: found by their number, and no bias wider than the results.
template <class Mask>
concept masks_floats = requires(const serial& exec, std::vector<float>& x, const Mask& mask) {
    smx::masked_softmax(exec, x, mask, x, {1, 1});
    smx::masked_log_softmax(exec, x, mask, x, {1, 1}, {.temperature = 2});
    smx::masked_softmax_backward(exec, x, mask, x, x, x, {1, 1});
    smx::masked_log_softmax_backward(exec, x, mask, x, x, x, {1, 1}, {.softcap = 2});
};
static_assert(masks_floats<std::vector<bool>> && masks_floats<std::vector<float>> &&
              masks_floats<smx::causal> && masks_floats<decltype(smx::valid_lengths({1}))>);
static_assert(!masks_floats<std::list<bool>> && !masks_floats<std::vector<double>> && !masks_floats<int>);

} // namespace
