// Every line of the synopsis as a user would write it: containers, arrays, views, iterators, element types,
// types of temperatures and targets, options; what comes back; and what has to be refused at compile time.

// Every standard header that the library may use comes first: after this, min and max are macros, as
// <windows.h> makes them.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <forward_list>
#include <functional>
#include <istream>
#include <iterator>
#include <limits>
#include <list>
#include <map>
#include <memory>
#include <numeric>
#include <ranges>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <valarray>
#include <vector>

#define min(a, b) the_library_must_not_use_this_macro(a, b)
#define max(a, b) the_library_must_not_use_this_macro(a, b)
#include <softmax.hpp>
#undef min
#undef max

#include "support/catch.hpp"

// The version and documented switches stay; nothing else may.
#if !defined(SMX_VERSION_MAJOR) || !defined(SMX_VERSION_MINOR) || !defined(SMX_VERSION_PATCH)
#error "the version macros are missing"
#endif
#if defined(SMX_ABI) || defined(SMX_ARITHMETIC) || defined(SMX_BASELINE) || defined(SMX_ERRORS) ||           \
    defined(SMX_EXPAND_AND_JOIN) || defined(SMX_JOIN) || defined(SMX_DEFAULT_VIOLATION_HANDLER) ||           \
    defined(SMX_VIOLATION_HANDLER) || defined(SMX_ASSERT) || defined(SMX_CHECK) || defined(SMX_CONCAT) ||    \
    defined(SMX_CONSTEXPR) || defined(SMX_EXCEPTIONS) || defined(SMX_HAS_EXCEPTIONS) ||                      \
    defined(SMX_INLINE) || defined(SMX_FORCE_INLINE) || defined(SMX_ALWAYS_INLINE) ||                        \
    defined(SMX_NOINLINE) || defined(SMX_LIKELY) || defined(SMX_UNLIKELY) || defined(SMX_NAMESPACE) ||       \
    defined(SMX_NAMESPACE_BEGIN) || defined(SMX_NAMESPACE_END) || defined(SMX_STRINGIFY) ||                  \
    defined(SMX_THROW) || defined(SMX_UNREACHABLE) || defined(SMX_VERSION) || defined(ABI) ||                \
    defined(BASELINE) || defined(JOIN) || defined(ERRORS) || defined(ARITHMETIC)
#error "a macro leaks"
#endif

// clang 14 cannot compile the views of libstdc++.
#if !(defined(__clang__) && __clang_major__ < 16 && defined(__GLIBCXX__))
#define TEST_VIEWS
#endif

namespace {

// The row of most tests, its exact softmax at T = 2 (exp(x / 2) / sum), its log_softmax and its logsumexp.
const std::vector<double> x = {1, 2, 4};
constexpr std::array<double, 3> p2 = {0.14024438316608848, 0.23122389762214904, 0.6285317192117624};
constexpr std::array<double, 3> l2 = {-1.9643687841079447, -1.4643687841079447, -0.4643687841079447};
constexpr double lse2 = 2.4643687841079447;

bool close(double a, double b, double tolerance = 1e-14) { return std::abs(a - b) <= tolerance; }

template <class Range, class Expected>
bool same(const Range& results, const Expected& expected, double tolerance = 1e-14) {
    auto e = std::begin(expected);
    auto r = std::begin(results);
    for (; r != std::end(results) && e != std::end(expected); ++r, ++e) {
        if (!close(static_cast<double>(*r), static_cast<double>(*e), tolerance)) {
            return false;
        }
    }
    return r == std::end(results) && e == std::end(expected);
}

constexpr double float_tolerance = 2e-7;

// A forward iterator with what std::forward_iterator promises and nothing more: no ->, no --, no order.
template <class T>
class forward_archetype {
public:
    using value_type = std::remove_const_t<T>;
    using difference_type = std::ptrdiff_t;
    using iterator_concept = std::forward_iterator_tag;

    forward_archetype() = default;
    explicit forward_archetype(T* at) : at_(at) {}
    T& operator*() const { return *at_; }
    forward_archetype& operator++() {
        ++at_;
        return *this;
    }
    forward_archetype operator++(int) {
        forward_archetype old = *this;
        ++at_;
        return old;
    }
    bool operator==(const forward_archetype& other) const { return at_ == other.at_; }
    // What a template must not take by accident.
    template <class U>
    void operator,(const U&) const = delete;
    void operator&() const = delete;
    T* base() const { return at_; }

private:
    T* at_ = nullptr;
};

// A sentinel that is not an iterator and compares with nothing but its iterator.
template <class T>
class sentinel_archetype {
public:
    sentinel_archetype() = default;
    explicit sentinel_archetype(T* end) : end_(end) {}
    friend bool operator==(const forward_archetype<T>& at, const sentinel_archetype& end) {
        return at.base() == end.end_;
    }

private:
    T* end_ = nullptr;
};

static_assert(std::forward_iterator<forward_archetype<const double>>);
static_assert(!std::bidirectional_iterator<forward_archetype<const double>>);
static_assert(std::sentinel_for<sentinel_archetype<const double>, forward_archetype<const double>>);

// A range with no more than begin and end.
template <class T>
class range_archetype {
public:
    range_archetype(T* data, std::size_t size) : data_(data), size_(size) {}
    forward_archetype<T> begin() const { return forward_archetype<T>(data_); }
    sentinel_archetype<T> end() const { return sentinel_archetype<T>(data_ + size_); }

private:
    T* data_;
    std::size_t size_;
};

// An output iterator with what std::output_iterator promises: written once at each place, never read or
// compared.
class output_archetype {
public:
    using difference_type = std::ptrdiff_t;
    class place {
    public:
        explicit place(std::vector<double>& to) : to_(&to) {}
        const place& operator=(double value) const {
            to_->push_back(value);
            return *this;
        }

