// Fuzzing kl_divergence: rows alone and in batches, with the gradient and without; rows that nearly agree.
#ifndef SMX_TESTS_FUZZ_DIVERGENCES_HPP
#define SMX_TESTS_FUZZ_DIVERGENCES_HPP

#include "cases.hpp"

namespace fuzz {

// T^2 sum_c t_c log(t_c / s_c) of rows that both have a softmax, and where the student excludes nothing that the teacher does not.
// Written as a sum of what is not negative, t f(log(t / s)), f(d) = exp(-d) - 1 + d, so that nothing cancels where the rows nearly
// agree; the logarithms from differences of logits, which are then small.
template <class Real>
class exact_divergence {
public:
    using wide = oracle::wide_t<Real>;

    exact_divergence(const std::vector<Real>& x, const std::vector<Real>& y, double temperature)
        : s_(x, temperature),
          t_(y, temperature),
          temperature_(temperature),
          distances_(x.size()) {
        using std::abs;
        const std::size_t top = t_.top();
        const wide ratio = s_.probability(top) / t_.probability(top);
        apart_ = abs(wide(wide(y[top]) - wide(x[s_.top()]))) / temperature_;
        wide sum = 0;
        std::vector<wide> moved(x.size());
        for (std::size_t c = 0; c != x.size(); ++c) {
            if (y[c] == -infinity<Real>) {
                sum -= s_.probability(c);
                continue;
            }
            moved[c] = ((wide(y[c]) - wide(y[top])) - (wide(x[c]) - wide(x[top]))) / temperature_;
            is_far_ = is_far_ || abs(moved[c]) > wide(30);
            sum += moved[c] > wide(1) ? wide(ratio * t_.probability(c) - s_.probability(c))
                                      : wide(s_.probability(c) * oracle::expm1_of(moved[c]));
        }
        const wide shift = ratio < wide(0.5) ? s_.log_probability(top) - t_.log_probability(top)
                                             : oracle::log1p_of(sum); // both log(ratio)
        for (std::size_t c = 0; c != x.size(); ++c) {
            const wide s = s_.probability(c), t = t_.probability(c);
            if (y[c] == -infinity<Real>) {
                largest_ = 1;
                loss_ += s;
                continue;
            }
            const wide d = is_far_ ? t_.log_probability(c) - s_.log_probability(c) : moved[c] - shift;
            distances_[c] = d;
            largest_ = (std::max)(largest_, wide(abs(d)));
            loss_ += abs(d) < wide(1) / wide(16) ? t * curvature(d) : (s - t) + t * d;
        }
        loss_ = loss_ * temperature_ * temperature_;
    }

    // Between rows far apart the logarithms come from large numbers, and only a large sum of them is exact.
    bool is_exact() const { return !is_far_ || loss_ > wide(1e-3) * temperature_ * temperature_; }
    wide loss() const { return loss_; }
    wide larger(std::size_t c) const { return (std::max)(s_.probability(c), t_.probability(c)); }
    wide gradient(std::size_t c, bool is_excluded) const {
        const wide d = distances_[c], s = s_.probability(c), t = t_.probability(c);
        return temperature_ *
               (is_excluded || !(d > wide(-1)) ? wide(s - t) : wide(t * oracle::expm1_of(wide(-d))));
    }
    // What the gradient is promised in units of.
    wide gradient_scale(std::size_t c) const {
        const wide distance = largest_ + wide(16) * wide(std::numeric_limits<Real>::epsilon()) *
                                             (std::max)(wide(1), wide(apart_ / wide(256)));
        return temperature_ * larger(c) * (std::min)(wide(1), distance);
    }

private:
    // exp(-d) - 1 + d for small d.
    static wide curvature(const wide& d) {
        wide sum = 1;
        for (int k = 20; k > 2; --k) {
            sum = wide(1) - d / wide(k) * sum;
        }
        return d * d / wide(2) * sum;
    }

