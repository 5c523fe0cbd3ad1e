// What every function does with an empty row, infinities, NaN, T = 0 and T = +inf: one table, read by one
// test for each column, in three element types and on every route by which a row can reach the library.
#include <softmax.hpp>

#include "support/catch.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <list>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

constexpr long double inf = std::numeric_limits<long double>::infinity();
constexpr long double nan = std::numeric_limits<long double>::quiet_NaN();

struct cell {
    enum class kind { value, rest, refused, open };
    kind is;
    long double value;
    constexpr cell(long double v) : is(kind::value), value(v) {}
    constexpr cell(int v) : cell(static_cast<long double>(v)) {}
    constexpr cell(double v) : cell(static_cast<long double>(v)) {}
    constexpr explicit cell(kind k) : is(k), value(0) {}
};
constexpr cell rest{cell::kind::rest};     // what the row gives without its entries of -inf
constexpr cell error{cell::kind::refused}; // std::invalid_argument
constexpr cell open{cell::kind::open};     // two rows of the table meet: not fixed, not tested

const long double ln2 = std::log(2.0L);
const long double ln3 = std::log(3.0L);
constexpr long double third = 1.0L / 3;

// One cell per entry of the row, or one for all of them.
class cells {
public:
    cells(std::initializer_list<cell> list) : list_(list) {}
    friend cells each(const cell& same) {
        cells all{same};
        all.same_ = true;
        return all;
    }
    bool fits(std::size_t classes) const { return same_ || list_.size() == classes; }
    const cell& operator[](std::size_t c) const { return list_[same_ ? 0 : c]; }

private:
    std::vector<cell> list_;
    bool same_ = false;
};
cells each(const cell& same);

// Temperatures: those at which the row's own rule shows, all valid ones but 0, both zeros, and the invalid
// ones.
const std::vector<long double> some = {1, 0.3L, 7}, any = {1, 0.3L, inf}, zero = {0, -0.0L},
                               bad = {-1, -0.3L, -inf, nan};

struct line {
    const char* when;
    std::vector<long double> logits;
    std::vector<long double> temperatures;
    cells softmax;
    cells log_softmax;
    cell logsumexp;
    cells loss; // of cross_entropy
};

// clang-format off
const line table[] = {
    // when           logits            T      softmax          log_softmax         lse    loss, by target
    {"finite",        {1, -2, 2.5},     some,  each(rest),      each(rest),         rest,  each(rest)},
    {"two equal",     {-3, -3},         any,   each(0.5),       each(-ln2),         rest,  each(ln2)},
    {"one class",     {-5},             any,   {1},             {0},                rest,  {0}},
    {"empty",         {},               any,   {},              {},                 -inf,  {}},
    {"empty, T = 0",  {},               zero,  {},              {},                 open,  {}},

    {"an entry -inf", {1, -inf, 2.5},   some,  {rest, 0, rest}, {rest, -inf, rest}, rest,  {rest, inf, rest}},
    {"-inf first",    {-inf, 2.5, 0},   some,  {0, rest, rest}, {-inf, rest, rest}, rest,  {inf, rest, rest}},
    {"-inf last",     {2.5, -8, -inf},  some,  {rest, rest, 0}, {rest, rest, -inf}, rest,  {rest, rest, inf}},
    {"one finite",    {-inf, -7, -inf}, some,  {0, 1, 0},       {-inf, 0, -inf},    rest,  {inf, 0, inf}},
    {"all -inf",      {-inf, -inf},     any,   each(nan),       each(nan),          -inf,  each(nan)},
    {"-inf, T = 0",   {-inf, -inf},     zero,  each(nan),       each(nan),          open,  each(open)},
    {"-inf alone",    {-inf},           any,   {nan},           {nan},              -inf,  {nan}},

    {"any +inf",      {1, inf, 2},      any,   each(nan),       each(nan),          inf,   each(nan)},
    {"+inf first",    {inf, 1, 2},      any,   each(nan),       each(nan),          inf,   each(nan)},
    {"+inf last",     {1, 2, inf},      any,   each(nan),       each(nan),          inf,   each(nan)},
    {"two +inf",      {inf, 1, inf},    any,   each(nan),       each(nan),          inf,   each(nan)},
    {"+inf and -inf", {inf, -inf},      any,   each(nan),       each(nan),          inf,   each(nan)},
    {"+inf, T = 0",   {1, inf, 2},      zero,  each(nan),       each(nan),          open,  each(open)},
    {"+inf alone",    {inf},            any,   {nan},           {nan},              inf,   {nan}},

    {"any NaN",       {1, nan, 2},      any,   each(nan),       each(nan),          nan,   each(nan)},
    {"NaN first",     {nan, 1, 2},      any,   each(nan),       each(nan),          nan,   each(nan)},
    {"NaN last",      {1, 2, nan},      any,   each(nan),       each(nan),          nan,   each(nan)},
    {"NaN then +inf", {nan, inf, 2},    any,   each(nan),       each(nan),          nan,   each(nan)},
    {"+inf then NaN", {inf, 2, nan},    any,   each(nan),       each(nan),          nan,   each(nan)},
    {"NaN and -inf",  {-inf, nan},      any,   each(nan),       each(nan),          nan,   each(nan)},
    {"NaN, T = 0",    {1, nan, 2},      zero,  each(nan),       each(nan),          open,  each(open)},
    {"NaN alone",     {nan},            any,   {nan},           {nan},              nan,   {nan}},

    {"T = 0",         {1, 3, 2},        zero,  {0, 1, 0},       {-inf, 0, -inf},    error, each(error)},
    {"T = 0, a tie",  {3, -inf, 3},     zero,  {0.5, 0, 0.5},   {-ln2, -inf, -ln2}, error, each(error)},
    {"T = 0, ties",   {-2, -2, -2},     zero,  each(third),     each(-ln3),         error, each(error)},
    {"T = 0, alone",  {-4},             zero,  {1},             {0},                error, {error}},
    {"T = inf",       {1, -5, 30},      {inf}, each(third),     each(-ln3),         ln3,   each(ln3)},
    {"T = inf, -inf", {1, -inf, 30},    {inf}, {0.5, 0, 0.5},   {-ln2, -inf, -ln2}, ln2,   {ln2, inf, ln2}},
    {"T = inf, one",  {-5},             {inf}, {1},             {0},                0,     {0}},
    {"T < 0 or NaN",  {1, 3, 2},        bad,   each(error),     each(error),        error, each(error)},
    {"bad T and NaN", {1, nan, 2},      bad,   each(error),     each(error),        error, each(error)},
};
// clang-format on