    private:
        std::vector<double>* to_;
    };
    explicit output_archetype(std::vector<double>& to) : to_(&to) {}
    place operator*() const { return place(*to_); }
    output_archetype& operator++() { return *this; }
    output_archetype operator++(int) { return *this; }

private:
    std::vector<double>* to_;
};

static_assert(std::output_iterator<output_archetype, double>);

// Elements behind a proxy: milli-units in an integer.
class milli_iterator {
public:
    class proxy {
    public:
        explicit proxy(long* at) : at_(at) {}
        operator double() const { return static_cast<double>(*at_) / 1000; }
        const proxy& operator=(double value) const {
            *at_ = std::lround(value * 1000);
            return *this;
        }

    private:
        long* at_;
    };
    using value_type = double;
    using difference_type = std::ptrdiff_t;
    using iterator_concept = std::forward_iterator_tag;

    milli_iterator() = default;
    explicit milli_iterator(long* at) : at_(at) {}
    proxy operator*() const { return proxy(at_); }
    milli_iterator& operator++() {
        ++at_;
        return *this;
    }
    milli_iterator operator++(int) { return milli_iterator(at_++); }
    bool operator==(const milli_iterator& other) const { return at_ == other.at_; }

private:
    long* at_ = nullptr;
};

struct milli_range {
    std::vector<long>* values;
    milli_iterator begin() const { return milli_iterator(values->data()); }
    milli_iterator end() const { return milli_iterator(values->data() + values->size()); }
};

// What compiles.
template <class... Arguments>
concept softmax_takes =
    requires(Arguments&&... arguments) { smx::softmax(std::forward<Arguments>(arguments)...); };
template <class... Arguments>
concept log_softmax_takes =
    requires(Arguments&&... arguments) { smx::log_softmax(std::forward<Arguments>(arguments)...); };
template <class... Arguments>
concept logsumexp_takes =
    requires(Arguments&&... arguments) { smx::logsumexp(std::forward<Arguments>(arguments)...); };
template <class... Arguments>
concept cross_entropy_takes =
    requires(Arguments&&... arguments) { smx::cross_entropy(std::forward<Arguments>(arguments)...); };

using doubles = std::vector<double>&;
using floats = std::vector<float>&;

static_assert(softmax_takes<doubles, doubles> && softmax_takes<doubles, doubles, int>);
static_assert(!softmax_takes<std::vector<bool>&, doubles> && !softmax_takes<doubles, std::vector<bool>&>);
static_assert(!softmax_takes<std::span<bool>, doubles> && !softmax_takes<std::array<bool, 3>&>);
static_assert(!softmax_takes<std::string&, doubles> && !softmax_takes<const char (&)[4], doubles>,
              "text is no number");
static_assert(!softmax_takes<std::vector<std::string>&, doubles> && !softmax_takes<std::vector<void*>&>);
static_assert(!softmax_takes<doubles, const std::vector<double>&>, "the output is written");
static_assert(!softmax_takes<doubles, std::span<const double>>);
static_assert(!softmax_takes<doubles, doubles, std::string> && !softmax_takes<doubles, doubles, const char*>);
static_assert(!softmax_takes<doubles, doubles, doubles>, "one T per row needs a shape");
static_assert(!softmax_takes<double (&)[3], double (&)[3], double (&)[3]>, "arrays are no iterators");
static_assert(!softmax_takes<int*, int*, int*> && softmax_takes<int*, int*, double*>,
              "results are no integers");
static_assert(softmax_takes<double (&)[3], double (&)[3], int> &&
              softmax_takes<double (&)[3], double (&)[3], smx::shape>);
static_assert(!softmax_takes<double> && !softmax_takes<> && !softmax_takes<double, double>);
static_assert(!softmax_takes<std::istream_iterator<double>, std::istream_iterator<double>, double*>,
              "one pass is not enough");
static_assert(!softmax_takes<std::vector<std::vector<double>>&, doubles>);
static_assert(!softmax_takes<std::map<int, double>&, doubles>);
static_assert(!log_softmax_takes<std::vector<bool>&, doubles> &&
              !log_softmax_takes<doubles, std::span<const double>>);
static_assert(!logsumexp_takes<std::vector<bool>&> && !logsumexp_takes<double> &&
              !logsumexp_takes<std::vector<void*>&>);
static_assert(!logsumexp_takes<doubles, std::string>);
static_assert(cross_entropy_takes<doubles, int> && cross_entropy_takes<doubles, doubles>);
static_assert(!cross_entropy_takes<doubles> && !cross_entropy_takes<doubles, double>,
              "a target is no floating point");
static_assert(!cross_entropy_takes<std::vector<bool>&, int> && !cross_entropy_takes<doubles, std::string>);
static_assert(!cross_entropy_takes<doubles, int, std::span<const double>>, "the gradient is written");
static_assert(!cross_entropy_takes<doubles, std::vector<std::string>&, smx::shape>);

template <class... Arguments>
concept softmax_backward_takes =
    requires(Arguments&&... arguments) { smx::softmax_backward(std::forward<Arguments>(arguments)...); };
template <class... Arguments>
concept kl_divergence_takes =
    requires(Arguments&&... arguments) { smx::kl_divergence(std::forward<Arguments>(arguments)...); };

static_assert(softmax_backward_takes<doubles, doubles, doubles> &&
              softmax_backward_takes<doubles, doubles, doubles, int> &&
              softmax_backward_takes<doubles, doubles, doubles, smx::shape, doubles>);
static_assert(softmax_backward_takes<double (&)[3], double (&)[3], double (&)[3], int>);
static_assert(!softmax_backward_takes<double (&)[3], double (&)[3], double (&)[3], double (&)[3]>,
              "arrays are no iterators");
static_assert(softmax_backward_takes<double*, double*, const int*, double*> &&
              !softmax_backward_takes<double*, double*, double*, int*>);
static_assert(!softmax_backward_takes<doubles, doubles> &&
              !softmax_backward_takes<doubles, doubles, const std::vector<double>&>);
static_assert(!softmax_backward_takes<doubles, std::string&, doubles> &&
              !softmax_backward_takes<doubles, doubles, doubles, doubles>);
static_assert(kl_divergence_takes<doubles, floats> && kl_divergence_takes<doubles, doubles, floats>);
static_assert(kl_divergence_takes<doubles, doubles, smx::shape> &&
              kl_divergence_takes<doubles, doubles, doubles, smx::shape, smx::distillation_options<double>>);
static_assert(!kl_divergence_takes<doubles> && !kl_divergence_takes<doubles, int> &&
              !kl_divergence_takes<doubles, doubles, std::span<const double>>);

// What comes back.
template <class... Arguments>
using softmax_result = decltype(smx::softmax(std::declval<Arguments>()...));
template <class... Arguments>
using log_softmax_result = decltype(smx::log_softmax(std::declval<Arguments>()...));
template <class... Arguments>
using logsumexp_result = decltype(smx::logsumexp(std::declval<Arguments>()...));
template <class... Arguments>
using cross_entropy_result = decltype(smx::cross_entropy(std::declval<Arguments>()...));

static_assert(std::is_void_v<softmax_result<doubles, doubles>> &&
              std::is_void_v<log_softmax_result<doubles, doubles>>);
static_assert(std::is_void_v<softmax_result<doubles, doubles, smx::shape>>);
static_assert(std::is_void_v<logsumexp_result<doubles, doubles, smx::shape>>);
static_assert(std::same_as<softmax_result<doubles>, std::vector<double>>);
static_assert(std::same_as<softmax_result<floats, double>, std::vector<float>>);
static_assert(std::same_as<softmax_result<std::vector<long double>>, std::vector<long double>>);
static_assert(std::same_as<softmax_result<std::vector<int>>, std::vector<double>>);
static_assert(std::same_as<softmax_result<std::list<float>>, std::vector<float>>);
static_assert(std::same_as<softmax_result<std::span<const float>>, std::vector<float>>);
static_assert(std::same_as<softmax_result<std::valarray<double>&>, std::vector<double>>);
static_assert(std::same_as<softmax_result<std::array<float, 3>>, std::array<float, 3>>);
static_assert(std::same_as<softmax_result<const std::array<double, 3>&, int>, std::array<double, 3>>);
static_assert(std::same_as<softmax_result<std::array<int, 4>>, std::array<double, 4>>);
static_assert(std::same_as<softmax_result<const float (&)[5]>, std::array<float, 5>>);
static_assert(std::same_as<softmax_result<double (&)[5], double>, std::array<double, 5>>);
static_assert(std::same_as<log_softmax_result<floats>, std::vector<float>>);
static_assert(std::same_as<log_softmax_result<std::array<long double, 2>>, std::array<long double, 2>>);
static_assert(std::same_as<logsumexp_result<floats, double>, float>);
static_assert(std::same_as<logsumexp_result<doubles, float>, double>);
static_assert(std::same_as<logsumexp_result<std::list<int>>, double>);
static_assert(std::same_as<logsumexp_result<std::vector<long double>>, long double>);
static_assert(std::same_as<softmax_result<const double*, const double*, float*>, float*>);
static_assert(std::same_as<cross_entropy_result<floats, int>, float>);
static_assert(std::same_as<cross_entropy_result<doubles, std::uint8_t>, double>);
static_assert(std::same_as<cross_entropy_result<std::vector<int>&, int>, double>);
static_assert(std::same_as<cross_entropy_result<std::vector<long double>&, int>, long double>);
static_assert(std::same_as<cross_entropy_result<floats, doubles>, double>, "the wider of the two");
static_assert(std::same_as<cross_entropy_result<floats, floats>, float>);
static_assert(std::same_as<cross_entropy_result<floats, doubles, smx::shape>, double>);
static_assert(std::same_as<cross_entropy_result<floats, std::vector<int>&, smx::shape>, float>);
static_assert(std::same_as<decltype(smx::cross_entropy_options<float>{}.temperature), double>);
static_assert(std::same_as<decltype(smx::cross_entropy_options<double>{}.label_smoothing), double>);
static_assert(std::same_as<decltype(smx::cross_entropy_options<long double>{}.z_loss), long double>);
static_assert(
    std::same_as<decltype(smx::cross_entropy_options<float>{}.class_weights), std::span<const float>>);
static_assert(
    std::same_as<decltype(smx::kl_divergence(std::declval<floats>(), std::declval<floats>())), float>);
static_assert(
    std::same_as<decltype(smx::kl_divergence(std::declval<floats>(), std::declval<doubles>())), double>);
static_assert(std::same_as<decltype(smx::distillation_options<float>{}.temperature), double>);
static_assert(std::same_as<decltype(smx::distillation_options<long double>{}.temperature), long double>);
static_assert(std::same_as<decltype(smx::shape{}.outer), std::size_t>);
static_assert(smx::shape{}.outer == 1 && smx::shape{}.classes == 0 && smx::shape{}.inner == 1);
static_assert(smx::cross_entropy_options<float>{}.temperature == 1 &&
              smx::cross_entropy_options<float>{}.reduce == smx::reduction::mean);

} // namespace

