// Kernels of the divergence of two rows of float or double, a teacher's and a student's, with or without its gradient: many
// pairs a call, each with the bits that it has alone. Leans on dispatch.hpp.
//
// With t and s the softmax of the two rows, sum t log(t / s) is taken as the sum of t log(t / s) - t + s, which adds nothing,
// since both add up to 1, and has no negative term: where the rows nearly agree nothing cancels. With a = |log(t / s)|,
// m = max(t, s) and w = 1 - exp(-a), the parts of a class are
//     |t - s| = m w,   t log(t / s) - t + s = m (a - w) where t is the larger, m (w - a exp(-a)) where s is,
// and below a = 1 all of them come from w = a - a a h(a), h a polynomial (tools/polynomials.py).
//
// log(t / s) is (y - x - D) / T, D = T (logsumexp(y / T) - logsumexp(x / T)). The rounding errors of the two sums make the t
// and s used here add up to numbers that differ by some k; k follows from the sum of t - s, and what it adds to the
// divergence, k k / 2 to its last digit, is taken off again: the error left is that of the terms.
#ifndef SMX_DETAIL_DIVERGENCE_ROWS_HPP
#define SMX_DETAIL_DIVERGENCE_ROWS_HPP

#include "dispatch.hpp"

namespace smx::inline SMX_ABI::detail {

template <class Real>
struct divergence_coefficients;
template <>
struct divergence_coefficients<float> {
    static constexpr float of[] = {0x1.15fdbep-16f, -0x1.88e2bcp-13f, 0x1.6a1704p-10f, -0x1.10fa5ep-7f,
                                   0x1.555466p-5f,  -0x1.555552p-3f,  0x1p-1f};
};
template <>
struct divergence_coefficients<double> {
    static constexpr double of[] = {-0x1.cd75b4cc672afp-34, 0x1.0c42e7ccdb528p-29,  -0x1.aafecea52e5ffp-26,
                                    0x1.27b20f341f32cp-22,  -0x1.71da431a885dbp-19, 0x1.a019ccc15c7afp-16,
                                    -0x1.a019ffd07c27fp-13, 0x1.6c16c16211d40p-10,  -0x1.11111110f0c2ap-7,
                                    0x1.5555555554ed2p-5,   -0x1.555555555554ep-3,  0x1p-1};
};

// What is the same for all pairs of a call.
template <class Real>
struct divergence_rule {
    const base2_scale<Real>& scale; // of a usual T
    std::size_t classes;
    double factor; // of s - t in the gradient: T over the divisor of the mean, a usual number of Real
};

// Pairs of rows of neighbouring logits, and where the results go.
template <class Real>
struct divergence_pairs {
    std::size_t count;
    const Real *student, *teacher;
    Real* gradient; // null: none; may be student or teacher
    double* losses;
    bool* done; // false: an unusual pair, left to the generic code with nothing written
};

template <class M>
struct divergence_row {
    using Real = typename M::real;
    using P = typename M::vector;
    using D = typename M::wide;

    const base2_scale<Real>& scale;
    row_reference<P> of_student, of_teacher;
    plain_reference<P> plain;
    P student_hi, student_lo, teacher_hi, teacher_lo; // a factor over the sum of terms
    D inverse, inverse_lo;                            // 1 / T
    D apart_hi, apart_lo;                             // D

    SMX_INLINE explicit divergence_row(const base2_scale<Real>& c)
        : scale(c),
          inverse(splat<D>(1 / c.temperature)),
          inverse_lo(remainder_of(splat<D>(1), inverse, splat<D>(c.temperature)) / splat<D>(c.temperature)) {
        refer_plainly(scale_of_one<Real>, plain);
    }

    SMX_INLINE void refer_to_both(Real student, Real teacher) {
        refer(scale, splat<P>(student), of_student);
        refer(scale, splat<P>(teacher), of_teacher);
    }
    SMX_INLINE void normalize(double factor, const row_sum<Real>& student, const row_sum<Real>& teacher) {
        split(quotient<M>(factor, student), student_hi, student_lo);
        split(quotient<M>(factor, teacher), teacher_hi, teacher_lo);
    }
    SMX_INLINE void set_apart(const double_word<double>& d) {
        apart_hi = splat<D>(d.hi);
        apart_lo = splat<D>(d.lo);
    }