// Finite entries in long double, one maximum left out of the sum. The last places belong to accuracy.cpp: 16
// epsilon do here.
struct reference {
    reference(const std::vector<long double>& logits, long double temperature) : t(temperature) {
        const auto top = std::max_element(logits.begin(), logits.end());
        for (auto x = logits.begin(); x != logits.end(); ++x) {
            max = *top;
            others += x == top ? 0 : std::exp((*x - max) / t);
        }
    }
    long double logsumexp() const { return max / t + std::log1p(others); }
    long double log_softmax(long double x) const { return (x - max) / t - std::log1p(others); }
    long double softmax(long double x) const { return std::exp((x - max) / t) / (1 + others); }
    long double t, max = -inf, others = 0;
};

template <class Real>
bool agrees(Real result, long double expected) {
    if (std::isnan(expected)) {
        return std::isnan(result);
    }
    const Real nearest = static_cast<Real>(expected);
    if (std::isinf(expected) || expected == 0 || expected == 1) {
        return result == nearest;
    }
    return std::abs(result - nearest) <= 16 * std::numeric_limits<Real>::epsilon() * std::abs(nearest);
}

template <class Real>
std::vector<Real> as(const std::vector<long double>& values) {
    std::vector<Real> result;
    for (const long double value : values) {
        result.push_back(static_cast<Real>(value));
    }
    return result;
}

// A sentinel of another type than the iterator.
template <class I>
struct stop_at {
    I end{};
    friend bool operator==(const I& at, const stop_at& stop) { return at == stop.end; }
};

// The row sits at (row_outer, row_inner) of a batch; its neighbours are finite and different everywhere.
template <class Real>
struct batch_of {
    batch_of(const std::vector<Real>& x, std::size_t outer, std::size_t inner, std::size_t o, std::size_t i)
        : shape{outer, x.size(), inner},
          at_outer(o),
          at_inner(i),
          logits(outer * x.size() * inner) {
        for (std::size_t k = 0; k != logits.size(); ++k) {
            logits[k] = static_cast<Real>(0.25) * static_cast<Real>((k * 7) % 11);
        }
        for (std::size_t c = 0; c != x.size(); ++c) {
            logits[place(c)] = x[c];
        }
    }
    std::size_t place(std::size_t c) const { return (at_outer * shape.classes + c) * shape.inner + at_inner; }
    std::size_t rows() const { return shape.outer * shape.inner; }
    std::size_t number() const { return at_outer * shape.inner + at_inner; }
    std::vector<Real> row_of(const std::vector<Real>& values) const {
        std::vector<Real> row;
        for (std::size_t c = 0; c != shape.classes; ++c) {
            row.push_back(values[place(c)]);
        }
        return row;
    }
    // The temperatures of the neighbours differ from that of the row.
    std::vector<Real> temperatures(Real t) const {
        std::vector<Real> each;
        for (std::size_t row = 0; row != rows(); ++row) {
            each.push_back(row == number() ? t : static_cast<Real>(2 + static_cast<int>(row)));
        }
        return each;
    }
    bool neighbours_are_finite(const std::vector<Real>& values) const {
        for (std::size_t k = 0; k != values.size(); ++k) {
            const std::size_t row = k / (shape.classes * shape.inner) * shape.inner + k % shape.inner;
            if (row != number() && !std::isfinite(values[k])) {
                return false;
            }
        }
        return true;
    }
    smx::shape shape;
    std::size_t at_outer, at_inner;
    std::vector<Real> logits;
};

struct softmax_function {
    static constexpr const char* name = "softmax";
    template <class... Arguments>
    static auto call(Arguments&&... arguments) {
        return smx::softmax(std::forward<Arguments>(arguments)...);
    }
};

struct log_softmax_function {
    static constexpr const char* name = "log_softmax";
    template <class... Arguments>
    static auto call(Arguments&&... arguments) {
        return smx::log_softmax(std::forward<Arguments>(arguments)...);
    }
};

