// libFuzzer at the interface: rows and batches of float and double, any function, temperature and options, in place or not, at
// any alignment, with NaN and infinities, sizes that do not fit and targets out of range. Held against the formulas in wider
// arithmetic, the table of special values and what is promised of batches and errors. Buffers end where the rows do, so that the
// address sanitizer sees what is touched outside.
#include "support/oracle_double_double.hpp"

#include <softmax.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <vector>

namespace {

// The bytes of a case, then zeros.
class source {
public:
    source(const std::uint8_t* data, std::size_t size) : at_(data), end_(data + size) {}
    template <class T>
    T take() {
        T value{};
        const auto count = (std::min)(sizeof value, static_cast<std::size_t>(end_ - at_));
        if (count != 0) {
            std::memcpy(&value, at_, count);
            at_ += count;
        }
        return value;
    }
    std::size_t below(std::size_t n) { return take<std::uint8_t>() % n; }

private:
    const std::uint8_t* at_;
    const std::uint8_t* end_;
};

void require(bool holds, const char* what) {
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

template <class Real>
bool same(Real a, Real b) {
    return a == b || (std::isnan(a) && std::isnan(b));
}
template <class Real>
bool same(const std::vector<Real>& a, const std::vector<Real>& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](Real x, Real y) { return same(x, y); });
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

double take_temperature(source& from) {
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

template <class Real>
class fuzzed_case {
public:
    explicit fuzzed_case(source& from)
        : batch_{1 + from.below(3), from.below(8) == 0 ? from.take<std::uint16_t>() % 700 : from.below(70),
                 1 + from.below(3)},
          temperature_(take_temperature(from)),
          offset_(from.below(64 / sizeof(Real))) {
        const int mode = static_cast<int>(from.below(6));
        const Real base = from.take<Real>();
        for (std::size_t k = 0; k != batch_.outer * batch_.classes * batch_.inner; ++k) {
            logits_.push_back(take_logit(from, mode, base));
        }
    }

    void run(source& from) {
        const auto function = from.below(5);
        if (!(temperature_ >= 0) || (function >= 2 && temperature_ == 0)) {
            check_refusal(function);
            return;
        }
        switch (function) {
        case 0:
            map([](const auto&... a) { smx::softmax(a...); }, [this](auto&... a) { check_softmax(a...); });
            break;
        case 1:
            map([](const auto&... a) { smx::log_softmax(a...); },
                [this](auto&... a) { check_log_softmax(a...); });
            break;
        case 2:
            check_logsumexp();
            break;
        case 3:
            check_cross_entropy(from);
            break;
        default:
            check_backward(from);
        }
    }

private:
    using reals = std::vector<Real>;
    using wide = oracle::wide_t<Real>;
    static constexpr Real smallest = (std::numeric_limits<Real>::min)();

    // A copy that ends where its memory ends, and begins offset_ elements into it.
    struct placed {
        placed(const reals& from, std::size_t offset) : all(offset) {
            all.insert(all.end(), from.begin(), from.end());
            all.shrink_to_fit();
            row = std::span<Real>(all).subspan(offset);
        }
        reals taken() const { return {row.begin(), row.end()}; }
        reals all;
        std::span<Real> row;
    };

    std::size_t rows() const { return batch_.outer * batch_.inner; }
    std::size_t place(std::size_t row, std::size_t c) const {
        return (row / batch_.inner * batch_.classes + c) * batch_.inner + row % batch_.inner;
    }
    reals row_of(const reals& all, std::size_t row) const {
        reals x;
        for (std::size_t c = 0; c != batch_.classes; ++c) {
            x.push_back(all[place(row, c)]);
        }
        return x;
    }
    static bool usual(const reals& x) {
        return !x.empty() && std::none_of(x.begin(), x.end(), [](Real a) {
            return std::isnan(a) || a == infinity<Real>;
        }) && std::any_of(x.begin(), x.end(), [](Real a) { return a != -infinity<Real>; });
    }
    // Where the oracle does not overflow itself, nor lose digits below the range of double.
    bool judged(const reals& x) const {
        return temperature_ > 1e-200 && temperature_ < 1e200 && usual(x) &&
               std::all_of(
                   x.begin(), x.end(),
                   [](Real a) {
                       const double size = std::abs(static_cast<double>(a));
                       return size == infinity<double> || size == 0 || (size < 1e290 && size > 1e-200);
                   });
    }
    static bool normal(const wide& value) {
        using std::abs;
        return abs(value) >= wide(smallest);
    }

    // Something is wrong with the arguments: the error that says so, and an output as it was.
    void check_refusal(std::size_t function) {
        const reals before(logits_.size(), Real(-77));
        placed out(before, 0);
        std::vector<std::size_t> targets(rows(), 0);
        bool refused = false;
        try {
            if (function == 0) {
                smx::softmax(logits_, out.row, batch_, temperature_);
            } else if (function == 1) {
                smx::log_softmax(logits_, out.row, batch_, temperature_);
            } else if (function == 2) {
                reals sums(rows());
                smx::logsumexp(logits_, sums, batch_, temperature_);
            } else if (function == 3) {
                smx::cross_entropy(logits_, targets, out.row, batch_, {.temperature = temperature_});
            } else {
                smx::softmax_backward(logits_, logits_, out.row, batch_, temperature_);
            }
        } catch (const std::invalid_argument&) {
            refused = true;
        }
        require(refused, "a bad temperature is refused");
        require(out.taken() == before, "an output is as it was after an error");
    }

    // The batch out of place and in place, each row alone; then `check`(row, result).
    template <class F, class Check>
    void map(F f, Check check) {
        placed in(logits_, offset_), out(reals(logits_.size()), (offset_ * 7) % 16);
        f(in.row, out.row, batch_, temperature_);
        require(same(in.taken(), logits_), "the input is left as it was");
        f(in.row, in.row, batch_, temperature_);
        require(same(in.taken(), out.taken()), "in place is as out of place");
        for (std::size_t r = 0; r != rows(); ++r) {
            const reals x = row_of(logits_, r);
            placed alone(x, (offset_ * 3) % 16);
            f(alone.row, alone.row, temperature_);
            const reals found = alone.taken();
            require(same(found, row_of(out.taken(), r)), "a row in a batch is as the row alone");
            check(x, found);
        }
    }

    void check_softmax(const reals& x, const reals& p) const {
        if (!usual(x)) {
            require(std::all_of(p.begin(), p.end(), [](Real a) { return std::isnan(a); }), "all NaN");
            return;
        }
        const Real top = *std::max_element(x.begin(), x.end());
        const auto tops = std::count(x.begin(), x.end(), top);
        const auto finite = std::count_if(x.begin(), x.end(), [](Real a) { return a != -infinity<Real>; });
        for (std::size_t c = 0; c != x.size(); ++c) {
            require(p[c] >= 0 && p[c] <= 1, "a probability is in [0, 1]");
            require(x[c] != -infinity<Real> || p[c] == 0, "-inf has probability 0");
            if (temperature_ == 0) {
                near(p[c], x[c] == top ? wide(1) / wide(tops) : wide(0), wide(1) / wide(tops), 1,
                     "softmax at T = 0");
            } else if (temperature_ == infinity<double> && x[c] != -infinity<Real>) {
                near(p[c], wide(1) / wide(finite), wide(1) / wide(finite), 1, "softmax at T = inf");
            }
        }
        if (judged(x)) {
            const oracle::row<Real> exact(x, temperature_);
            for (std::size_t c = 0; c != x.size(); ++c) {
                const wide e = exact.probability(c);
                normal(e) ? near(p[c], e, e, 3, "softmax")
                          : require(p[c] <= smallest, "softmax, below normal");
            }
        }
    }

    void check_log_softmax(const reals& x, const reals& l) const {
        if (!usual(x)) {
            require(std::all_of(l.begin(), l.end(), [](Real a) { return std::isnan(a); }), "all NaN");
            return;
        }
        for (std::size_t c = 0; c != x.size(); ++c) {
            require(l[c] <= 0, "a logarithm of a probability is not positive");
            require(x[c] != -infinity<Real> || l[c] == -infinity<Real>, "-inf has log-probability -inf");
        }
        if (judged(x)) {
            const oracle::row<Real> exact(x, temperature_);
            for (std::size_t c = 0; c != x.size(); ++c) {
                const wide e = exact.log_probability(c);
                if (x[c] != -infinity<Real>) {
                    normal(-e) ? near(l[c], e, e, 3, "log_softmax")
                               : require(-l[c] <= smallest, "log_softmax, below normal");
                }
            }
        }
    }

    void check_logsumexp() {
        placed in(logits_, offset_), out(reals(rows()), 3);
        smx::logsumexp(in.row, out.row, batch_, temperature_);
        for (std::size_t r = 0; r != rows(); ++r) {
            const reals x = row_of(logits_, r);
            placed alone(x, (offset_ * 3) % 16);
            const Real found = smx::logsumexp(alone.row, temperature_);
            require(same(found, out.row[r]), "logsumexp in a batch is as alone");
            if (judged(x)) {
                const oracle::row<Real> exact(x, temperature_);
                near(found, exact.logsumexp(), exact.logsumexp_scale(), 3, "logsumexp");
            } else if (!usual(x)) {
                const bool no_number = std::any_of(x.begin(), x.end(), [](Real a) { return std::isnan(a); });
                const bool any = std::find(x.begin(), x.end(), infinity<Real>) != x.end();
                require(no_number ? std::isnan(found) : found == (any ? infinity<Real> : -infinity<Real>),
                        "logsumexp of special rows");
            }
        }
    }

    // With gradient and without, of a target, of probabilities; weights, smoothing, z_loss; a target out of range.
    void check_cross_entropy(source& from) {
        const std::size_t n = batch_.classes;
        const auto how = from.take<std::uint8_t>();
        const double smoothing = (how & 1) != 0 ? static_cast<double>(from.take<std::uint8_t>()) / 255 : 0;
        const double z = (how & 2) != 0 ? static_cast<double>(from.take<std::uint8_t>()) / 1024 : 0;
        reals weights, q;
        for (std::size_t c = 0; c != n; ++c) {
            if ((how & 4) != 0) {
                weights.push_back(static_cast<Real>(from.take<std::uint8_t>()) / 64);
            }
            q.push_back(static_cast<Real>(from.take<std::uint8_t>()) / 256);
        }
        const smx::cross_entropy_options<Real> options{
            .temperature = temperature_, .label_smoothing = smoothing, .class_weights = weights, .z_loss = z};
        const auto target = static_cast<std::ptrdiff_t>(from.take<std::int16_t>() % 80);
        for (std::size_t r = 0; r != rows(); ++r) {
            const reals x = row_of(logits_, r);
            placed in(x, offset_), out(reals(n, Real(-77)), (offset_ * 5) % 16);
            if ((how & 8) == 0) {
                const auto loss = [&](auto&... gradient) {
                    return smx::cross_entropy(in.row, target, gradient..., options);
                };
                if (n == 0 || target < 0 || target >= static_cast<std::ptrdiff_t>(n)) {
                    check_bad_target(n, loss, out);
                    return;
                }
                check_loss(x, loss(), loss(out.row), out.taken(),
                           oracle::one_hot(n, static_cast<std::size_t>(target)), options);
            } else if (n != 0) {
                const auto loss = [&](auto&... gradient) {
                    return smx::cross_entropy(in.row, q, gradient..., options);
                };
                check_loss(x, loss(), loss(out.row), out.taken(), q, options);
            }
        }
    }
    template <class Loss>
    void check_bad_target(std::size_t n, const Loss& loss, placed& out) const {
        bool refused = false;
        const reals before = out.taken();
        try {
            loss(out.row);
        } catch (const std::out_of_range&) {
            refused = n != 0;
        } catch (const std::invalid_argument&) {
            refused = n == 0;
        }
        require(refused, "a target out of range or an empty row is refused");
        require(out.taken() == before, "a gradient is as it was after an error");
    }

    template <class Target>
    void check_loss(const reals& x, Real alone, Real both, const reals& gradient, const Target& target,
                    const smx::cross_entropy_options<Real>& options) const {
        require(same(alone, both), "the loss without its gradient is the loss with it");
        require(std::isnan(alone) || alone >= 0, "a loss is not negative");
        if (!usual(x)) {
            require(std::isnan(alone), "the loss of a special row is NaN");
            return;
        }
        const bool excludes = std::find(x.begin(), x.end(), -infinity<Real>) != x.end();
        if (!judged(x) || excludes) {
            return;
        }
        const oracle::row<Real> exact(x, temperature_);
        const oracle::target_shares<Real> share(
            target, options.label_smoothing,
            reals(options.class_weights.begin(), options.class_weights.end()));
        const wide z = options.z_loss, larger = exact.logsumexp_scale();
        if (!(exact.loss(share, z) < wide(smallest) / wide(std::numeric_limits<Real>::epsilon())) &&
            !(larger * larger < wide(1e270))) {
            return; // the square of the oracle is out of its range
        }
        // logsumexp is promised in units of its larger part, and so are its square and what that adds to the gradient; it may be
        // twice that part.
        const bool plain =
            z == wide(0) && options.label_smoothing == 0 && std::is_same_v<Target, std::vector<int>>;
        const wide loss = exact.loss(share, z), of_parts = exact.loss(share) + z * larger * larger;
        const wide scale_of_loss = (std::max)(loss, of_parts);
        normal(scale_of_loss) ? near(alone, loss, scale_of_loss, plain ? 3 : 4, "loss")
                              : require(alone <= smallest, "loss, below normal");
        for (std::size_t c = 0; c != x.size(); ++c) {
            const wide of_square = 2 * z * larger * exact.probability(c) / wide(temperature_);
            const wide scale = (std::max)(exact.gradient_scale(c, share, z), of_square);
            const bool fits = !(wide((std::numeric_limits<Real>::max)()) < scale);
            if (normal(exact.probability(c)) && normal(scale) && fits &&
                normal(exact.gradient(c, share, z))) {
                // Of a mixture: 1 - a, the share, the other terms, their product, the difference and two divisions are rounded.
                near(gradient[c], exact.gradient(c, share, z), scale,
                     z != wide(0) ? 8
                     : plain      ? 4
                                  : 7,
                     "gradient of a loss");
            }
        }
    }

    // Of made-up outputs in [0, 1) and upstreams as the logits are; in place on either.
    void check_backward(source& from) {
        reals p;
        for (std::size_t k = 0; k != logits_.size(); ++k) {
            const auto byte = from.take<std::uint8_t>();
            p.push_back(byte < 16 ? Real(0) : static_cast<Real>(byte) / 256);
            if (byte < 8) { // takes no part, whatever its upstream
                logits_[k] = byte < 4 ? std::numeric_limits<Real>::quiet_NaN() : infinity<Real>;
            }
        }
        placed out(p, offset_), up(logits_, (offset_ * 3) % 16), gradient(reals(p.size()), 5);
        smx::softmax_backward(out.row, up.row, gradient.row, batch_, temperature_);
        const reals found = gradient.taken();
        smx::softmax_backward(out.row, up.row, up.row, batch_, temperature_);
        require(same(found, up.taken()), "softmax_backward in place on the upstream");
        placed again(logits_, 1);
        smx::softmax_backward(out.row, again.row, out.row, batch_, temperature_);
        require(same(found, out.taken()), "softmax_backward in place on the probabilities");
        for (std::size_t r = 0; r != rows(); ++r) {
            check_gradient(row_of(p, r), row_of(logits_, r), row_of(found, r));
        }
    }
    void check_gradient(const reals& p, reals u, const reals& found) const {
        for (std::size_t c = 0; c != p.size(); ++c) {
            require(p[c] != 0 || found[c] == 0, "softmax_backward: a class of probability 0 has gradient 0");
            u[c] = p[c] == 0 ? Real(0) : u[c];
        }
        const bool finite = std::all_of(u.begin(), u.end(), [](Real a) {
            return std::abs(a) < Real(1e30) && (a == 0 || std::abs(a) > Real(1e-20));
        });
        if (!finite || !(temperature_ > 1e-6 && temperature_ < 1e6)) {
            return;
        }
        using std::abs;
        wide sum = 0, magnitude = 0;
        for (std::size_t c = 0; c != p.size(); ++c) {
            sum += wide(p[c]) * wide(u[c]);
            magnitude += abs(wide(p[c]) * wide(u[c]));
        }
        const wide of_sum =
            (std::max)(wide(abs(sum)), wide(magnitude * wide(std::numeric_limits<Real>::epsilon())));
        for (std::size_t c = 0; c != p.size(); ++c) {
            const wide exact = wide(p[c]) * (wide(u[c]) - sum) / wide(temperature_);
            const wide scale = wide(p[c]) * (std::max)(wide(abs(wide(u[c]))), of_sum) / wide(temperature_);
            if (normal(scale)) {
                near(found[c], exact, scale, 3, "softmax_backward");
            }
        }
    }

    smx::shape batch_;
    double temperature_;
    std::size_t offset_;
    reals logits_;
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    source from(data, size);
    const auto which = from.take<std::uint8_t>();
    namespace detail = smx::detail;
    // The instruction sets take turns.
    detail::use_instruction_set(detail::instruction_set{which / 2 % 3});
    if (which % 2 == 0) {
        fuzzed_case<float>(from).run(from);
    } else {
        fuzzed_case<double>(from).run(from);
    }
    return 0;
}