    // log(t / s); -2^100 for -infinity, so that its product with 0 is 0. Two logits of -inf are no distance apart.
    SMX_INLINE P log_ratio(const P& x, const P& y) const {
        const P least = splat<P>(Real(-0x1p100));
        if constexpr (sizeof(Real) == sizeof(float)) {
            const auto from = halved(x), to = halved(y);
            return larger(least, joined(log_ratio_of_floats(from.low, to.low),
                                        log_ratio_of_floats(from.high, to.high)));
        } else {
            const P a = where_equal(x, y, P{}, y), b = where_equal(x, y, P{}, x);
            P lost, more;
            const P far = exact_sum(a, P{} - b, lost), rest = exact_sum(far, P{} - apart_hi, more);
            // The errors of infinite sums are NaN.
            lost = where_equal(far, far + far, P{}, lost);
            more = where_equal(rest, rest + rest, P{}, more);
            return times(larger(least, rest + (more + (lost - apart_lo))), inverse, inverse_lo);
        }
    }

    struct parts {
        P larger;     // m
        P difference; // t - s over m
        P relative;   // t log(t / s) - t + s over m
    };

    // One vector at a time: two, step by step, are 5 % faster at best.
    SMX_INLINE parts compare(const P& x, const P& y) const {
        const P one = splat<P>(1), zero = P{};
        const P d = log_ratio(x, y), a = larger(zero - d, d), b = smaller(one, a);
        const auto of_larger = [&](const P& student, const P& teacher)
                                   SMX_LAMBDA_INLINE { return where_less(d, zero, student, teacher); };
        row_reference<P> q = of_teacher;
        q.magic = of_larger(of_student.magic, of_teacher.magic);
        q.lowest = of_larger(of_student.lowest, of_teacher.lowest);
        P e[1] = {zero - a}, m[1] = {of_larger(x, y)};
        exponentials(e, &plain.row);
        exponentials(m, &q);
        P h = splat<P>(divergence_coefficients<Real>::of[0]);
        constexpr int terms = sizeof(divergence_coefficients<Real>::of) / sizeof(Real);
        SMX_UNROLL for (int c = 1; c < terms; ++c) {
            const P next = splat<P>(divergence_coefficients<Real>::of[c]);
            h = multiply_add(h, b, next);
        }
        const P square = b * b, far = one - e[0];
        const auto near = [&](const P& yes, const P& no)
                              SMX_LAMBDA_INLINE { return where_less(a, one, yes, no); };
        const P w = near(multiply_add(zero - square, h, b), far);
        const P teacher_larger = near(square * h, a - far);
        const P student_larger =
            near(square * multiply_add(zero - h, one + b, one), multiply_add(zero - a, e[0], far));
        return {times(m[0], of_larger(student_hi, teacher_hi), of_larger(student_lo, teacher_lo)),
                of_larger(zero - w, w), of_larger(student_larger, teacher_larger)};
    }

    // The sum of the parts of all classes, and that of t - s.
    SMX_INLINE void add_up(const Real* x, const Real* y, std::size_t n, double_word<double>& divergence,
                           double_word<double>& excess) const {
        constexpr std::size_t w = M::width, lanes = M::lanes;
        tally<M> relative, difference;
        for (std::size_t i = 0; i < n; i += lanes) {
            const std::size_t at = n - i < lanes ? n - lanes : i, seen = i - at;
            SMX_UNROLL for (std::size_t h = 0; h < M::parts; ++h) {
                const parts all = compare(load<P>(x + at + h * w), load<P>(y + at + h * w));
                P more = opaque(all.larger * all.relative), less = opaque(all.larger * all.difference);
                if (seen != 0) [[unlikely]] {
                    more = lanes_from(seen, h * w, more);
                    less = lanes_from(seen, h * w, less);
                }
                relative.add(more, static_cast<int>(h));
                difference.add(less, static_cast<int>(h));
            }
        }
        divergence = relative.total();
        excess = difference.total();
    }

    // out = (s - t) times the factor of normalize().
    SMX_INLINE void write(const Real* x, const Real* y, Real* out, std::size_t n) const {
        constexpr std::size_t w = M::width;
        const auto result = [&](std::size_t i) SMX_LAMBDA_INLINE {
            const parts all = compare(load<P>(x + i), load<P>(y + i));
            return all.larger * (P{} - all.difference);
        };
        const P last = result(n - w); // before a store reaches it
        std::size_t i = 0;
        for (; i + w <= n; i += w) {
            store(out + i, result(i));
        }
        if (i < n) {
            store(out + n - w, last);
        }
    }