// visit(name of the route, function that returns the row's results by that route)
template <class Function, class Real, class Visit>
void for_each_route_of_a_row(const std::vector<Real>& x, Real t, Visit visit) {
    constexpr Real untouched = -77;
    visit("vector to vector", [&] {
        std::vector<Real> out(x.size(), untouched);
        Function::call(x, out, t);
        return out;
    });
    visit("span to span", [&] {
        std::vector<Real> out(x.size(), untouched);
        Function::call(std::span<const Real>(x), std::span<Real>(out), t);
        return out;
    });
    visit("list to list", [&] {
        const std::list<Real> in(x.begin(), x.end());
        std::list<Real> out(x.size(), untouched);
        Function::call(in, out, t);
        return std::vector<Real>(out.begin(), out.end());
    });
    visit("iterators with a sentinel", [&] {
        const std::list<Real> in(x.begin(), x.end());
        using iterator = typename std::list<Real>::const_iterator;
        std::vector<Real> out;
        Function::call(in.begin(), stop_at<iterator>{in.end()}, std::back_inserter(out), t);
        return out;
    });
    visit("pointers", [&] {
        std::vector<Real> out(x.size(), untouched);
        Function::call(x.data(), x.data() + x.size(), out.data(), t);
        return out;
    });
    visit("a vector in place", [&] {
        std::vector<Real> row = x;
        Function::call(row, row, t);
        return row;
    });
    visit("a list in place", [&] {
        std::list<Real> row(x.begin(), x.end());
        Function::call(row, row, t);
        return std::vector<Real>(row.begin(), row.end());
    });
    visit("by value", [&] { return std::vector<Real>(Function::call(x, t)); });
    visit("a list by value",
          [&] { return std::vector<Real>(Function::call(std::list<Real>(x.begin(), x.end()), t)); });
    for (const std::size_t inner : {std::size_t(1), std::size_t(3)}) {
        const batch_of<Real> batch(x, 3, inner, 1, inner / 2);
        const std::string in_batch = "a batch with inner " + std::to_string(inner);
        visit(in_batch, [&] {
            std::vector<Real> out(batch.logits.size(), untouched);
            Function::call(batch.logits, out, batch.shape, t);
            return batch.row_of(out);
        });
        visit(in_batch + " and one T per row", [&] {
            std::vector<Real> out(batch.logits.size(), untouched);
            Function::call(batch.logits, out, batch.shape, batch.temperatures(t));
            CHECK(batch.neighbours_are_finite(out));
            return batch.row_of(out);
        });
        visit(in_batch + " in place", [&] {
            std::vector<Real> all = batch.logits;
            Function::call(all, all, batch.shape, t);
            return batch.row_of(all);
        });
    }
}

template <class Real, class Visit>
void for_each_route_of_logsumexp(const std::vector<Real>& x, Real t, Visit visit) {
    visit("vector", [&] { return smx::logsumexp(x, t); });
    visit("span", [&] { return smx::logsumexp(std::span<const Real>(x), t); });
    visit("list", [&] { return smx::logsumexp(std::list<Real>(x.begin(), x.end()), t); });
    visit("iterators with a sentinel", [&] {
        const std::list<Real> in(x.begin(), x.end());
        using iterator = typename std::list<Real>::const_iterator;
        return smx::logsumexp(in.begin(), stop_at<iterator>{in.end()}, t);
    });
    for (const std::size_t inner : {std::size_t(1), std::size_t(3)}) {
        const batch_of<Real> batch(x, 3, inner, 1, inner / 2);
        const std::string in_batch = "a batch with inner " + std::to_string(inner);
        visit(in_batch, [&] {
            std::vector<Real> results(batch.rows(), Real(-77));
            smx::logsumexp(batch.logits, results, batch.shape, t);
            return results[batch.number()];
        });
        visit(in_batch + " and one T per row", [&] {
            std::vector<Real> results(batch.rows(), Real(-77));
            smx::logsumexp(batch.logits, results, batch.shape, batch.temperatures(t));
            for (std::size_t row = 0; row != batch.rows(); ++row) {
                CHECK((row == batch.number() || batch.shape.classes == 0 || std::isfinite(results[row])));
            }
            return results[batch.number()];
        });
    }
}

template <class Real>
struct outcome {
    Real loss;
    std::vector<Real> gradient; // empty where the route does not ask for one
};