    oracle::row<Real> s_, t_;
    wide temperature_;
    std::vector<wide> distances_;
    bool is_far_ = false;
    wide largest_ = 0, loss_ = 0, apart_ = 0;
};

// Is everything in a row near enough to its maximum for the logarithms to have their digits?
template <class Real>
bool is_compact(const std::vector<Real>& x, double temperature) {
    double low = infinity<double>, high = -infinity<double>;
    for (const Real logit : x) {
        if (std::isfinite(logit)) {
            low = (std::min)(low, static_cast<double>(logit));
            high = (std::max)(high, static_cast<double>(logit));
        }
    }
    return high / temperature - low / temperature < 1e4;
}

template <class Real>
void check_divergence(const batch_case<Real>& b, const std::vector<Real>& x, const std::vector<Real>& y,
                      Real loss, const std::vector<Real>& gradient) {
    using wide = oracle::wide_t<Real>;
    require(std::isnan(loss) || loss >= 0, "a divergence is not negative");
    if (!usual(x) || !usual(y)) {
        require(std::isnan(loss) && std::all_of(gradient.begin(), gradient.end(), is_nan<Real>),
                "the divergence of a row without a softmax is NaN");
        return;
    }
    for (std::size_t c = 0; c != x.size(); ++c) {
        if (x[c] == -infinity<Real> && y[c] > -infinity<Real>) {
            require(loss == infinity<Real>, "what only the student excludes makes the divergence infinite");
            return;
        }
    }
    require(!same(x, y) || loss == 0, "equal rows have no divergence");
    const bool fits = b.temperature > 1e-100 && b.temperature < 1e100;
    if (!fits || !b.judged(x) || !b.judged(y) || !is_compact(x, b.temperature) ||
        !is_compact(y, b.temperature)) {
        return;
    }
    const exact_divergence<Real> exact(x, y, b.temperature);
    const wide floor = wide(4) * wide(std::numeric_limits<Real>::epsilon()) * wide(b.temperature);
    const wide scale = (std::max)(exact.loss(), wide(floor * floor));
    if (exact.is_exact()) {
        normal<Real>(scale) ? near(loss, exact.loss(), scale, 6, "kl_divergence")
                            : require(loss <= batch_case<Real>::smallest, "kl_divergence, below normal");
    }
    for (std::size_t c = 0; c != x.size(); ++c) {
        const wide unit = exact.gradient_scale(c);
        if (normal<Real>(exact.larger(c)) && normal<Real>(unit) && in_range<Real>(unit)) {
            near(gradient[c], exact.gradient(c, y[c] == -infinity<Real>), unit, 8,
                 "gradient of kl_divergence");
        }
    }
}

// The teacher: a row of its own, or the student's with some logits moved by some ulp. Alone and as a batch, in place on either row.
template <class Real>
void fuzz_kl_divergence(const batch_case<Real>& b, source& from) {
    using reals = std::vector<Real>;
    const auto how = from.below(4);
    reals teacher = b.logits;
    for (Real& y : teacher) {
        const auto byte = from.take<std::int8_t>();
        if (how == 0) {
            y = byte == -128 ? -infinity<Real> : static_cast<Real>(byte) / 4;
        } else if (std::isfinite(y) && byte > 64) {
            y = how == 1   ? std::nextafter(y, infinity<Real>)
                : how == 2 ? y + static_cast<Real>(byte) / 1024
                           : -infinity<Real>;
        }
    }
    const std::size_t n = b.batch.classes;
    const smx::distillation_options<Real> options{.temperature = b.temperature};
    const smx::distillation_options<Real> summed{.temperature = b.temperature, .reduce = smx::reduction::sum};
    placed<Real> in(b.logits, b.offset), given(teacher, (b.offset * 3) % 16),
        out(reals(teacher.size(), Real(-77)), 5);
    if (n == 0 || b.temperature == infinity<double>) {
        refused(
            out, [&] { smx::kl_divergence(in.row, given.row, out.row, b.batch, options); },
            "an empty row or an infinite temperature is refused");
        return;
    }
    const Real total = smx::kl_divergence(in.row, given.row, out.row, b.batch, summed);
    require(same(total, smx::kl_divergence(in.row, given.row, b.batch, summed)),
            "the divergence of a batch with its gradient and without");
    const reals found = out.taken();
    smx::kl_divergence(in.row, given.row, how % 2 == 0 ? in.row : given.row, b.batch, summed);
    require(same(found, how % 2 == 0 ? in.taken() : given.taken()), "kl_divergence in place");
    for (std::size_t r = 0; r != b.rows(); ++r) {
        const reals x = b.row_of(b.logits, r), y = b.row_of(teacher, r);
        placed<Real> student(x, 1), known(y, b.offset), gradient(reals(n), 2);
        const Real alone = smx::kl_divergence(student.row, known.row, options);
        const Real both = smx::kl_divergence(student.row, known.row, gradient.row, options);
        require(same(alone, both), "the divergence without its gradient is that with it");
        require(same(gradient.taken(), b.row_of(found, r)), "a gradient in a batch is as alone");
        require(b.rows() != 1 || same(alone, total), "the sum of one divergence is that one");
        if (b.is_sampled(r)) {
            check_divergence(b, x, y, alone, gradient.taken());
        }
    }
}

} // namespace fuzz

#endif
