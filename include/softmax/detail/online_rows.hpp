// Kernels of rows of float or double that arrive in pieces: values and ranges pushed into a partial_sum, states merged, and what
// they are asked for. A kernel that returns false has done nothing: some maximum is beyond the fast range, and the generic
// code has to do it. Leans on dispatch.hpp.
#ifndef SMX_DETAIL_ONLINE_ROWS_HPP
#define SMX_DETAIL_ONLINE_ROWS_HPP

#include "dispatch.hpp"
#include "generic_online.hpp"

namespace smx::inline SMX_ABI::detail {

template <class Real>
SMX_INLINE bool is_empty(const partial_sum<Real>& s) {
    return is_infinite(s.top_logit) && s.top_logit < 0;
}

template <class M, class Real = typename M::real>
SMX_INLINE bool is_fast_maximum(Real maximum, const base2_scale<Real>& c) {
    return !c.scaled && magnitude(maximum) <= c.template largest<typename M::vector>();
}

// A state between what is stored and a reference q of its maximum on this machine.
template <class M>
struct referred_sum {
    using P = typename M::vector;
    using D = typename M::wide;
    using Real = typename M::real;
    row_sum<Real> sum;
    row_reference<P> q;

    double number() const { return static_cast<double>(number_of(q)); }

    SMX_INLINE bool load(const partial_sum<Real>& s, const base2_scale<Real>& c) {
        if (!is_fast_maximum<M>(s.top_logit, c)) {
            return false;
        }
        const auto rest = rest_of(s);
        sum = {s.top_logit, refer_to(s.top_logit, c, q), 1, rest};
        const bool referred = s.reference != partial_sum<Real>::none;
        const double factor = referred ? power_of_two(static_cast<double>(s.reference) - number()) : sum.top;
        const double hi = product(rest.hi, factor);
        const double error = product_error(splat<D>(rest.hi), splat<D>(factor), splat<D>(hi)).v[0];
        sum.rest = {hi, error + product(rest.lo, factor)};
        return true;
    }

    // Adds the maxima but one to the rest, exactly.
    SMX_INLINE void collapse() {
        const double others = sum.tops - 1, p = product(others, sum.top);
        const double error = product_error(splat<D>(others), splat<D>(sum.top), splat<D>(p)).v[0];
        add_part(sum, {p, error}, -others);
    }
    SMX_INLINE void store(partial_sum<Real>& s) const {
        set_rest(s, sum.rest);
        s.top_logit = sum.maximum;
        s.reference = static_cast<typename partial_sum<Real>::number>(number());
    }