// The row's loss for one class index, or for the probability target that is 1 there and 0 elsewhere.
template <class Real, class Visit>
void for_each_route_of_cross_entropy(const std::vector<Real>& x, std::size_t target, Real t, Visit visit) {
    using options = smx::cross_entropy_options<Real>;
    constexpr Real untouched = -77;
    const options at_t{.temperature = t};
    std::vector<Real> one_hot(x.size(), Real(0));
    one_hot[target] = 1;
    const std::list<Real> in(x.begin(), x.end());
    using iterator = typename std::list<Real>::const_iterator;

    visit("index", [&] { return outcome<Real>{smx::cross_entropy(x, target, at_t), {}}; });
    visit("index with gradient", [&] {
        std::vector<Real> gradient(x.size(), untouched);
        const Real loss = smx::cross_entropy(x, target, gradient, at_t);
        return outcome<Real>{loss, gradient};
    });
    visit("index, gradient in place", [&] {
        std::vector<Real> row = x;
        const Real loss = smx::cross_entropy(row, target, row, at_t);
        return outcome<Real>{loss, row};
    });
    visit("index, lists", [&] {
        std::list<Real> gradient(x.size(), untouched);
        const Real loss = smx::cross_entropy(in, target, gradient, at_t);
        return outcome<Real>{loss, {gradient.begin(), gradient.end()}};
    });
    visit("index, iterators with a sentinel", [&] {
        return outcome<Real>{smx::cross_entropy(in.begin(), stop_at<iterator>{in.end()}, target, at_t), {}};
    });
    visit("index, iterators with gradient", [&] {
        std::vector<Real> gradient(x.size(), untouched);
        const Real loss =
            smx::cross_entropy(in.begin(), stop_at<iterator>{in.end()}, target, gradient.begin(), at_t);
        return outcome<Real>{loss, gradient};
    });
    visit("probabilities", [&] { return outcome<Real>{smx::cross_entropy(x, one_hot, at_t), {}}; });
    visit("probabilities with gradient", [&] {
        std::vector<Real> gradient(x.size(), untouched);
        const Real loss = smx::cross_entropy(x, one_hot, gradient, at_t);
        return outcome<Real>{loss, gradient};
    });
    visit("probabilities, lists", [&] {
        const std::list<Real> q(one_hot.begin(), one_hot.end());
        std::list<Real> gradient(x.size(), untouched);
        const Real loss = smx::cross_entropy(in, q, gradient, at_t);
        return outcome<Real>{loss, {gradient.begin(), gradient.end()}};
    });
    for (const std::size_t inner : {std::size_t(1), std::size_t(3)}) {
        // Neighbours that are ignored leave the row's own loss as the mean.
        const batch_of<Real> batch(x, 3, inner, 1, inner / 2);
        std::vector<long> targets(batch.rows(), -100);
        targets[batch.number()] = static_cast<long>(target);
        const options ignoring{.temperature = t, .ignore_index = -100};
        const std::string in_batch = "a batch with inner " + std::to_string(inner);
        visit("index, " + in_batch, [&] {
            return outcome<Real>{smx::cross_entropy(batch.logits, targets, batch.shape, ignoring), {}};
        });
        visit("index with gradient, " + in_batch, [&] {
            std::vector<Real> gradient(batch.logits.size(), untouched);
            const Real loss = smx::cross_entropy(batch.logits, targets, gradient, batch.shape, ignoring);
            return outcome<Real>{loss, batch.row_of(gradient)};
        });
        // `inner` copies of the row: sum and division by their number.
        visit("probabilities with gradient, " + in_batch, [&] {
            std::vector<Real> logits, q;
            for (std::size_t c = 0; c != x.size(); ++c) {
                logits.insert(logits.end(), inner, x[c]);
                q.insert(q.end(), inner, one_hot[c]);
            }
            std::vector<Real> gradient(logits.size(), untouched), row;
            const Real loss = smx::cross_entropy(logits, q, gradient, smx::shape{1, x.size(), inner},
                                                 options{.temperature = t});
            for (std::size_t c = 0; c != x.size(); ++c) {
                row.push_back(gradient[c * inner] * static_cast<Real>(inner));
            }
            return outcome<Real>{loss, row};
        });
    }
}

template <class Real, class Function>
void check_row(const line& at, const cells line::* column, long double temperature,
               long double (reference::*formula)(long double) const) {
    const std::vector<Real> x = as<Real>(at.logits);
    const Real t = static_cast<Real>(temperature);
    const cells& expected = at.*column;
    REQUIRE(expected.fits(at.logits.size()));
    const reference finite(at.logits, static_cast<long double>(t));
    for_each_route_of_a_row<Function>(x, t, [&](const std::string& route, auto run) {
        CAPTURE(Function::name, at.when, temperature, route);
        if (!x.empty() && expected[0].is == cell::kind::refused) {
            CHECK_THROWS_AS(run(), std::invalid_argument);
            return;
        }
        const std::vector<Real> result = run();
        REQUIRE(result.size() == x.size());
        for (std::size_t c = 0; c != x.size(); ++c) {
            const long double value = expected[c].is == cell::kind::rest
                                          ? (finite.*formula)(static_cast<long double>(x[c]))
                                          : expected[c].value;
            CAPTURE(c, result[c], static_cast<Real>(value));
            CHECK(agrees(result[c], value));
        }
    });
}

} // namespace

TEMPLATE_TEST_CASE("softmax does what the table of special values says under every route", "", float, double,
                   long double) {
    for (const line& at : table) {
        for (const long double t : at.temperatures) {
            check_row<TestType, softmax_function>(at, &line::softmax, t, &reference::softmax);
        }
    }
}

TEMPLATE_TEST_CASE("log_softmax does what the table of special values says under every route", "", float,
                   double, long double) {
    for (const line& at : table) {
        for (const long double t : at.temperatures) {
            check_row<TestType, log_softmax_function>(at, &line::log_softmax, t, &reference::log_softmax);
        }
    }
}

TEMPLATE_TEST_CASE("logsumexp does what the table of special values says under every route", "", float,
                   double, long double) {
    using real = TestType;
    for (const line& at : table) {
        for (const long double temperature : at.temperatures) {
            const real t = static_cast<real>(temperature);
            if (at.logsumexp.is == cell::kind::open) {
                continue;
            }
            const reference finite(at.logits, static_cast<long double>(t));
            const long double expected = at.logsumexp.is != cell::kind::rest ? at.logsumexp.value
                                         : std::isinf(temperature)
                                             ? std::log(static_cast<long double>(at.logits.size()))
                                             : finite.logsumexp();
            for_each_route_of_logsumexp(as<real>(at.logits), t, [&](const std::string& route, auto run) {
                CAPTURE(at.when, temperature, route);
                if (at.logsumexp.is == cell::kind::refused) {
                    CHECK_THROWS_AS(run(), std::invalid_argument);
                    return;
                }
                const real result = run();
                CAPTURE(result, static_cast<real>(expected));
                CHECK(agrees(result, expected));
            });
        }
    }
}