TEST_CASE("softmax and log_softmax write to a range under every container") {
    const auto check = [](auto in, auto out) {
        smx::softmax(in, out, 2);
        CHECK(same(out, p2));
        smx::log_softmax(in, out, 2);
        CHECK(same(out, l2));
        smx::softmax(std::as_const(in), out, 2.0F);
        CHECK(same(out, p2));
        CHECK(close(smx::logsumexp(in, 2), lse2));
        CHECK(close(smx::logsumexp(std::as_const(in), 2), lse2));
        CHECK(same(smx::softmax(in, 2), p2));
        CHECK(same(smx::log_softmax(in, 2), l2));
        CHECK(close(smx::cross_entropy(in, 1, out, {.temperature = 2}), -l2[1]));
        CHECK(same(out, std::array{p2[0] / 2, (p2[1] - 1) / 2, p2[2] / 2}));
        CHECK(close(smx::cross_entropy(in, 1, {.temperature = 2}), -l2[1]));
    };
    check(x, std::vector<double>(3));
    check(std::array<double, 3>{1, 2, 4}, std::array<double, 3>{});
    check(std::valarray<double>{1, 2, 4}, std::valarray<double>(3));
    check(std::list<double>{1, 2, 4}, std::list<double>(3));
    check(std::forward_list<double>{1, 2, 4}, std::forward_list<double>(3));
    check(std::deque<double>{1, 2, 4}, std::deque<double>(3));
    check(std::list<double>{1, 2, 4}, std::vector<double>(3));
    check(x, std::forward_list<double>(3));
    check(std::vector<int>{1, 2, 4}, std::vector<double>(3));
    check(std::list<short>{1, 2, 4}, std::deque<double>(3));
    check(std::array<unsigned, 3>{1, 2, 4}, std::array<double, 3>{});
    check(std::set<double>{1, 2, 4}, std::vector<double>(3));
}

