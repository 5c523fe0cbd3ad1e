// What the topics of the fuzz target share: the bytes of a case, what they stand for, rows and batches at any alignment, and the
// judgement of a result.
#ifndef SMX_TESTS_FUZZ_CASES_HPP
#define SMX_TESTS_FUZZ_CASES_HPP

#include "support/oracle_double_double.hpp"

#include <softmax.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <span>
#include <stdexcept>
#include <vector>

namespace fuzz {

// The bytes of a case, over and over: whole batches are larger than cases are, and zeros would make all their rows alike.
class source {
public:
    source(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}
    template <class T>
    T take() {
        std::array<std::uint8_t, sizeof(T)> bytes{};
        for (std::size_t k = 0; size_ != 0 && k != bytes.size(); ++k) {
            bytes[k] = data_[at_++ % size_];
        }
        return std::bit_cast<T>(bytes);
    }
    std::size_t below(std::size_t n) { return take<std::uint8_t>() % n; }

private:
    const std::uint8_t* data_;
    std::size_t size_, at_ = 0;
};

inline void require(bool holds, const char* what) {
    if (!holds) {
        std::fprintf(stderr, "FAILED: %s\n", what);
        std::abort();
    }
}

template <class Real>
constexpr Real infinity = std::numeric_limits<Real>::infinity();

// Within so many ulp of a number as large as `scale`; where that is below the normal numbers, no more than one of them away.
template <class Real, class Wide>
void near(Real found, const Wide& exact, const Wide& scale, double ulps, const char* what) {
    const double distance = oracle::ulps_of(found, exact, scale);
    if (!(distance <= ulps)) {
        std::fprintf(stderr, "%s: %s\n", what, oracle::describe(found, exact, distance).c_str());
        require(false, what);
    }
}

// The same bits, but for those of NaN.
template <class Real>
bool same(Real a, Real b) {
    return (a == b && std::signbit(a) == std::signbit(b)) || (std::isnan(a) && std::isnan(b));
}
template <class Real>
bool same(const std::vector<Real>& a, const std::vector<Real>& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](Real x, Real y) { return same(x, y); });
}

template <class Real>
bool is_nan(Real x) {
    return std::isnan(x);
}

// Is it a normal number of the type, rounded or not?
template <class Real, class Wide>
bool normal(const Wide& value) {
    using std::abs;
    return abs(value) >= Wide((std::numeric_limits<Real>::min)());
}
template <class Real, class Wide>
bool in_range(const Wide& value) {
    using std::abs;
    return !(Wide((std::numeric_limits<Real>::max)()) < abs(value));
}

template <class Real>
Real take_logit(source& from, int mode, Real base) {
    switch (mode) {
    case 0:
        return static_cast<Real>(from.take<std::int8_t>()) / 8;
    case 1:
        return from.take<Real>(); // any bits: NaN, infinities, subnormals
    case 2:
        return std::isfinite(base) ? base + static_cast<Real>(from.take<std::int8_t>()) *
                                                (std::nextafter(base, Real(0)) - base)
                                   : base;
    case 3:
        return std::ldexp(static_cast<Real>(from.take<std::int8_t>()), from.take<std::int8_t>() / 4);
    case 4: // a row of hardly anything but -inf
        return from.take<std::uint8_t>() == 255 ? infinity<Real> : -infinity<Real>;
    default: {
        const auto x = from.take<std::int8_t>();
        return x == -128 ? -infinity<Real> : static_cast<Real>(x) / 2;
    }
    }
}

inline double take_temperature(source& from) {
    switch (from.below(12)) {
    case 0:
        return 0;
    case 1:
        return infinity<double>;
    case 2:
        return std::ldexp(1.0 + static_cast<double>(from.take<std::uint8_t>()) / 256,
                          from.take<std::int8_t>());
    case 3:
        return from.take<double>(); // negative and NaN too
    case 4:
        return 1;
    default:
        return (1 + static_cast<double>(from.take<std::uint8_t>())) / 64;
    }
}

// Mostly few logits: a case costs what the oracle does. Sometimes long rows, and the blocks that short rows are done in, packed
// or side by side, and more.
inline smx::shape take_shape(source& from) {
    const auto up_to = [&from](std::size_t n) { return 1 + from.below(n); };
    const std::size_t kind = from.below(64);
    if (kind == 0) {
        const std::size_t longest = from.below(8) == 0 ? 2600 : 700;
        return {up_to(2), from.take<std::uint16_t>() % longest, up_to(2)};
    }
    if (kind <= 2) {
        return {up_to(40), from.below(34), 1};
    }
    if (kind <= 4) {
        return {1, from.below(68), up_to(140)};
    }
    if (kind <= 12) {
        return {up_to(3), from.below(70), up_to(3)};
    }
    return {up_to(2), from.below(20), up_to(2)};
}