TEMPLATE_TEST_CASE("cross_entropy does what the table of special values says under every route", "", float,
                   double, long double) {
    using real = TestType;
    for (const line& at : table) {
        for (const long double temperature : at.temperatures) {
            const std::vector<real> x = as<real>(at.logits);
            const real t = static_cast<real>(temperature);
            const reference finite(at.logits, static_cast<long double>(t));
            REQUIRE(at.loss.fits(x.size()));
            for (std::size_t target = 0; target != x.size(); ++target) {
                const cell& loss = at.loss[target];
                if (loss.is == cell::kind::open) {
                    continue;
                }
                for_each_route_of_cross_entropy(x, target, t, [&](const std::string& route, auto run) {
                    CAPTURE(at.when, temperature, target, route);
                    if (loss.is == cell::kind::refused) {
                        CHECK_THROWS_AS(run(), std::invalid_argument);
                        return;
                    }
                    const long double value = loss.is == cell::kind::rest
                                                  ? -finite.log_softmax(static_cast<long double>(x[target]))
                                                  : loss.value;
                    const outcome<real> result = run();
                    CAPTURE(result.loss, static_cast<real>(value));
                    CHECK(agrees(result.loss, value));
                    if (result.gradient.empty() || std::isinf(value)) {
                        return;
                    }
                    REQUIRE(result.gradient.size() == x.size());
                    for (std::size_t c = 0; c != x.size(); ++c) {
                        // The derivative of what is returned: that of log(count) at T = +inf is 0.
                        const long double p = finite.softmax(static_cast<long double>(x[c]));
                        const long double expected = std::isnan(value) ? value
                                                     : std::isinf(temperature)
                                                         ? 0
                                                         : (p - (c == target ? 1 : 0)) / finite.t;
                        CAPTURE(c, result.gradient[c], static_cast<real>(expected));
                        if (std::isfinite(expected)) {
                            CHECK(std::abs(static_cast<long double>(result.gradient[c]) - expected) <=
                                  16 * std::numeric_limits<real>::epsilon() / finite.t);
                        } else {
                            CHECK(std::isnan(result.gradient[c]));
                        }
                    }
                });
            }
        }
    }
}

TEMPLATE_TEST_CASE("cross_entropy refuses an empty row under every form", "", float, double, long double) {
    using real = TestType;
    const std::vector<real> none;
    const std::list<real> no_list;
    std::vector<real> gradient;
    CHECK_THROWS_AS(smx::cross_entropy(none, 0), std::invalid_argument);
    CHECK_THROWS_AS(smx::cross_entropy(no_list, 0u), std::invalid_argument);
    CHECK_THROWS_AS(smx::cross_entropy(none, 0, gradient), std::invalid_argument);
    CHECK_THROWS_AS(smx::cross_entropy(none.begin(), none.end(), 0), std::invalid_argument);
    CHECK_THROWS_AS(smx::cross_entropy(none, none), std::invalid_argument);
    CHECK_THROWS_AS(smx::cross_entropy(none, none, gradient), std::invalid_argument);
    CHECK_THROWS_AS(smx::cross_entropy(none, std::vector<int>{0, 0}, smx::shape{2, 0, 1}),
                    std::invalid_argument);
}

TEMPLATE_TEST_CASE("cross_entropy is +inf under label smoothing with an entry -inf", "", float, double,
                   long double) {
    using real = TestType;
    const real minus_inf = -std::numeric_limits<real>::infinity();
    const std::vector<real> x = {1, minus_inf, real(2.5)};
    const std::vector<real> q = {real(0.25), 0, real(0.75)};
    const smx::cross_entropy_options<real> options{.temperature = real(0.3), .label_smoothing = real(0.1)};
    const real infinity = std::numeric_limits<real>::infinity();
    std::vector<real> gradient(3);
    CHECK(smx::cross_entropy(x, 0, options) == infinity);
    CHECK(smx::cross_entropy(x, 0, gradient, options) == infinity);
    CHECK(smx::cross_entropy(std::list<real>(x.begin(), x.end()), 0, options) == infinity);
    CHECK(smx::cross_entropy(x, q, options) == infinity);
    CHECK(smx::cross_entropy(x, q, gradient, options) == infinity);
    CHECK(smx::cross_entropy(x, std::vector<int>{2}, smx::shape{1, 3, 1}, options) == infinity);
    CHECK(smx::cross_entropy(x, q, smx::shape{1, 3, 1}, options) == infinity);
}

TEMPLATE_TEST_CASE("cross_entropy adds nothing for a target probability of 0 under any logit", "", float,
                   double, long double) {
    using real = TestType;
    const real minus_inf = -std::numeric_limits<real>::infinity();
    const std::vector<real> with = {1, minus_inf, real(2.5)}, q_with = {real(0.25), 0, real(0.75)};
    const std::vector<real> without = {1, real(2.5)}, q_without = {real(0.25), real(0.75)};
    const smx::cross_entropy_options<real> options{.temperature = real(0.3)};
    const real expected = smx::cross_entropy(without, q_without, options);
    REQUIRE(std::isfinite(expected));
    std::vector<real> gradient(3), gradient_without(2);
    smx::cross_entropy(without, q_without, gradient_without, options);
    CHECK(agrees(smx::cross_entropy(with, q_with, options), static_cast<long double>(expected)));
    CHECK(agrees(smx::cross_entropy(with, q_with, gradient, options), static_cast<long double>(expected)));
    CHECK(agrees(gradient[0], static_cast<long double>(gradient_without[0])));
    CHECK(gradient[1] == 0);
    CHECK(agrees(gradient[2], static_cast<long double>(gradient_without[1])));
    // A probability of 1 there is the index target.
    CHECK(std::isinf(smx::cross_entropy(with, std::vector<real>{0, 1, 0}, options)));
}