TEST_CASE("softmax takes C arrays, spans and rvalues under a temperature") {
    const double in[] = {1, 2, 4};
    double out[3] = {};
    smx::softmax(in, out, 2);
    CHECK(same(out, p2));
    smx::log_softmax(in, std::span<double>(out), 2);
    CHECK(same(out, l2));
    std::vector<double> row = x, longer(5, -77.0);
    smx::softmax(std::span(row), std::span(row), 2);
    CHECK(same(row, p2));
    smx::softmax(std::span<const double, 3>(in), std::span<double, 3>(out), 2);
    CHECK(same(out, p2));
    smx::softmax(std::span(x).first(3), std::span(longer).subspan(1, 3), 2);
    CHECK(same(std::span(longer).subspan(1, 3), p2));
    CHECK((longer[0] == -77.0 && longer[4] == -77.0));
    CHECK(same(smx::softmax(in, 2), p2));
    CHECK(same(smx::softmax({1.0, 2.0, 4.0}, 2), p2));
    CHECK(same(smx::softmax({1, 2, 4}, 2), p2));
    CHECK(same(smx::log_softmax({1.0, 2.0, 4.0}, 2), l2));
    CHECK(close(smx::logsumexp({1.0, 2.0, 4.0}, 2), lse2));
    CHECK(close(smx::logsumexp(in, 2), lse2));
    CHECK(close(smx::cross_entropy({1.0, 2.0, 4.0}, 1, {.temperature = 2}), -l2[1]));
    CHECK(close(smx::cross_entropy(in, 1u, out, {.temperature = 2}), -l2[1]));
    CHECK(same(smx::softmax(std::vector<double>{1, 2, 4}, 2), p2));
    // The default is 1.
    CHECK(same(smx::softmax({0.5, 1.0, 2.0}), p2));
    CHECK(same(smx::log_softmax({0.5, 1.0, 2.0}), l2));
    CHECK(close(smx::logsumexp({0.5, 1.0, 2.0}), lse2));
    CHECK(close(smx::cross_entropy({0.5, 1.0, 2.0}, 1), -l2[1]));
    smx::softmax(std::array{0.5, 1.0, 2.0}, out);
    CHECK(same(out, p2));
}

TEST_CASE("softmax and log_softmax return the end of the output under iterators") {
    const std::list<double> in(x.begin(), x.end());
    std::vector<double> out(4, -77.0), appended;
    CHECK(smx::softmax(in.begin(), in.end(), out.begin(), 2) == out.begin() + 3);
    CHECK(same(std::span(out).first(3), p2));
    CHECK(out[3] == -77.0);
    CHECK(smx::log_softmax(x.begin(), x.end(), out.begin() + 1, 2) == out.end());
    CHECK(same(std::span(out).subspan(1), l2));
    std::back_insert_iterator<std::vector<double>> end =
        smx::softmax(x.begin(), x.end(), std::back_inserter(appended), 2);
    *end = 5;
    CHECK(same(appended, std::array{p2[0], p2[1], p2[2], 5.0}));
    CHECK(smx::softmax(x.data(), x.data() + 3, out.data(), 2) == out.data() + 3);
    CHECK(same(std::span(out).first(3), p2));
    CHECK(smx::softmax(x.begin(), x.begin(), out.begin(), 2) == out.begin());
    std::list<double> list = in;
    CHECK(smx::softmax(list.begin(), list.end(), list.begin(), 2) == list.end());
    CHECK(same(list, p2));
    std::vector<double> through;
    smx::softmax(std::counted_iterator(in.begin(), 3), std::default_sentinel, std::back_inserter(through), 2);
    CHECK(same(through, p2));
    std::vector<double> backwards(3);
    smx::softmax(x.rbegin(), x.rend(), backwards.rbegin(), 2);
    CHECK(same(backwards, p2));
    CHECK(close(smx::logsumexp(in.begin(), in.end(), 2), lse2));
    CHECK(close(smx::logsumexp(x.data(), x.data() + 3, 2), lse2));
    CHECK(close(smx::cross_entropy(in.begin(), in.end(), 1, {.temperature = 2}), -l2[1]));
    CHECK(close(smx::cross_entropy(in.begin(), in.end(), 1, out.begin(), {.temperature = 2}), -l2[1]));
    CHECK(same(std::span(out).first(3), std::array{p2[0] / 2, (p2[1] - 1) / 2, p2[2] / 2}));
    std::vector<double> gradient;
    smx::cross_entropy(in.begin(), in.end(), 1, std::back_inserter(gradient));
    CHECK(gradient.size() == 3);
    // The default is 1.
    smx::softmax(x.begin(), x.end(), out.begin());
    CHECK(same(std::span(out).first(3), smx::softmax(x, 1)));
    CHECK(smx::logsumexp(x.begin(), x.end()) == smx::logsumexp(x, 1));
    CHECK(smx::cross_entropy(x.begin(), x.end(), 1) == smx::cross_entropy(x, 1));
}

TEST_CASE("softmax uses only what the concepts promise under archetypes") {
    const range_archetype<const double> in(x.data(), x.size());
    std::vector<double> values(3), appended;
    const range_archetype<double> out(values.data(), values.size());
    smx::softmax(in, out, 2);
    CHECK(same(values, p2));
    smx::log_softmax(in, out, 2);
    CHECK(same(values, l2));
    CHECK(same(smx::softmax(in, 2), p2));
    CHECK(close(smx::logsumexp(in, 2), lse2));
    CHECK(close(smx::cross_entropy(in, 1, out, {.temperature = 2}), -l2[1]));
    smx::softmax(in.begin(), in.end(), output_archetype(appended), 2);
    CHECK(same(appended, p2));
    appended.clear();
    smx::log_softmax(in.begin(), in.end(), output_archetype(appended), 2);
    CHECK(same(appended, l2));
    appended.clear();
    CHECK(close(smx::cross_entropy(in.begin(), in.end(), 1, output_archetype(appended), {.temperature = 2}),
                -l2[1]));
    CHECK(same(appended, std::array{p2[0] / 2, (p2[1] - 1) / 2, p2[2] / 2}));
    CHECK(close(smx::logsumexp(in.begin(), in.end(), 2), lse2));
    std::vector<double> q = {0.25, 0.5, 0.25};
    const range_archetype<const double> target(q.data(), q.size());
    const smx::cross_entropy_options<double> options{.temperature = 2};
    CHECK(close(smx::cross_entropy(in, target, options), -(l2[0] + 2 * l2[1] + l2[2]) / 4));
}

