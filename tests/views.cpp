// Batches in views: every function, every rank and axis, layouts with strides of all kinds. Each row has to have the bits that
// it has alone; nothing beside the view may be written.
#include "support/catch.hpp"
#include "support/sanitizers.hpp"
#include "support/strided_view.hpp"

#include <softmax.hpp>

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <list>
#include <random>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>
#if __has_include(<mdspan>)
#include <mdspan>
#endif

namespace {

using test::indices;
using test::place_for_view;
using test::strided_view;

template <class Real>
bool same(Real a, Real b) {
    return a == b ? std::signbit(a) == std::signbit(b) : a != a && b != b;
}

// One batch, random but for its rank and axis, by every function.
template <class Real, std::size_t R>
class batch {
public:
    batch(std::size_t axis, std::size_t classes, std::mt19937_64& random) : axis_(axis), random_(random) {
        for (std::size_t r = 0; r != R; ++r) {
            extents_[r] = r == axis ? classes : 1 + random() % (R < 3 ? 40 : 6);
        }
        std::uniform_real_distribution<double> temperature(0.3, 3);
        test::for_each_place(test::without(extents_, axis), [&](const indices<R - 1>& rest) {
            rows_.push_back(rest);
            temperatures_.push_back(temperature(random));
        });
        // A limit too, which the kernels leave to others.
        temperatures_[random() % temperatures_.size()] = 0;
    }

    // -1 and R - 1 are the same axis.
    int axis() const { return static_cast<int>(axis_) - (random_() % 2 == 0 ? static_cast<int>(R) : 0); }

    place_for_view<Real, R> place() const { return {extents_, random_}; }
    template <class T>
    place_for_view<T, R - 1> place_of_rows() const {
        return {test::without(extents_, axis_), random_};
    }

    place_for_view<Real, R> logits() const {
        std::normal_distribution<double> normal(0, 5);
        auto x = place();
        test::for_each_place(extents_, [&](const indices<R>& at) {
            x.view().at(at) = static_cast<Real>(random_() % 50 == 0 ? -INFINITY : normal(random_));
        });
        return x;
    }

    std::vector<Real> row(strided_view<Real, R> view, std::size_t r) const {
        std::vector<Real> elements;
        for (std::size_t c = 0; c != extents_[axis_]; ++c) {
            elements.push_back(view.at(test::with<R>(rows_[r], axis_, c)));
        }
        return elements;
    }

    // How many rows of a result differ from expected(row number).
    template <class F>
    std::size_t different(strided_view<Real, R> results, F expected) const {
        std::size_t count = 0;
        for (std::size_t r = 0; r != rows_.size(); ++r) {
            const auto found = row(results, r);
            const std::vector<Real> wanted = expected(r);
            bool all = found.size() == wanted.size();
            for (std::size_t c = 0; all && c != found.size(); ++c) {
                all = same(found[c], wanted[c]);
            }
            count += all ? 0U : 1U;
        }
        return count;
    }