TEMPLATE_TEST_CASE("cross_entropy follows its formula under smoothing, weights and z_loss together", "",
                   float, double, long double) {
    using real = TestType;
    const std::vector<real> x = {1, real(-0.5), real(2.5), 0};
    const std::vector<real> weights = {real(0.5), 2, real(1.25), 0};
    const std::vector<long double> w = {0.5L, 2, 1.25L, 0};
    const double t = 0.75, a = 0.25, z = 0.125;
    const smx::cross_entropy_options<real> options{
        .temperature = real(t), .label_smoothing = real(a), .class_weights = weights, .z_loss = real(z)};
    const std::vector<real> soft = {real(0.5), 0, real(0.25), real(0.25)};
    const reference row({1, -0.5L, 2.5L, 0}, t);
    for (const bool index : {true, false}) {
        std::vector<long double> q =
            index ? std::vector<long double>{0, 1, 0, 0} : std::vector<long double>{0.5L, 0, 0.25L, 0.25L};
        long double loss = z * row.logsumexp() * row.logsumexp(), total = 0;
        for (std::size_t c = 0; c != 4; ++c) {
            q[c] = ((1 - a) * q[c] + a / 4) * w[c];
            total += q[c];
            loss -= q[c] * row.log_softmax(static_cast<long double>(x[c]));
        }
        std::vector<real> gradient(4);
        const real alone = index ? smx::cross_entropy(x, 1, options) : smx::cross_entropy(x, soft, options);
        const real both = index ? smx::cross_entropy(x, 1, gradient, options)
                                : smx::cross_entropy(x, soft, gradient, options);
        CAPTURE(index, alone, static_cast<real>(loss));
        CHECK(agrees(alone, loss));
        CHECK(both == alone);
        for (std::size_t c = 0; c != 4; ++c) {
            const long double p = row.softmax(static_cast<long double>(x[c]));
            const long double expected = (total * p - q[c] + 2 * z * row.logsumexp() * p) / t;
            CAPTURE(c, gradient[c], static_cast<real>(expected));
            CHECK(std::abs(static_cast<long double>(gradient[c]) - expected) <=
                  64 * static_cast<long double>(std::numeric_limits<real>::epsilon()));
        }
    }
}

TEMPLATE_TEST_CASE("cross_entropy leaves ignored rows out under mean and sum", "", float, double,
                   long double) {
    using real = TestType;
    const real nan_entry = std::numeric_limits<real>::quiet_NaN();
    // inner = 2: rows are columns of each block. The ignored row holds NaN, which must reach nothing.
    const std::vector<real> b = {1, nan_entry, 2, 0,  real(0.5), 3,  // block 0: rows 0 and 1
                                 4, real(1.5), 0, -1, 2,         1}; // block 1: rows 2 and 3
    const std::vector<int> targets = {2, -1, 0, 1};
    const std::vector<real> weights = {real(0.5), 2, real(1.25)};
    const smx::shape shape{2, 3, 2};
    const std::vector<std::vector<long double>> rows = {{1, 2, 0.5L}, {}, {4, 0, 2}, {1.5L, -1, 1}};
    const long double t = 0.75L;
    long double sum = 0, weight = 0;
    for (const std::size_t r : {std::size_t(0), std::size_t(2), std::size_t(3)}) {
        const auto target = static_cast<std::size_t>(targets[r]);
        const long double w = static_cast<long double>(weights[target]);
        sum -= w * reference(rows[r], t).log_softmax(rows[r][target]);
        weight += w;
    }
    for (const auto reduce : {smx::reduction::mean, smx::reduction::sum}) {
        const smx::cross_entropy_options<real> options{
            .temperature = real(t), .class_weights = weights, .ignore_index = -1, .reduce = reduce};
        const long double divisor = reduce == smx::reduction::mean ? weight : 1;
        std::vector<real> gradient(b.size(), real(-77));
        const real loss = smx::cross_entropy(b, targets, gradient, shape, options);
        CHECK(agrees(loss, sum / divisor));
        CHECK(smx::cross_entropy(b, targets, shape, options) == loss);
        for (std::size_t k = 0; k != b.size(); ++k) {
            const std::size_t o = k / 6, c = k / 2 % 3, r = o * 2 + k % 2;
            CAPTURE(k, gradient[k]);
            if (r == 1) {
                CHECK(gradient[k] == 0);
                continue;
            }
            const auto target = static_cast<std::size_t>(targets[r]);
            const long double p = reference(rows[r], t).softmax(rows[r][c]);
            const long double expected =
                static_cast<long double>(weights[target]) * (p - (c == target ? 1 : 0)) / t / divisor;
            CHECK(std::abs(static_cast<long double>(gradient[k]) - expected) <=
                  16 * static_cast<long double>(std::numeric_limits<real>::epsilon()));
        }
    }
}