TEST_CASE("softmax reads and writes through proxies under a temperature") {
    std::vector<long> in = {1000, 2000, 4000}, out = {0, 0, 0};
    smx::softmax(milli_range{&in}, milli_range{&out}, 2);
    CHECK(out == std::vector<long>{140, 231, 629});
    CHECK(close(smx::logsumexp(milli_range{&in}, 2), lse2));
    smx::softmax(milli_range{&in}, milli_range{&in}, 2);
    CHECK(in == out);
}

#ifdef TEST_VIEWS
TEST_CASE("softmax takes subranges and views under a temperature") {
    const std::vector<double> with_gaps = {1, -1, 2, -1, 4};
    std::list<double> list = {9, 1, 2, 4, 9};
    std::vector<double> longer(5, -77.0);
    smx::softmax(std::ranges::subrange(std::next(list.begin()), std::prev(list.end())),
                 std::ranges::subrange(longer.begin() + 2, longer.end()), 2);
    CHECK(same(std::span(longer).subspan(2), p2));
    CHECK((longer[0] == -77.0 && longer[1] == -77.0));
    const auto positive = std::views::filter([](double v) { return v > 0; });
    std::vector<double> out(3);
    std::vector<double> copy = with_gaps;
    smx::softmax(copy | positive, out, 2); // a filter has no const begin
    CHECK(same(out, p2));
    auto filtered = copy | positive;
    CHECK(same(smx::softmax(filtered, 2), p2));
    CHECK(same(smx::softmax(std::views::iota(1, 3) | std::views::transform([](int v) { return v * 1.0; }), 2),
               smx::softmax({1.0, 2.0}, 2)));
    smx::softmax(x | std::views::reverse, out | std::views::reverse, 2);
    CHECK(same(out, p2));
    smx::softmax(with_gaps | std::views::take(3), out, 2);
    CHECK(same(out, smx::softmax({1.0, -1.0, 2.0}, 2)));
    struct item {
        const char* name;
        float score;
    };
    std::vector<item> items = {{"a", 1}, {"b", 2}, {"c", 4}};
    smx::softmax(items | std::views::transform(&item::score), items | std::views::transform(&item::score), 2);
    CHECK(same(items | std::views::transform(&item::score), p2, float_tolerance));
    CHECK(close(smx::logsumexp(x | std::views::drop(0) | std::views::common, 2), lse2));
    CHECK(close(smx::cross_entropy(copy | positive, 1, {.temperature = 2}), -l2[1]));
}
#endif

TEST_CASE("softmax takes any arithmetic type as temperature under every form") {
    std::vector<double> out(3);
    const auto check = [&](auto t) {
        out.assign(3, -77.0);
        smx::softmax(x, out, t);
        CHECK(same(out, p2));
        CHECK(same(smx::log_softmax(x, t), l2));
        CHECK(close(smx::logsumexp(x, t), lse2));
        smx::softmax(x.begin(), x.end(), out.begin(), t);
        CHECK(same(out, p2));
        smx::softmax(x, out, smx::shape{1, 3, 1}, t);
        CHECK(same(out, p2));
        CHECK(same(smx::softmax(std::vector<float>{1, 2, 4}, t), p2, float_tolerance));
        CHECK(same(smx::softmax(std::vector<long double>{1, 2, 4}, t), p2));
        CHECK(same(smx::softmax({1.0, 2.0, 4.0}, t), p2));
    };
    check(2);
    check(2U);
    check(2.0F);
    check(2.0);
    check(2.0L);
    check(static_cast<short>(2));
    check(static_cast<unsigned char>(2));
    check(std::int64_t(2));
    check(std::size_t(2));
    const double lvalue = 2;
    smx::softmax(x, out, lvalue);
    CHECK(same(out, p2));
    smx::softmax(x, out, smx::shape{1, 3, 1}, lvalue);
    CHECK(same(out, p2));
}