    // Of a maximum that is no larger.
    SMX_INLINE void add_lower(const referred_sum& other) {
        row_sum<Real> s = other.sum;
        raise_maximum(s, sum.maximum, sum.top, other.number() - number());
        add_part(sum, s.rest, 0);
    }
};

template <class M, class Real = typename M::real>
SMX_INLINE void store_both(referred_sum<M>& a, referred_sum<M>& b, partial_sum<Real>& s) {
    if (b.sum.maximum > a.sum.maximum) {
        b.add_lower(a);
        b.store(s);
    } else {
        a.add_lower(b);
        a.store(s);
    }
}

// One value.
struct push_one {
    template <class M, class Real>
    SMX_INLINE static bool run(partial_sum<Real>* s, Real x, const base2_scale<Real>* c) {
        using P = typename M::vector;
        using number = typename partial_sum<Real>::number;
        const bool raises = !(x <= s->top_logit), first = is_empty(*s);
        if (!is_fast_maximum<M>(raises ? x : s->top_logit, *c) ||
            (!first && s->reference == partial_sum<Real>::none) ||
            (raises && !first && !is_fast_maximum<M>(s->top_logit, *c))) {
            return false;
        }
        row_reference<P> q;
        auto rest = rest_of(*s);
        if (!first) { // the term of x, or of the maximum that it takes the place of
            P t[1] = {splat<P>(raises ? s->top_logit : x)};
            refer_by(*c, splat<P>(static_cast<Real>(s->reference)), q);
            exponentials(t, &q);
            const double_word<double> sum = exact_sum(rest.hi, static_cast<double>(t[0].v[0]));
            rest = {sum.hi, sum.lo + rest.lo};
        }
        if (raises) {
            refer(*c, splat<P>(x), q);
            const Real n = number_of(q);
            const double down =
                power_of_two(first ? 0 : static_cast<double>(s->reference) - static_cast<double>(n));
            rest = {product(rest.hi, down), product(rest.lo, down)};
            s->top_logit = x;
            s->reference = static_cast<number>(n);
        }
        set_rest(*s, rest);
        return true;
    }
};

// The sum of a row on its own. False, with a sum without a reference, if the maximum is not in the fast range.
template <class M, class Real = typename M::real>
SMX_INLINE bool sum_of_row(const Real* x, std::size_t n, const base2_scale<Real>& c, referred_sum<M>& part,
                           partial_sum<Real>& slow) {
    using P = typename M::vector;
    const bool padded = n < std::size_t(M::lanes);
    const padded_row<M> p(x, padded ? n : 0);
    Real* const nowhere = nullptr;
    part.sum = sum<M, false>(padded ? p.logit : x, nowhere, padded ? M::lanes : n, c, 0);
    const Real m = part.sum.maximum;
    const bool undefined = is_infinite(m) ? has_nan(x, n) : part.sum.rest.hi != part.sum.rest.hi;
    if (undefined || is_infinite(m)) {
        slow = partial_sum<Real>(undefined ? std::numeric_limits<Real>::quiet_NaN() : m);
        return false;
    }
    if (!is_fast_maximum<M>(m, c)) {
        slow = partial_sum<Real>(m);
        set_rest(slow, others_over_top<M>(part.sum));
        return false;
    }
    refer(c, splat<P>(m), part.q);
    part.collapse();
    return true;
}

// A row of neighbours. False, with its sum in *part, if the two are not to be added here.
struct push_row {
    template <class M, class Real>
    SMX_INLINE static bool run(partial_sum<Real>* s, const Real* x, std::size_t n, const base2_scale<Real>* c,
                               partial_sum<Real>* part) {
        referred_sum<M> own, before;
        if (!sum_of_row<M>(x, n, *c, own, *part)) {
            return false;
        }
        if (is_empty(*s)) {
            own.store(*s);
        } else if (before.load(*s, *c)) {
            store_both(before, own, *s);
        } else {
            own.store(*part);
            return false;
        }
        return true;
    }
};

struct merge_sums {
    template <class M, class Real>
    SMX_INLINE static bool run(partial_sum<Real>* s, const partial_sum<Real>* part,
                               const base2_scale<Real>* c) {
        referred_sum<M> a, b;
        if (!a.load(*s, *c) || !b.load(*part, *c)) {
            return false;
        }
        store_both(a, b, *s);
        return true;
    }
};

// Takes the reference off.
struct centre_sum {
    template <class M, class Real>
    SMX_INLINE static void run(partial_sum<Real>* s, const base2_scale<Real>* c) {
        referred_sum<M> a;
        if (s->reference != partial_sum<Real>::none && a.load(*s, *c)) {
            set_rest(*s, others_over_top<M>(a.sum));
            s->reference = partial_sum<Real>::none;
        }
    }
};

struct logsumexp_of_sum {
    template <class M, class Real>
    SMX_INLINE static bool run(const partial_sum<Real>* s, const base2_scale<Real>* c, Real* result) {
        referred_sum<M> a;
        if (!a.load(*s, *c)) {
            return false;
        }
        *result = logsumexp_operation::assemble<M>(s->top_logit, log_of_sum<M>(a.sum), *c);
        return true;
    }
};

// y = probabilities of x, of which none is above the maximum; y may be x.
struct normalize_row {
    template <class M, class Real>
    SMX_INLINE static bool run(const partial_sum<Real>* s, const Real* x, Real* y, std::size_t n,
                               const base2_scale<Real>* c) {
        const bool padded = n < std::size_t(M::lanes);
        referred_sum<M> a;
        padded_row<M> p(x, padded ? n : 0);
        const Real* const from = padded ? p.logit : x;
        const std::size_t size = padded ? M::lanes : n;
        std::size_t place;
        if (!a.load(*s, *c) || largest<M>(from, size, place) > s->top_logit) {
            return false;
        }
        write_scaled_terms<M>(from, padded ? p.result : y, size, *c, s->top_logit, quotient<M>(1.0, a.sum),
                              Real(1));
        p.write(y, padded ? n : 0);
        return true;
    }
};

// The sum of part over that of s.
struct share_of_sum {
    template <class M, class Real>
    SMX_INLINE static bool run(const partial_sum<Real>* s, const partial_sum<Real>* part,
                               const base2_scale<Real>* c, Real* result) {
        referred_sum<M> a, b;
        if (!a.load(*s, *c) || !b.load(*part, *c) || b.sum.maximum > a.sum.maximum) {
            return false;
        }
        const double_word<double> own = exact_sum(b.sum.top, b.sum.rest.hi);
        const double_word<double> share = quotient<M>(own.hi + (own.lo + b.sum.rest.lo), a.sum);
        *result = static_cast<Real>(product(share.hi + share.lo, power_of_two(b.number() - a.number())));
        return true;
    }
};

} // namespace smx::inline SMX_ABI::detail

#endif