    // A pair of at least a logical vector; gradient: or null. False, with nothing written, for an unusual pair.
    SMX_INLINE bool run(const divergence_rule<Real>& rule, const Real* x, const Real* y, Real* gradient,
                        std::size_t n, double& loss) {
        Real* const nowhere = nullptr;
        const row_sum<Real> student = sum<M, false>(x, nowhere, n, scale, 0);
        const row_sum<Real> teacher = sum<M, false>(y, nowhere, n, scale, 0);
        const Real most = scale.template largest<P>();
        if (!(magnitude(student.maximum) <= most && magnitude(teacher.maximum) <= most)) {
            return false;
        }
        const double t = scale.temperature;
        const double_word<double> apart = distance_of_sums(student, teacher, t);
        refer_to_both(student.maximum, teacher.maximum);
        normalize(1, student, teacher);
        set_apart(apart);
        double_word<double> divergence, excess;
        add_up(x, y, n, divergence, excess);
        const double k = excess.hi + excess.lo;
        const double result = (divergence.hi - product(0.5 * k, k)) + divergence.lo;
        if (!(magnitude(divergence.hi) <= (std::numeric_limits<double>::max)())) {
            return false;
        }
        loss = product(product(result > 0 ? result : 0, t), t);
        if (gradient != nullptr) {
            const double_word<double> corrected = exact_sum(apart.hi, product(t, k));
            set_apart({corrected.hi, corrected.lo + apart.lo});
            normalize(rule.factor, student, teacher);
            write(x, y, gradient, n);
        }
        return true;
    }

private:
    // T (logsumexp(y / T) - logsumexp(x / T)). The divergence is off by as much of itself as this is off by of T: the logarithms of
    // long rows are large, and rounded they cost 8.5 ulp.
    SMX_INLINE static double_word<double> distance_of_sums(const row_sum<Real>& student,
                                                           const row_sum<Real>& teacher, double t) {
        const auto log = [](const row_sum<Real>& s, D& k) SMX_LAMBDA_INLINE {
            D rest;
            const D u = others_over_top(lanes_of_sum<D>(s), rest);
            return log_of_one_plus(u, rest, k);
        };
        D of_student, of_teacher, lost;
        const D less = log(student, of_student), more = log(teacher, of_teacher);
        const D factor = splat<D>(t), high = opaque((of_teacher - of_student) * splat<D>(upper_ln2));
        const D logs = exact_sum(high, more - less, lost), all = opaque(factor * logs);
        const double rest = multiply_add(factor, lost, product_error(factor, logs, all)).v[0];
        const double_word<double> maxima =
            exact_sum(static_cast<double>(teacher.maximum), -static_cast<double>(student.maximum));
        const double_word<double> both = exact_sum(maxima.hi, all.v[0]);
        return {both.hi, both.lo + (maxima.lo + rest)};
    }
    SMX_INLINE static void split(const double_word<double>& f, P& hi, P& lo) {
        const Real h = static_cast<Real>(f.hi);
        hi = splat<P>(h);
        lo = splat<P>(static_cast<Real>((f.hi - static_cast<double>(h)) + f.lo));
    }
    // Differences of floats are exact in double where it counts; a product with the rounded 1 / T is near enough.
    template <class H>
    SMX_INLINE H log_ratio_of_floats(const H& x, const H& y) const {
        const D from = convert<double>(x), to = convert<double>(y);
        const D far = where_equal(from, to, D{}, to - from);
        return convert<Real>(((far - apart_hi) - apart_lo) * inverse);
    }
};

struct divergences {
    template <class M, class Real>
    SMX_INLINE static void run(const divergence_rule<Real>* rule, const divergence_pairs<Real>* pairs) {
        const std::size_t n = rule->classes;
        const bool padded = n < std::size_t(M::lanes);
        for (std::size_t r = 0; r < pairs->count; ++r) {
            const Real *const x = pairs->student + r * n, *const y = pairs->teacher + r * n;
            Real* const gradient = pairs->gradient != nullptr ? pairs->gradient + r * n : nullptr;
            divergence_row<M> row(rule->scale);
            // Logits of -inf in both rows add nothing.
            padded_row<M> student(x, padded ? n : 0), teacher(y, padded ? n : 0);
            const bool writes = gradient != nullptr;
            pairs->done[r] = row.run(*rule, padded ? student.logit : x, padded ? teacher.logit : y,
                                     padded && writes ? student.result : gradient,
                                     padded ? std::size_t(M::lanes) : n, pairs->losses[r]);
            student.write(gradient, padded && writes && pairs->done[r] ? n : 0);
        }
    }
};

} // namespace smx::inline SMX_ABI::detail

#endif