TEST_CASE("softmax, log_softmax and logsumexp take batches under every shape") {
    // outer 2, classes 3, inner 2: rows (o, i) in the columns.
    const std::vector<double> b = {1, 0, 2, 5, 4, 0, 3, 1, 3, 2, 3, 4};
    const smx::shape shape{2, 3, 2};
    const std::vector<std::vector<double>> rows = {{1, 2, 4}, {0, 5, 0}, {3, 3, 3}, {1, 2, 4}};
    std::vector<double> p(12), l(12), s(4);
    const auto check = [&](std::array<double, 4> t) {
        for (std::size_t o = 0; o != 2; ++o) {
            for (std::size_t i = 0; i != 2; ++i) {
                const std::size_t row = o * 2 + i;
                const auto expected_p = smx::softmax(rows[row], t[row]),
                           expected_l = smx::log_softmax(rows[row], t[row]);
                for (std::size_t c = 0; c != 3; ++c) {
                    CAPTURE(o, i, c);
                    CHECK(p[(o * 3 + c) * 2 + i] == expected_p[c]);
                    CHECK(l[(o * 3 + c) * 2 + i] == expected_l[c]);
                }
                CHECK(s[row] == smx::logsumexp(rows[row], t[row]));
            }
        }
    };
    const auto run = [&](auto&& t) {
        p.assign(12, -77.0);
        l = p;
        s.assign(4, -77.0);
        smx::softmax(b, p, shape, t);
        smx::log_softmax(b, l, shape, t);
        smx::logsumexp(b, s, shape, t);
    };
    run(2);
    check({2, 2, 2, 2});
    run(0.5F);
    check({0.5, 0.5, 0.5, 0.5});
    run(std::vector<float>{0.5, 2, 3, 4});
    check({0.5, 2, 3, 4});
    run(std::array<int, 4>{1, 2, 3, 4});
    check({1, 2, 3, 4});
    run(std::list<double>{0.5, 2, 3, 4});
    check({0.5, 2, 3, 4});
    const double c_array[] = {0.5, 2, 3, 4};
    run(c_array);
    check({0.5, 2, 3, 4});
    const std::vector<double> fixed = {4, 3, 2, 1};
    run(fixed);
    check({4, 3, 2, 1});
    run(std::span(fixed));
    check({4, 3, 2, 1});
    // As written in the synopsis.
    smx::softmax(b, p, shape);
    smx::log_softmax(b, l, shape);
    smx::logsumexp(b, s, shape);
    check({1, 1, 1, 1});
    smx::softmax(b, p, {2, 3, 2}, 2);
    smx::log_softmax(b, l, {2, 3, 2}, 2);
    smx::logsumexp(b, s, {2, 3, 2}, 2);
    check({2, 2, 2, 2});
    smx::softmax(b, p, {.outer = 2, .classes = 3, .inner = 2}, fixed);
    smx::log_softmax(b, l, {.outer = 2, .classes = 3, .inner = 2}, fixed);
    smx::logsumexp(b, s, {.outer = 2, .classes = 3, .inner = 2}, fixed);
    check({4, 3, 2, 1});
    // inner is 1 where it is left out.
    std::vector<double> q(12);
    smx::softmax(b, q, {4, 3}, 2);
    CHECK(same(std::span(q).first(3), smx::softmax(std::span(b).first(3), 2)));
    CHECK(same(std::span(q).last(3), smx::softmax(std::span(b).last(3), 2)));
    smx::softmax(std::span(b), std::span(q), {4, 3}, 2);
    double in_array[4] = {1, 2, 1, 2}, out_array[4];
    smx::softmax(in_array, out_array, {2, 2}, 2);
    CHECK(same(std::span(out_array).last(2), smx::softmax({1.0, 2.0}, 2)));
    // No rows at all.
    std::vector<double> none;
    smx::softmax(none, none, {0, 3});
    smx::logsumexp(none, none, {0, 3});
    smx::softmax(none, none, {2, 0});
    std::vector<double> of_empty(2);
    smx::logsumexp(none, of_empty, {2, 0}, 2);
    CHECK((of_empty[0] == -std::numeric_limits<double>::infinity() && of_empty[1] == of_empty[0]));
}

TEST_CASE("softmax mixes element types under the wider arithmetic") {
    const std::vector<float> f = {0.1F, 0.7F, 1.3F};
    const std::vector<double> as_double(f.begin(), f.end());
    std::vector<double> wide(3);
    smx::softmax(f, wide, 2);
    CHECK(same(wide, smx::softmax(as_double, 2), 4e-16));
    smx::log_softmax(f, wide, 2);
    CHECK(same(wide, smx::log_softmax(as_double, 2), 4e-16));
    std::vector<float> narrow(3);
    smx::softmax(x, narrow, 2);
    CHECK(same(narrow,
               std::array{static_cast<float>(p2[0]), static_cast<float>(p2[1]), static_cast<float>(p2[2])},
               0));
    smx::softmax(std::list<double>{1, 2, 4}, narrow, 2);
    CHECK(same(narrow, p2, float_tolerance));
    narrow.assign(3, -77.0F);
    CHECK(smx::softmax(x.begin(), x.end(), narrow.begin(), 2) == narrow.end());
    CHECK(same(narrow, p2, float_tolerance));
    std::vector<long double> widest(3);
    smx::softmax(x, widest, 2);
    CHECK(same(widest, p2));
    smx::softmax(std::vector<int>{1, 2, 4}, narrow, 2);
    CHECK(same(narrow, p2, float_tolerance));
    smx::softmax(std::vector<std::int8_t>{-1, 0, 2}, wide, 2);
    CHECK(same(wide, p2));
    smx::softmax(std::vector<std::uint64_t>{1, 2, 4}, wide, 2);
    CHECK(same(wide, p2));
    smx::softmax(f, wide, {1, 3}, 2);
    CHECK(same(wide, smx::softmax(as_double, 2), 4e-16));
    smx::softmax(f.begin(), f.end(), wide.begin(), 2);
    CHECK(same(wide, smx::softmax(as_double, 2), 4e-16));
    CHECK(close(smx::cross_entropy(f, std::vector<double>{0, 1, 0},
                                   smx::cross_entropy_options<double>{.temperature = 2}),
                -smx::log_softmax(as_double, 2)[1], 4e-16));
    CHECK(close(smx::cross_entropy(std::vector<int>{1, 2, 4}, 1, wide, {.temperature = 2}), -l2[1]));
}

TEMPLATE_TEST_CASE("cross_entropy takes every integer as target under one row and batches", "", signed char,
                   unsigned char, short, unsigned short, int, unsigned, long, unsigned long, long long,
                   unsigned long long) {
    const auto target = static_cast<TestType>(1);
    std::vector<double> gradient(3);
    CHECK(close(smx::cross_entropy(x, target, {.temperature = 2}), -l2[1]));
    CHECK(close(smx::cross_entropy(x, target, gradient, {.temperature = 2}), -l2[1]));
    CHECK(close(gradient[1], (p2[1] - 1) / 2));
    CHECK(close(smx::cross_entropy(x.begin(), x.end(), target, {.temperature = 2}), -l2[1]));
    const std::vector<double> b = {1, 2, 4, 1, 2, 4};
    const std::vector<TestType> targets = {1, 2};
    CHECK(close(smx::cross_entropy(b, targets, {2, 3}, {.temperature = 2}), -(l2[1] + l2[2]) / 2));
    CHECK(close(smx::cross_entropy(b, std::list<TestType>(targets.begin(), targets.end()), {2, 3},
                                   {.temperature = 2}),
                -(l2[1] + l2[2]) / 2));
    // The largest value of the type marks what is ignored, where it fits the option.
    constexpr TestType last = std::numeric_limits<TestType>::max();
    if constexpr (std::in_range<std::int64_t>(last)) {
        const std::vector<TestType> with_ignored = {1, last};
        const smx::cross_entropy_options<double> ignoring{.temperature = 2,
                                                          .ignore_index = static_cast<std::int64_t>(last)};
        CHECK(close(smx::cross_entropy(b, with_ignored, {2, 3}, ignoring), -l2[1]));
        CHECK(smx::cross_entropy(x, last, ignoring) == 0);
    }
}