    const std::vector<indices<R - 1>>& rows() const { return rows_; }
    const std::vector<double>& temperatures() const { return temperatures_; }
    std::size_t classes() const { return extents_[axis_]; }

private:
    std::size_t axis_;
    std::mt19937_64& random_;
    indices<R> extents_{};
    std::vector<indices<R - 1>> rows_;
    std::vector<double> temperatures_;
};

template <class Real, std::size_t R>
void check_forward(const batch<Real, R>& b) {
    auto x = b.logits();
    auto p = b.place(), l = b.place();
    smx::softmax(x.view(), p.view(), b.axis(), 0.7);
    smx::log_softmax(x.view(), l.view(), b.axis(), 0.7);
    CHECK(b.different(p.view(), [&](std::size_t r) { return smx::softmax(b.row(x.view(), r), 0.7); }) == 0);
    CHECK(b.different(l.view(), [&](std::size_t r) { return smx::log_softmax(b.row(x.view(), r), 0.7); }) ==
          0);
    CHECK((p.is_untouched_beside() && l.is_untouched_beside()));

    auto sums = b.template place_of_rows<Real>();
    std::vector<Real> sums_in_order(b.rows().size());
    smx::logsumexp(x.view(), sums.view(), b.axis(), 0.7);
    smx::logsumexp(x.view(), sums_in_order, b.axis(), 0.7);
    std::size_t different = 0;
    for (std::size_t r = 0; r != b.rows().size(); ++r) {
        const Real alone = smx::logsumexp(b.row(x.view(), r), 0.7);
        different += same(alone, sums.view().at(b.rows()[r])) && same(alone, sums_in_order[r]) ? 0U : 1U;
    }
    CHECK(different == 0);
    CHECK(sums.is_untouched_beside());

    auto in_place = x;
    smx::softmax(in_place.view(), in_place.view(), b.axis(), 0.7);
    CHECK(b.different(in_place.view(), [&](std::size_t r) { return b.row(p.view(), r); }) == 0);
    CHECK(in_place.is_untouched_beside());
}

template <class Real, std::size_t R>
void check_temperature_per_row(const batch<Real, R>& b) {
    auto x = b.logits();
    auto p = b.place(), l = b.place();
    auto t = b.template place_of_rows<float>();
    for (std::size_t r = 0; r != b.rows().size(); ++r) {
        t.view().at(b.rows()[r]) = static_cast<float>(b.temperatures()[r]);
    }
    smx::softmax(x.view(), p.view(), b.axis(), b.temperatures());
    smx::log_softmax(x.view(), l.view(), b.axis(), t.view());
    CHECK(b.different(p.view(), [&](std::size_t r) {
        return smx::softmax(b.row(x.view(), r), b.temperatures()[r]);
    }) == 0);
    CHECK(b.different(l.view(), [&](std::size_t r) {
        return smx::log_softmax(b.row(x.view(), r), static_cast<float>(b.temperatures()[r]));
    }) == 0);

    std::list<double> above_zero;
    std::vector<Real> expected;
    for (std::size_t r = 0; r != b.rows().size(); ++r) {
        above_zero.push_back(b.temperatures()[r] + 0.25);
        expected.push_back(smx::logsumexp(b.row(x.view(), r), above_zero.back()));
    }
    std::vector<Real> sums(b.rows().size());
    smx::logsumexp(x.view(), sums, b.axis(), above_zero);
    std::size_t different = 0;
    for (std::size_t r = 0; r != sums.size(); ++r) {
        different += same(sums[r], expected[r]) ? 0U : 1U;
    }
    CHECK(different == 0);
}

template <class Real, std::size_t R>
void check_losses(const batch<Real, R>& b, std::mt19937_64& random) {
    using options = smx::cross_entropy_options<Real>;
    const options of_rows{.temperature = 0.7, .label_smoothing = 0.1, .ignore_index = 3};
    auto x = b.logits(), q = b.logits();
    for (const auto& rest : b.rows()) { // shares of any size: nobody asks whether they are probabilities
        for (std::size_t c = 0; c != b.classes(); ++c) {
            Real& share =
                q.view().at(test::with<R>(rest, static_cast<std::size_t>((b.axis() + int{R}) % int{R}), c));
            share = std::isfinite(share) ? std::abs(share) / 8 : 0;
        }
    }
    auto targets = b.template place_of_rows<short>();
    std::vector<unsigned> targets_in_order;
    for (const auto& rest : b.rows()) {
        targets.view().at(rest) = static_cast<short>(random() % b.classes());
        targets_in_order.push_back(static_cast<unsigned>(targets.view().at(rest)));
    }
    auto g = b.place(), h = b.place();
    auto losses = b.template place_of_rows<Real>();
    std::vector<Real> mixed(b.rows().size());
    smx::cross_entropy_per_row(x.view(), targets.view(), losses.view(), g.view(), b.axis(), of_rows);
    smx::cross_entropy_per_row(x.view(), q.view(), mixed, h.view(), b.axis(), of_rows);
    std::size_t different = 0;
    std::vector<std::vector<Real>> gradients, gradients_of_mixed;
    for (std::size_t r = 0; r != b.rows().size(); ++r) {
        const auto row = b.row(x.view(), r);
        std::vector<Real> gradient(b.classes());
        Real alone = smx::cross_entropy(row, targets_in_order[r], gradient, of_rows);
        different += same(alone, losses.view().at(b.rows()[r])) ? 0U : 1U;
        gradients.push_back(gradient);
        alone = smx::cross_entropy(row, b.row(q.view(), r), gradient, of_rows);
        different += same(alone, mixed[r]) ? 0U : 1U;
        gradients_of_mixed.push_back(gradient);
    }
    CHECK(different == 0);
    CHECK(b.different(g.view(), [&](std::size_t r) { return gradients[r]; }) == 0);
    CHECK(b.different(h.view(), [&](std::size_t r) { return gradients_of_mixed[r]; }) == 0);
    CHECK((g.is_untouched_beside() && h.is_untouched_beside() && losses.is_untouched_beside()));

    // The reduced forms, against the same rows packed one after the other.
    std::vector<Real> packed, shares, gradient(b.rows().size() * b.classes());
    for (std::size_t r = 0; r != b.rows().size(); ++r) {
        const auto row = b.row(x.view(), r), share = b.row(q.view(), r);
        packed.insert(packed.end(), row.begin(), row.end());
        shares.insert(shares.end(), share.begin(), share.end());
    }
    const smx::shape shape{b.rows().size(), b.classes()};
    const options of_mean{.temperature = 0.7, .label_smoothing = 0.1, .ignore_index = 3, .z_loss = 0.01};
    const auto gradient_row = [&](std::size_t r) {
        const auto begin = gradient.begin() + static_cast<std::ptrdiff_t>(r * b.classes());
        return std::vector<Real>(begin, begin + static_cast<std::ptrdiff_t>(b.classes()));
    };
    Real mean = smx::cross_entropy(packed, targets_in_order, gradient, shape, of_mean);
    CHECK(same(mean, smx::cross_entropy(x.view(), targets.view(), g.view(), b.axis(), of_mean)));
    CHECK(same(mean, smx::cross_entropy(x.view(), targets_in_order, b.axis(), of_mean)));
    CHECK(b.different(g.view(), gradient_row) == 0);
    mean = smx::cross_entropy(packed, shares, gradient, shape, of_mean);
    CHECK(same(mean, smx::cross_entropy(x.view(), q.view(), b.axis(), of_mean)));
    auto over = q;
    CHECK(same(mean, smx::cross_entropy(x.view(), over.view(), over.view(), b.axis(), of_mean)));
    CHECK(b.different(over.view(), gradient_row) == 0);
    smx::cross_entropy_per_row(x.view(), targets.view(), mixed, b.axis(), of_rows);
    different = 0;
    for (std::size_t r = 0; r != mixed.size(); ++r) {
        different += same(mixed[r], losses.view().at(b.rows()[r])) ? 0U : 1U;
    }
    CHECK(different == 0);
}

template <class Real, std::size_t R>
void check_backward(const batch<Real, R>& b) {
    auto x = b.logits(), u = b.logits();
    auto p = b.place(), l = b.place(), g = b.place(), h = b.place();
    smx::softmax(x.view(), p.view(), b.axis(), 0.7);
    smx::log_softmax(x.view(), l.view(), b.axis(), 0.7);
    auto t = b.template place_of_rows<double>();
    for (std::size_t r = 0; r != b.rows().size(); ++r) {
        t.view().at(b.rows()[r]) = b.temperatures()[r] + 0.25;
    }
    smx::softmax_backward(p.view(), u.view(), g.view(), b.axis(), t.view());
    smx::log_softmax_backward(l.view(), u.view(), h.view(), b.axis(), 0.7);
    std::vector<Real> gradient(b.classes());
    CHECK(b.different(g.view(), [&](std::size_t r) {
        smx::softmax_backward(b.row(p.view(), r), b.row(u.view(), r), gradient, b.temperatures()[r] + 0.25);
        return gradient;
    }) == 0);
    CHECK(b.different(h.view(), [&](std::size_t r) {
        smx::log_softmax_backward(b.row(l.view(), r), b.row(u.view(), r), gradient, 0.7);
        return gradient;
    }) == 0);
    CHECK((g.is_untouched_beside() && h.is_untouched_beside()));
    auto over = u;
    smx::log_softmax_backward(l.view(), over.view(), over.view(), b.axis(), 0.7);
    CHECK(b.different(over.view(), [&](std::size_t r) { return b.row(h.view(), r); }) == 0);
}

template <class Real, std::size_t R>
void check_divergences(const batch<Real, R>& b) {
    auto x = b.logits(), y = b.logits(), g = b.place();
    smx::distillation_options<Real> options{.temperature = 0.7, .reduce = smx::reduction::sum};
    smx::kl_divergence(x.view(), y.view(), g.view(), b.axis(), options);
    std::vector<Real> gradient(b.classes()), packed, teacher;
    CHECK(b.different(g.view(), [&](std::size_t r) {
        const auto row = b.row(x.view(), r), other = b.row(y.view(), r);
        packed.insert(packed.end(), row.begin(), row.end());
        teacher.insert(teacher.end(), other.begin(), other.end());
        smx::kl_divergence(row, other, gradient, options);
        return gradient;
    }) == 0);
    CHECK(g.is_untouched_beside());
    options.reduce = smx::reduction::mean;
    const Real mean = smx::kl_divergence(packed, teacher, {b.rows().size(), b.classes()}, options);
    CHECK(same(mean, smx::kl_divergence(x.view(), y.view(), b.axis(), options)));
    CHECK(same(mean, smx::kl_divergence(x.view(), y.view(), y.view(), b.axis(), options)));
}

template <class Real, std::size_t R>
void check_rank(std::mt19937_64& random) {
    for (std::size_t axis = 0; axis != R; ++axis) {
        for (const std::size_t classes : {1U, 2U, 5U, 8U, 15U, 16U, 17U, 21U, 33U, 64U, 70U, 130U, 300U}) {
            const bool slow = is_sanitized || std::is_same_v<Real, long double>;
            for (int repetition = slow && classes > 21 ? 3 : 0; repetition != 4; ++repetition) {
                CAPTURE(R, axis, classes, repetition);
                const batch<Real, R> b(axis, classes, random);
                check_forward(b);
                check_temperature_per_row(b);
                check_losses(b, random);
                check_backward(b);
                check_divergences(b);
            }
        }
    }
}

} // namespace