TEMPLATE_TEST_CASE("cross_entropy divides by the rows under probability targets and a mean", "", float,
                   double, long double) {
    using real = TestType;
    const std::vector<real> b = {1, 2, real(0.5), 4, 0, 2};
    const std::vector<real> q = {real(0.25), real(0.75), 0, 0, real(0.5), real(0.5)};
    const std::vector<real> weights = {real(0.5), 2, real(1.25)};
    const smx::shape shape{2, 3, 1};
    const long double t = 0.75L;
    const reference first({1, 2, 0.5L}, t), second({4, 0, 2}, t);
    const long double sum = -(0.25L * 0.5L * first.log_softmax(1) + 0.75L * 2 * first.log_softmax(2) +
                              0.5L * 2 * second.log_softmax(0) + 0.5L * 1.25L * second.log_softmax(2));
    smx::cross_entropy_options<real> options{.temperature = real(t), .class_weights = weights};
    std::vector<real> mean_gradient(6), sum_gradient(6);
    CHECK(agrees(smx::cross_entropy(b, q, shape, options), sum / 2));
    CHECK(agrees(smx::cross_entropy(b, q, mean_gradient, shape, options), sum / 2));
    options.reduce = smx::reduction::sum;
    CHECK(agrees(smx::cross_entropy(b, q, shape, options), sum));
    CHECK(agrees(smx::cross_entropy(b, q, sum_gradient, shape, options), sum));
    for (std::size_t k = 0; k != 6; ++k) {
        CHECK(agrees(sum_gradient[k], 2 * static_cast<long double>(mean_gradient[k])));
    }
    // The first entry by hand: W = 0.25 * 0.5 + 0.75 * 2.
    CHECK(agrees(sum_gradient[0], (1.625L * first.softmax(1) - 0.125L) / t));
}

TEMPLATE_TEST_CASE("cross_entropy is 0 with gradient 0 under nothing that counts", "", float, double,
                   long double) {
    using real = TestType;
    const std::vector<real> b = {1, 2, 3, 4, 5, std::numeric_limits<real>::quiet_NaN()};
    const std::vector<int> all_ignored = {7, 7};
    const std::vector<real> untouched(6, real(-77)), zeros(6, real(0));
    for (const auto reduce : {smx::reduction::mean, smx::reduction::sum}) {
        const smx::cross_entropy_options<real> options{
            .temperature = real(0.3), .ignore_index = 7, .z_loss = real(0.5), .reduce = reduce};
        std::vector<real> gradient = untouched;
        CHECK(smx::cross_entropy(b, all_ignored, smx::shape{2, 3, 1}, options) == 0);
        CHECK(smx::cross_entropy(b, all_ignored, gradient, smx::shape{2, 3, 1}, options) == 0);
        CHECK(gradient == zeros);
        CHECK(smx::cross_entropy(std::vector<real>(), std::vector<int>(), smx::shape{0, 3, 1}, options) == 0);
        CHECK(smx::cross_entropy(std::vector<real>(), std::vector<real>(), smx::shape{0, 3, 1}, options) ==
              0);
    }
    // One row.
    const std::vector<real> row = {1, std::numeric_limits<real>::quiet_NaN()};
    std::vector<real> gradient(2, real(-77));
    CHECK(smx::cross_entropy(row, 7, smx::cross_entropy_options<real>{.ignore_index = 7}) == 0);
    CHECK(smx::cross_entropy(row, 7, gradient, smx::cross_entropy_options<real>{.ignore_index = 7}) == 0);
    CHECK(gradient == std::vector<real>(2, real(0)));
    // Rows that count, of weight 0 in all.
    const std::vector<real> weights = {0, 1, 1};
    std::vector<real> weighted_gradient(3, real(-77));
    const smx::cross_entropy_options<real> weightless{.temperature = real(0.3), .class_weights = weights};
    const std::vector<real> finite = {1, 2, 3};
    CHECK(smx::cross_entropy(finite, std::vector<int>{0}, weighted_gradient, smx::shape{1, 3, 1},
                             weightless) == 0);
    CHECK(weighted_gradient == std::vector<real>(3, real(0)));
}

TEMPLATE_TEST_CASE("cross_entropy of a batch is +inf under one infinite loss and NaN under one NaN", "",
                   float, double, long double) {
    using real = TestType;
    const real infinity = std::numeric_limits<real>::infinity(),
               nan_entry = std::numeric_limits<real>::quiet_NaN();
    const std::vector<int> targets = {1, 0, 1};
    for (std::size_t row = 0; row != 3; ++row) {
        std::vector<real> b = {1, 2, 3, 1, 0, 5}, g(6), q(6, real(0));
        for (std::size_t o = 0; o != 3; ++o) {
            q[o * 2 + static_cast<std::size_t>(targets[o])] = 1;
        }
        const std::size_t at = row * 2 + static_cast<std::size_t>(targets[row]);
        for (const auto reduce : {smx::reduction::mean, smx::reduction::sum}) {
            const smx::cross_entropy_options<real> options{.temperature = real(0.3), .reduce = reduce};
            const smx::shape shape{3, 2, 1};
            CAPTURE(row);
            b[at] = -infinity;
            CHECK(smx::cross_entropy(b, targets, shape, options) == infinity);
            CHECK(smx::cross_entropy(b, targets, g, shape, options) == infinity);
            CHECK(smx::cross_entropy(b, q, shape, options) == infinity);
            b[at] = nan_entry;
            CHECK(std::isnan(smx::cross_entropy(b, targets, g, shape, options)));
            CHECK(std::isnan(smx::cross_entropy(b, q, shape, options)));
            // The other rows keep their gradients.
            for (std::size_t k = 0; k != 6; ++k) {
                CHECK(std::isnan(g[k]) == (k / 2 == row));
            }
        }
    }
}