TEST_CASE("cross_entropy takes its options by designated initializers under every form") {
    const std::vector<double> w = {0.5, 2, 1.25};
    const std::vector<double> b = {1, 2, 4, 1, 2, 4};
    const std::vector<int> targets = {1, 2};
    const std::array<double, 3> q = {0.25, 0.5, 0.25};
    const std::vector<double> both_q = {0.25, 0.5, 0.25, 0, 1, 0};
    std::vector<double> g(3), gb(6);
    using options = smx::cross_entropy_options<double>;

    CHECK(close(smx::cross_entropy(x, 1), -smx::log_softmax(x)[1]));
    CHECK(close(smx::cross_entropy(x, 1u, {.temperature = 2}), -l2[1]));
    CHECK(close(smx::cross_entropy(x, 1, {.temperature = 2, .class_weights = w}), -2 * l2[1]));
    CHECK(close(smx::cross_entropy(x, 1, {.temperature = 2, .label_smoothing = 0.3}),
                -0.7 * l2[1] - 0.1 * (l2[0] + l2[1] + l2[2])));
    CHECK(close(smx::cross_entropy(x, 1, {.temperature = 2, .z_loss = 0.5}), -l2[1] + 0.5 * lse2 * lse2));
    CHECK(close(smx::cross_entropy(x, 1, {.temperature = 2, .reduce = smx::reduction::sum}), -l2[1]));
    CHECK(smx::cross_entropy(x, 1, g, {.temperature = 2, .ignore_index = 1}) == 0);
    CHECK(same(g, std::array{0.0, 0.0, 0.0}, 0));
    CHECK(close(smx::cross_entropy(x, 1, g), -smx::log_softmax(x)[1]));

    const double soft = -(l2[0] + 2 * l2[1] + l2[2]) / 4;
    CHECK(close(smx::cross_entropy(x, q),
                -(smx::log_softmax(x)[0] + 2 * smx::log_softmax(x)[1] + smx::log_softmax(x)[2]) / 4));
    CHECK(close(smx::cross_entropy(x, q, options{.temperature = 2}), soft));
    CHECK(close(smx::cross_entropy(x, q, g, options{.temperature = 2}), soft));
    CHECK(same(g, std::array{(p2[0] - 0.25) / 2, (p2[1] - 0.5) / 2, (p2[2] - 0.25) / 2}));
    CHECK(close(smx::cross_entropy(x, q, g), smx::cross_entropy(x, q)));

    const double mean = -(l2[1] + l2[2]) / 2;
    CHECK(close(smx::cross_entropy(b, targets, {2, 3}),
                -(smx::log_softmax(x)[1] + smx::log_softmax(x)[2]) / 2));
    CHECK(close(smx::cross_entropy(b, targets, {2, 3}, {.temperature = 2}), mean));
    CHECK(close(smx::cross_entropy(b, targets, {.outer = 2, .classes = 3}, {.temperature = 2}), mean));
    CHECK(close(smx::cross_entropy(b, targets, gb, {2, 3}, {.temperature = 2}), mean));
    CHECK(close(gb[1], (p2[1] - 1) / 4));
    CHECK(close(smx::cross_entropy(b, targets, gb, {2, 3}, {.temperature = 2, .reduce = smx::reduction::sum}),
                2 * mean));
    CHECK(close(gb[1], (p2[1] - 1) / 2));
    CHECK(close(smx::cross_entropy(b, targets, gb, {2, 3}, {.temperature = 2, .class_weights = w}),
                -(2 * l2[1] + 1.25 * l2[2]) / 3.25));
    CHECK(close(gb[1], 2 * (p2[1] - 1) / 2 / 3.25));
    CHECK(close(smx::cross_entropy(b, both_q, smx::shape{2, 3}, options{.temperature = 2}),
                (soft - l2[1]) / 2));
    CHECK(close(smx::cross_entropy(b, both_q, gb, smx::shape{2, 3}, options{.temperature = 2}),
                (soft - l2[1]) / 2));
    CHECK(close(gb[0], (p2[0] - 0.25) / 4));
    CHECK(close(smx::cross_entropy(b, both_q, smx::shape{2, 3}),
                (smx::cross_entropy(x, q) + smx::cross_entropy(x, 1)) / 2));
    // inner = 2: two columns with the same row, targets at o * inner + i.
    const std::vector<double> columns = {1, 1, 2, 2, 4, 4};
    CHECK(close(smx::cross_entropy(columns, targets, gb, {1, 3, 2}, {.temperature = 2}), mean));
    CHECK(close(gb[2], (p2[1] - 1) / 4));
    CHECK(close(gb[3], p2[1] / 4));
    // Containers of other kinds as targets and weights.
    const std::array<double, 3> array_weights = {0.5, 2, 1.25};
    CHECK(close(smx::cross_entropy(x, 1, {.temperature = 2, .class_weights = array_weights}), -2 * l2[1]));
    CHECK(close(smx::cross_entropy(std::vector<float>{1, 2, 4}, std::list<float>{0.25F, 0.5F, 0.25F},
                                   smx::cross_entropy_options<float>{.temperature = 2}),
                soft, 1e-6));
    const int c_targets[] = {1, 2};
    CHECK(close(smx::cross_entropy(b, c_targets, {2, 3}, {.temperature = 2}), mean));
}