TEMPLATE_TEST_CASE(
    "all functions give each row of a view the bits that it has alone under every rank, axis and layout", "",
    float, double, long double) {
    std::mt19937_64 random(20260720);
    check_rank<TestType, 1>(random);
    check_rank<TestType, 2>(random);
    check_rank<TestType, 3>(random);
    check_rank<TestType, 4>(random);
}

namespace {

// Element (i, j) of 2 x 3 at 10 i + j, and backwards.
const std::vector<double> x = {1, 2, 4, 7, 7, 7, 7, 7, 7, 7, 0, 3, 3};
const strided_view<const double, 2> rows_of_three(x.data(), {2, 3}, {10, 1});
const strided_view<const double, 2> backwards(x.data() + 12, {2, 3}, {-10, -1});

std::vector<double> flat(const strided_view<double, 2>& view) {
    std::vector<double> all;
    test::for_each_place(view.extents(), [&](const indices<2>& place) { all.push_back(view.at(place)); });
    return all;
}

template <class... Rows>
std::vector<double> joined(const Rows&... rows) {
    std::vector<double> all;
    (all.insert(all.end(), rows.begin(), rows.end()), ...);
    return all;
}

} // namespace

TEST_CASE("an axis is counted from either end under any integer type") {
    std::vector<double> p(6);
    const strided_view<double, 2> out(p.data(), {2, 3}, {3, 1});
    const auto of_rows = joined(smx::softmax({1.0, 2.0, 4.0}, 2), smx::softmax({0.0, 3.0, 3.0}, 2));
    const auto columns =
        joined(smx::softmax({1.0, 0.0}, 2), smx::softmax({2.0, 3.0}, 2), smx::softmax({4.0, 3.0}, 2));
    const std::vector<double> of_columns = {columns[0], columns[2], columns[4],
                                            columns[1], columns[3], columns[5]};
    const auto check = [&](auto last, auto first) {
        smx::softmax(rows_of_three, out, last, 2);
        CHECK(p == of_rows);
        smx::softmax(rows_of_three, out, first, 2);
        CHECK(p == of_columns);
    };
    check(1, 0);
    check(-1, -2);
    check(1U, std::uint8_t{0});
    check(std::size_t{1}, 0ULL);
    check(std::int8_t{-1}, std::int64_t{-2});
    smx::softmax(rows_of_three, out); // the last one, T = 1
    CHECK(p == joined(smx::softmax({1.0, 2.0, 4.0}), smx::softmax({0.0, 3.0, 3.0})));
    smx::softmax(backwards, out, -1, 2);
    CHECK(p == joined(smx::softmax({3.0, 3.0, 0.0}, 2), smx::softmax({4.0, 2.0, 1.0}, 2)));
}