TEMPLATE_TEST_CASE("cross_entropy is log(count) under T = +inf with weights and smoothing", "", float, double,
                   long double) {
    using real = TestType;
    const std::vector<real> x = {1, -5, 30};
    const std::vector<real> weights = {1, 4, 1};
    const double infinite = std::numeric_limits<double>::infinity();
    std::vector<real> gradient(3, real(-77));
    const smx::cross_entropy_options<real> weighted{.temperature = real(infinite), .class_weights = weights};
    CHECK(agrees(smx::cross_entropy(x, 1, gradient, weighted), 4 * ln3));
    CHECK(gradient == std::vector<real>(3, real(0)));
    const smx::cross_entropy_options<real> smooth{.temperature = real(infinite),
                                                  .label_smoothing = real(0.25)};
    CHECK(agrees(smx::cross_entropy(x, 1, smooth), ln3));
    const smx::cross_entropy_options<real> z{.temperature = real(infinite), .z_loss = real(0.5)};
    CHECK(agrees(smx::cross_entropy(x, 1, z), ln3 + ln3 * ln3 / 2));
}

TEMPLATE_TEST_CASE("softmax notices one special entry under any position and length", "", float, double,
                   long double) {
    using real = TestType;
    const real infinity = std::numeric_limits<real>::infinity(),
               nan_entry = std::numeric_limits<real>::quiet_NaN();
    std::vector<real> x, p, l;
    for (std::size_t n = 1; n <= 70; ++n) {
        for (std::size_t at = 0; at != n; ++at) {
            for (const real special : {infinity, nan_entry}) {
                x.assign(n, real(0.5));
                x[at] = special;
                p.assign(n, real(-77));
                l.assign(n, real(-77));
                smx::softmax(x, p, real(0.3));
                smx::log_softmax(x, l, real(0.3));
                std::size_t numbers = 0;
                for (std::size_t c = 0; c != n; ++c) {
                    numbers += static_cast<std::size_t>(!std::isnan(p[c])) +
                               static_cast<std::size_t>(!std::isnan(l[c]));
                }
                const real sum = smx::logsumexp(x, real(0.3));
                CAPTURE(n, at, special, sum);
                CHECK(numbers == 0);
                CHECK((std::isnan(special) ? std::isnan(sum) : sum == infinity));
            }
            // -inf leaves n - 1 equal shares.
            x.assign(n, real(0.5));
            x[at] = -infinity;
            smx::softmax(x, p, real(0.3));
            CAPTURE(n, at);
            CHECK((n == 1 ? std::isnan(p[at]) : p[at] == 0));
            CHECK((n == 1 || agrees(p[(at + 1) % n], 1 / static_cast<long double>(n - 1))));
        }
    }
}

TEMPLATE_TEST_CASE("softmax gives what the formula says under the widest logits and temperatures", "", float,
                   double, long double) {
    using real = TestType;
    using limits = std::numeric_limits<real>;
    const real max = (limits::max)(), tiny = limits::denorm_min(), smallest = (limits::min)();
    const long double e = std::exp(1.0L);
    struct extreme {
        const char* when;
        std::vector<real> logits;
        real temperature;
        std::vector<long double> expected;
    };
    const std::vector<extreme> extremes = {
        {"a difference that overflows, divided by a large T",
         {-max, max},
         max,
         {1 / (1 + e * e), e * e / (1 + e * e)}},
        {"quotients that overflow", {max, -max, max}, real(0.01), {0.5, 0, 0.5}},
        {"the smallest T", {1, 1, 0}, tiny, {0.5, 0.5, 0}},
        {"the smallest T and zeros", {0, 0, 0, 0}, tiny, {0.25, 0.25, 0.25, 0.25}},
        {"the smallest T and subnormal logits", {2 * tiny, tiny}, tiny, {e / (1 + e), 1 / (1 + e)}},
        {"the smallest normal T and logits", {smallest, 2 * smallest}, smallest, {1 / (1 + e), e / (1 + e)}},
        {"the largest T", {1, -1}, max, {0.5, 0.5}},
        {"the largest T and huge logits", {max, 0}, max, {e / (1 + e), 1 / (1 + e)}},
        {"equal huge logits", {-max, -max}, real(0.3), {0.5, 0.5}},
        {"an entry -inf and huge logits", {-max, -limits::infinity()}, real(0.3), {1, 0}},
    };
    for (const extreme& at : extremes) {
        for_each_route_of_a_row<softmax_function>(
            at.logits, at.temperature, [&](const std::string& route, auto run) {
                const std::vector<real> result = run();
                REQUIRE(result.size() == at.expected.size());
                for (std::size_t c = 0; c != result.size(); ++c) {
                    CAPTURE(at.when, route, c, result[c], static_cast<real>(at.expected[c]));
                    CHECK(agrees(result[c], at.expected[c]));
                }
            });
    }
}

TEST_CASE("softmax takes a double temperature as it is under float logits", "") {
    const float tiny = std::numeric_limits<float>::denorm_min();
    const double e = std::exp(1.0);
    std::vector<float> p(2);
    // 1e-200 and 1e200 are no floats: neither may turn into T = 0 or +inf.
    smx::softmax(std::vector<float>{3 * tiny, tiny}, p, 2 * static_cast<double>(tiny));
    CHECK(agrees(p[0], e / (1 + e)));
    CHECK_NOTHROW(smx::cross_entropy(std::vector<float>{1, 2}, 1, {.temperature = 1e-200}));
    CHECK(smx::cross_entropy(std::vector<float>{1, 2}, 1, {.temperature = 1e-200}) == 0.0F);
    CHECK(smx::logsumexp(std::vector<float>{0, 0}, 1e-200) == std::log(2.0F));
    CHECK(smx::logsumexp(std::vector<float>{1, 2}, 1e200) == std::log(2.0F));
    CHECK(smx::logsumexp(std::vector<float>{1, 2}, 1e-200) == std::numeric_limits<float>::infinity());
    CHECK(smx::logsumexp(std::vector<float>{-1, -2}, 1e-200) == -std::numeric_limits<float>::infinity());
}