// A copy that ends where its memory ends, and begins `offset` elements into it.
template <class Element>
struct placed {
    explicit placed(const std::vector<Element>& from, std::size_t offset = 0) : all(offset) {
        all.insert(all.end(), from.begin(), from.end());
        all.shrink_to_fit();
        row = std::span<Element>(all).subspan(offset);
    }
    std::vector<Element> taken() const { return {row.begin(), row.end()}; }
    std::vector<Element> all;
    std::span<Element> row;
};

template <class Real>
bool usual(const std::vector<Real>& x) {
    return !x.empty() &&
           std::none_of(x.begin(), x.end(), [](Real a) { return std::isnan(a) || a == infinity<Real>; }) &&
           std::any_of(x.begin(), x.end(), [](Real a) { return a != -infinity<Real>; });
}

// A batch of logits, its layout, its temperature and where it is placed in memory.
template <class Real>
struct batch_case {
    using reals = std::vector<Real>;
    using wide = oracle::wide_t<Real>;
    static constexpr Real smallest = (std::numeric_limits<Real>::min)();

    explicit batch_case(source& from)
        : batch(take_shape(from)),
          temperature(take_temperature(from)),
          offset(from.below(64 / sizeof(Real))) {
        const std::vector<int> modes = take_modes(from);
        const Real base = from.take<Real>();
        for (std::size_t k = 0; k != batch.outer * batch.classes * batch.inner; ++k) {
            const std::size_t row = k / (batch.classes * batch.inner) * batch.inner + k % batch.inner;
            logits.push_back(take_logit(from, modes[row], base));
        }
    }

    std::size_t rows() const { return batch.outer * batch.inner; }
    std::size_t place(std::size_t row, std::size_t c) const {
        return (row / batch.inner * batch.classes + c) * batch.inner + row % batch.inner;
    }
    template <class Element>
    std::vector<Element> row_of(const std::vector<Element>& all, std::size_t row) const {
        std::vector<Element> x;
        for (std::size_t c = 0; c != batch.classes; ++c) {
            x.push_back(all[place(row, c)]);
        }
        return x;
    }

    // Of more than 9 rows, which have the bits of rows alone, some are held against the oracle: it is most of the time of a case.
    bool is_sampled(std::size_t row) const { return row % (1 + (rows() - 1) / 9) == 0; }
    // Where the oracle does not overflow itself, nor lose digits below the range of double.
    bool judged_temperature() const { return temperature > 1e-200 && temperature < 1e200; }
    bool judged(const reals& x) const {
        return judged_temperature() && usual(x) && std::all_of(x.begin(), x.end(), [](Real a) {
                   const double size = std::abs(static_cast<double>(a));
                   return size == infinity<double> || size == 0 || (size < 1e290 && size > 1e-200);
               });
    }

    smx::shape batch;
    double temperature;
    std::size_t offset;
    reals logits;

private:
    // One kind of logits for all rows, or usual rows with some others among them.
    std::vector<int> take_modes(source& from) const {
        const int mode = static_cast<int>(from.below(7));
        std::vector<int> modes(rows(), mode);
        for (std::size_t r = 0; mode == 6 && r != rows(); ++r) {
            const auto byte = from.take<std::uint8_t>();
            modes[r] = byte < 32 ? byte % 6 : 0;
        }
        return modes;
    }
};

// A probability: below the normal numbers it may be 0 or anything there.
template <class Real, class Wide>
void near_probability(Real p, const Wide& exact, double ulps, const char* what) {
    normal<Real>(exact) ? near(p, exact, exact, ulps, what)
                        : require(p >= 0 && p <= batch_case<Real>::smallest, what);
}
template <class Real, class Wide>
void near_log_probability(Real l, const Wide& exact, double ulps, const char* what) {
    normal<Real>(exact) ? near(l, exact, exact, ulps, what)
                        : require(l <= 0 && -l <= batch_case<Real>::smallest, what);
}

template <class Real>
void check_logsumexp(const batch_case<Real>& b, const std::vector<Real>& x, Real found) {
    if (b.judged(x)) {
        const oracle::row<Real> exact(x, b.temperature);
        near(found, exact.logsumexp(), exact.logsumexp_scale(), 3, "logsumexp");
    } else if (!usual(x)) {
        const bool no_number = std::any_of(x.begin(), x.end(), is_nan<Real>);
        const bool any = std::find(x.begin(), x.end(), infinity<Real>) != x.end();
        require(no_number ? std::isnan(found) : found == (any ? infinity<Real> : -infinity<Real>),
                "logsumexp of special rows");
    }
}

// A call that has to be refused, as std::invalid_argument unless told otherwise, and leaves `out` as it was.
template <class Error = std::invalid_argument, class Element, class F>
void refused(const placed<Element>& out, F call, const char* what) {
    const std::vector<Element> before = out.taken();
    bool is_refused = false;
    try {
        call();
    } catch (const Error&) {
        is_refused = true;
    }
    require(is_refused, what);
    require(out.taken() == before, "an output is as it was after an error");
}

} // namespace fuzz

#endif