TEST_CASE("views take logits of any type and a stride of 0 under a temperature per row") {
    const std::vector<int> numbers = {1, 2, 4};
    std::vector<double> p(6, -77);
    const strided_view<double, 2> out(p.data(), {2, 3}, {1, 2});
    const std::vector<float> temperatures = {0.5, 4};
    const strided_view<const int, 2> twice(numbers.data(), {2, 3}, {0, 1});
    smx::softmax(twice, out, 1, temperatures);
    CHECK(flat(out) == joined(smx::softmax({1, 2, 4}, 0.5), smx::softmax({1, 2, 4}, 4)));
    // Rows of one number, which any stride describes.
    const strided_view<const int, 2> columns(numbers.data(), {3, 2}, {1, 0});
    std::vector<double> sums(3);
    smx::logsumexp(columns, sums, 1, 2);
    CHECK(sums == std::vector<double>{smx::logsumexp({1, 1}, 2), smx::logsumexp({2, 2}, 2),
                                      smx::logsumexp({4, 4}, 2)});
    // Wider results than logits: the wider arithmetic.
    const std::vector<float> single = {1, 2, 4};
    const strided_view<const float, 2> of_float(single.data(), {1, 3}, {3, 1});
    std::vector<double> q(3);
    smx::softmax(of_float, strided_view<double, 2>(q.data(), {1, 3}, {3, 1}), 1, 0.7);
    std::vector<double> alone(3);
    smx::softmax(single, alone, 0.7);
    CHECK(q == alone);
}