namespace as_a_user_writes_it {

using namespace smx;

TEST_CASE("softmax and its relatives can be called under using namespace smx") {
    std::vector<double> p(3), g(3);
    softmax(x, p, 2);
    CHECK(same(p, p2));
    log_softmax(x, p, 2);
    CHECK(same(p, l2));
    CHECK(close(logsumexp(x, 2), lse2));
    CHECK(close(cross_entropy(x, 1, g, {.temperature = 2}), -l2[1]));
    CHECK(softmax({1.0, 2.0}).size() == 2);
    const shape one_row{1, 3};
    softmax(x, p, one_row, 2);
    CHECK(same(p, p2));
    cross_entropy_options<double> options;
    options.temperature = 2;
    options.reduce = reduction::sum;
    CHECK(close(cross_entropy(x, 1, options), -l2[1]));
}

} // namespace as_a_user_writes_it

TEMPLATE_TEST_CASE("cross_entropy has the same loss under every kind of gradient", "", float, double) {
    std::vector<TestType> scores(77);
    for (std::size_t i = 0; i != scores.size(); ++i) {
        scores[i] = static_cast<TestType>((i * 29) % 77) / 8;
    }
    std::vector<TestType> gradient(77);
    std::list<TestType> scattered(77);
    std::vector<long double> wide(77);
    const smx::cross_entropy_options<TestType> options{.temperature = 0.7};
    const TestType loss = smx::cross_entropy(scores, 5, options);
    CHECK(smx::cross_entropy(scores, 5, gradient, options) == loss);
    CHECK(smx::cross_entropy(scores, 5, scattered, options) == loss);
    CHECK(smx::cross_entropy(scores, 5, wide, options) == loss);
    CHECK(smx::cross_entropy(scores.begin(), scores.end(), 5, std::back_inserter(gradient), options) == loss);
    CHECK(gradient.size() == 154);
    CHECK(*scattered.begin() > 0);
    CHECK(*std::next(scattered.begin(), 5) < 0);
    CHECK(std::abs(wide[5] - static_cast<long double>(gradient[5])) < 1e-6L);
}

TEST_CASE("softmax_backward and log_softmax_backward write to a range under every container") {
    // sum(p u) = 3.5; T = 2
    const std::vector<double> p = {0.5, 0.25, 0.25}, u = {2, 4, 6};
    const std::array expected = {-0.375, 0.0625, 0.3125};
    const auto check = [&](auto in, auto up, auto out) {
        smx::softmax_backward(in, up, out, 2);
        CHECK(same(out, expected));
        smx::softmax_backward(std::as_const(in), std::as_const(up), out, 2.0F);
        CHECK(same(out, expected));
        std::vector<double> l;
        for (const double probability : in) {
            l.push_back(std::log(probability));
        }
        smx::log_softmax_backward(l, up, out, 2);
        CHECK(same(out, std::array{-2.0, 0.5, 1.5}));
    };
    check(p, u, std::vector<double>(3));
    check(std::array<double, 3>{0.5, 0.25, 0.25}, std::array<double, 3>{2, 4, 6}, std::array<double, 3>{});
    check(std::list<double>{0.5, 0.25, 0.25}, std::deque<double>{2, 4, 6}, std::forward_list<double>(3));
    check(std::valarray<double>{0.5, 0.25, 0.25}, std::valarray<double>{2, 4, 6}, std::valarray<double>(3));
    check(std::vector<float>{0.5, 0.25, 0.25}, std::list<int>{2, 4, 6}, std::vector<double>(3));
    double c_array[] = {0.5, 0.25, 0.25}, c_upstream[] = {2, 4, 6};
    smx::softmax_backward(c_array, c_upstream, c_array, 2);
    CHECK(same(c_array, expected));
    std::vector<double> appended;
    smx::softmax_backward(p.begin(), p.end(), u.begin(), std::back_inserter(appended), 2);
    CHECK(same(appended, expected));
    std::vector<double> out(3);
    CHECK(smx::softmax_backward(p.data(), p.data() + 3, u.data(), out.data(), 2) == out.data() + 3);
    CHECK(same(out, expected));
    // The default is 1.
    smx::softmax_backward(p, u, out);
    CHECK(same(out, std::array{-0.75, 0.125, 0.625}));
    CHECK(smx::log_softmax_backward(p.begin(), p.end(), u.begin(), out.begin()) == out.end());
    smx::softmax_backward(p, u, out, {1, 3});
    CHECK(same(out, std::array{-0.75, 0.125, 0.625}));
    smx::softmax_backward(p, u, out, {3, 1}, std::vector{1, 2, 3});
    CHECK(same(out, std::array{0.5 * (2 - 1), 0.25 * (4 - 1) / 2, 0.25 * (6 - 1.5) / 3}));
}

TEST_CASE("kl_divergence takes every container under options by name") {
    const double expected = smx::kl_divergence(std::vector<double>{7, 7, 7}, x, {.temperature = 2});
    const auto check = [&](auto student, auto teacher, auto gradient) {
        CHECK(close(smx::kl_divergence(student, teacher, {.temperature = 2}), expected));
        CHECK(close(smx::kl_divergence(student, std::as_const(teacher), gradient, {.temperature = 2}),
                    expected));
        CHECK(
            same(gradient, std::array{2 * (1.0 / 3 - p2[0]), 2 * (1.0 / 3 - p2[1]), 2 * (1.0 / 3 - p2[2])}));
    };
    check(std::vector<double>{7, 7, 7}, x, std::vector<double>(3));
    check(std::list<double>{7, 7, 7}, std::deque<double>{1, 2, 4}, std::forward_list<double>(3));
    check(std::array<int, 3>{7, 7, 7}, std::valarray<double>{1, 2, 4}, std::valarray<double>(3));
    const double student[] = {7, 7, 7}, teacher[] = {1, 2, 4};
    CHECK(close(smx::kl_divergence(student, teacher, {.temperature = 2}), expected));
    std::vector<double> two_students(6, 7.0), two_teachers = {1, 2, 4, 1, 2, 4}, gradient(6);
    const smx::shape shape{2, 3};
    CHECK(close(smx::kl_divergence(two_students, two_teachers, shape, {.temperature = 2}), expected));
    CHECK(close(smx::kl_divergence(two_students, two_teachers, gradient, shape,
                                   {.temperature = 2, .reduce = smx::reduction::sum}),
                2 * expected));
    CHECK(close(gradient[4], 2 * (1.0 / 3 - p2[1])));
}