TEST_CASE("a view of one row has one result under every function") {
    const strided_view<const double, 1> row(x.data() + 2, {2}, {9}); // 4, 3
    double sum = 0, loss = 0;
    const strided_view<double, 0> there(&sum, {}, {}), loss_there(&loss, {}, {});
    smx::logsumexp(row, there, 0, 2);
    CHECK(sum == smx::logsumexp({4.0, 3.0}, 2));
    std::vector<double> g(2), alone(2);
    const strided_view<double, 1> gradient(g.data(), {2}, {1});
    const int target = 1;
    CHECK(smx::cross_entropy(row, strided_view<const int, 0>(&target, {}, {}), gradient, -1,
                             {.temperature = 2}) ==
          smx::cross_entropy(std::vector<double>{4, 3}, 1, alone, {.temperature = 2}));
    CHECK(g == alone);
    smx::cross_entropy_per_row(row, std::vector<int>{1}, loss_there, 0, {.temperature = 2});
    CHECK(loss == smx::cross_entropy({4.0, 3.0}, 1, {.temperature = 2}));
}

TEST_CASE("views without elements are nothing to do under every function") {
    std::vector<double> none(1, -77), results(2, -77);
    const strided_view<double, 3> no_rows(none.data(), {0, 3, 2}, {6, 2, 1}),
        no_classes(none.data(), {2, 0, 1}, {0, 1, 1});
    smx::softmax(no_rows, no_rows, 1, 2);
    smx::softmax(no_classes, no_classes, 1, 2);
    smx::logsumexp(no_rows, std::vector<double>(), 1, 2);
    smx::logsumexp(no_classes, results, 1, 2);
    CHECK(none[0] == -77);
    CHECK((results[0] == -INFINITY && results[1] == -INFINITY));
    CHECK(smx::cross_entropy(no_rows, std::vector<int>(), no_rows, 1) == 0);
    CHECK_THROWS_AS(smx::cross_entropy(no_classes, std::vector<int>{0, 0}, 1), std::invalid_argument);
}

namespace {

template <class... Arguments>
concept has_softmax = requires(Arguments&&... arguments) { smx::softmax(arguments...); };
template <class... Arguments>
concept has_cross_entropy = requires(Arguments&&... arguments) { smx::cross_entropy(arguments...); };

struct with_proxies : strided_view<double, 2> {
    using reference = std::vector<bool>::reference;
};
struct with_plain_access : strided_view<double, 2> {
    using reference = double&;
};
// A matrix with iterators is a range of all its elements, as it was before it had strides.
struct matrix_with_iterators : strided_view<double, 2> {
    double* begin() const { return data_handle(); }
    double* end() const { return data_handle() + 6; }
};
struct without_data : strided_view<double, 2> {
    double* data_handle() const = delete;
};

using matrix = strided_view<double, 2>;
using constant = strided_view<const double, 2>;
static_assert(smx::strided_view<matrix> && smx::strided_view<const constant&> &&
              smx::strided_view<with_plain_access>);
static_assert(!smx::strided_view<with_proxies> && !smx::strided_view<matrix_with_iterators> &&
              !smx::strided_view<without_data> && !smx::strided_view<std::vector<double>> &&
              !smx::strided_view<double*>);
static_assert(has_softmax<constant, matrix> && has_softmax<constant, matrix, int> &&
              has_softmax<constant, matrix, int, double> &&
              has_softmax<constant, matrix, int, std::vector<float>> &&
              has_softmax<constant, matrix, int, strided_view<float, 1>>);
static_assert(!has_softmax<matrix, constant>, "an output that cannot be written");
static_assert(!has_softmax<matrix, strided_view<int, 2>>, "probabilities as integers");
static_assert(!has_softmax<matrix, strided_view<double, 3>>, "another rank");
static_assert(!has_softmax<matrix, matrix, double>, "a temperature where the axis stands");
static_assert(!has_softmax<matrix, matrix, bool> && !has_softmax<matrix, matrix, char>);
static_assert(!has_softmax<matrix, matrix, int, strided_view<float, 2>>, "a temperature per element");
static_assert(!has_softmax<matrix, std::vector<double>&>, "a range for a view");
static_assert(!has_softmax<strided_view<double, 0>, strided_view<double, 0>>, "no axis");
static_assert(has_cross_entropy<matrix, std::vector<int>> && has_cross_entropy<matrix, matrix> &&
              has_cross_entropy<matrix, strided_view<const int, 1>, matrix, int>);
static_assert(!has_cross_entropy<matrix, strided_view<const int, 2>>, "an index per element");
static_assert(!has_cross_entropy<matrix, strided_view<double, 1>>, "a probability per row");
static_assert(!has_cross_entropy<matrix, std::vector<double>>, "probabilities in a range");

constexpr double probability_of_a_column() {
    const float logits[] = {1, 2, 1, 4};
    double p[4] = {};
    struct square {
        static constexpr std::size_t rank() { return 2; }
        constexpr std::size_t extent(std::size_t) const { return 2; }
        constexpr std::size_t stride(std::size_t r) const { return r == 0 ? 2 : 1; }
    };
    struct in : square {
        const float* data;
        constexpr const float* data_handle() const { return data; }
    };
    struct out : square {
        double* data;
        constexpr double* data_handle() const { return data; }
    };
    smx::softmax(in{{}, logits}, out{{}, p}, 0, 2);
    return p[0];
}
static_assert(probability_of_a_column() == 0.5);

} // namespace

#if defined(__cpp_lib_mdspan)
TEST_CASE("std::mdspan is a view under every layout of the standard library") {
    std::vector<float> logits(2 * 3 * 4), p(logits.size()), q(logits.size()), alone(3);
    for (std::size_t k = 0; k != logits.size(); ++k) {
        logits[k] = static_cast<float>((k * 7) % 11) / 2;
    }
    using extents = std::extents<int, 2, std::dynamic_extent, 4>;
    const std::mdspan<const float, extents> in(logits.data(), extents(3));
    const std::mdspan<float, extents, std::layout_left> left(p.data(), extents(3));
    const std::mdspan<float, extents, std::layout_stride> strided(q.data(),
                                                                  {extents(3), std::array{1, 2, 6}});
    smx::softmax(in, left, 1, 2);
    smx::log_softmax(in, strided, -2, 2);
    std::vector<float> sums(8);
    smx::logsumexp(in, std::mdspan(sums.data(), 2, 4), 1, 2);
    for (int i = 0; i != 2; ++i) {
        for (int j = 0; j != 4; ++j) {
            const std::array row = {in[std::array{i, 0, j}], in[std::array{i, 1, j}],
                                    in[std::array{i, 2, j}]};
            for (int c = 0; c != 3; ++c) {
                CHECK(left[std::array{i, c, j}] == smx::softmax(row, 2)[static_cast<std::size_t>(c)]);
                CHECK(strided[std::array{i, c, j}] == smx::log_softmax(row, 2)[static_cast<std::size_t>(c)]);
            }
            CHECK(sums[static_cast<std::size_t>(i * 4 + j)] == smx::logsumexp(row, 2));
        }
    }
    const std::vector<int> targets = {0, 2, 1, 0, 1, 1, 2, 0};
    CHECK(smx::cross_entropy(in, std::mdspan(targets.data(), 2, 4), left, 1, {.temperature = 2}) ==
          smx::cross_entropy(logits, targets, {2, 3, 4}, {.temperature = 2}));
    float sum = 0;
    const std::mdspan<float, std::extents<int>> one(&sum);
    smx::logsumexp(std::mdspan(logits.data(), 3), one, 0, 2);
    CHECK(sum == smx::logsumexp(std::span(logits).first(3), 2));
}
#endif
