// Short rows of floats side by side: a row in each lane, class after class. Nothing is done once for each row, as it is in
// short_sums.hpp, and rows of an inner axis stand like this in memory. The bits are those of the rows alone: a term does not
// depend on where it is computed, and they are added in the same order. Leans on short_logs.hpp and transposition.hpp.
#ifndef SMX_DETAIL_COLUMNS_HPP
#define SMX_DETAIL_COLUMNS_HPP

#include "short_logs.hpp"
#include "transposition.hpp"

namespace smx::inline SMX_ABI::detail {

// Where rows get too long for their terms to stay in L1.
inline constexpr std::size_t longest_column = 64;

// As many doubles as lanes of a vector of floats.
template <class M>
struct wide_vector {
    using D = typename M::wide;
    D part[2];

    SMX_INLINE wide_vector() = default;
    SMX_INLINE explicit wide_vector(const typename M::vector& v) {
        const auto h = halved(v);
        part[0] = convert<double>(h.low);
        part[1] = convert<double>(h.high);
    }
    SMX_INLINE void add(const wide_vector& other) {
        part[0] = part[0] + other.part[0];
        part[1] = part[1] + other.part[1];
    }
};

// What a tally of the row makes of its terms, which stand `apart` from each other: lane l of a logical vector has every lanes-th
// of them, the last chunk is moved back to the end of the row, and the lanes are added in halves. Chunks: whether there are more
// than one.
template <class M, bool Chunks, int Lane = 0, int Step = 1>
SMX_INLINE void add_lanes(const float* term, std::size_t apart, std::size_t n, wide_vector<M>& all) {
    using V = typename M::vector;
    constexpr std::size_t lanes = M::lanes;
    if constexpr (Step == M::lanes) {
        all = wide_vector<M>(load<V>(term + Lane * apart));
        if constexpr (Chunks) {
            const std::size_t last = (n - 1) / lanes * lanes, in_last = n - lanes + Lane;
            for (std::size_t c = Lane + lanes; c < last; c += lanes) {
                all.add(wide_vector<M>(load<V>(term + c * apart)));
            }
            if (in_last >= last) {
                all.add(wide_vector<M>(load<V>(term + in_last * apart)));
            }
        }
    } else {
        add_lanes<M, Chunks, Lane, 2 * Step>(term, apart, n, all);
        if (Chunks || Lane + Step < n) {
            wide_vector<M> more;
            add_lanes<M, Chunks, Lane + Step, 2 * Step>(term, apart, n, more);
            all.add(more);
        }
    }
}
// A function of its own: inlined wherever it is needed, it is half of the time to compile these kernels.
struct add_columns {
    template <class M, class Real>
    SMX_INLINE static void run(const Real* term, std::size_t apart, std::size_t n, wide_vector<M>* sums) {
        if (n <= std::size_t(M::lanes)) {
            add_lanes<M, false>(term, apart, n, *sums);
        } else {
            add_lanes<M, true>(term, apart, n, *sums);
        }
    }
};

// Up to `width` rows of n neighbours to columns: class c of them at to + c Apart; rows that there are none of are 0.
template <class M, std::size_t Apart, class Real = typename M::real>
SMX_INLINE void rows_to_columns(const Real* x, std::size_t n, std::size_t count, Real* to) {
    using V = typename M::vector;
    constexpr std::size_t w = M::width;
    for (std::size_t j = 0; j < n; j += w) {
        const std::size_t at = j + w <= n || n < w ? j : n - w;
        V v[w];
        SMX_UNROLL for (std::size_t k = 0; k < w; ++k) {
            const Real* const from = x + k * n + at;
            v[k] = k >= count                    ? V{}
                   : k * n + at + w <= count * n ? load<V>(from)
                                                 : load_below(from, n - at, V{});
        }
        transpose(v);
        SMX_UNROLL for (std::size_t c = 0; c < w; ++c) {
            if (at + c < n) {
                store(to + (at + c) * Apart, v[c]);
            }
        }
    }
}
// And back.
template <class M, std::size_t Apart, class Real = typename M::real>
SMX_INLINE void columns_to_rows(const Real* from, std::size_t n, std::size_t count, Real* y) {
    using V = typename M::vector;
    constexpr std::size_t w = M::width;
    for (std::size_t j = 0; j < n; j += w) {
        const std::size_t at = j + w <= n || n < w ? j : n - w;
        V v[w];
        SMX_UNROLL for (std::size_t c = 0; c < w; ++c) v[c] =
            load<V>(from + (at + c < n ? at + c : 0) * Apart);
        transpose(v);
        for (std::size_t k = 0; k < count; ++k) { // what a row writes behind itself the next one writes over
            Real* const to = y + k * n + at;
            if (k * n + at + w <= count * n) {
                store(to, v[k]);
            } else {
                store_below(to, n - at, v[k]);
            }
        }
    }
}

// Whether `yes` holds in any lane: lanes are 1 where it does, else 0.
template <class D>
SMX_INLINE bool any_lane(const D& yes) {
    return sum_of_lanes(yes) != 0;
}

// What is known of a vector of rows where their maxima stay out of the sums: as precise_sum finds it. Class c at x + c element.
template <class M>
struct precise_columns {
    using Real = typename M::real;
    using V = typename M::vector;
    wide_vector<M> top, tops, rest;

    SMX_INLINE precise_columns(const Real* x, std::ptrdiff_t element, std::size_t n, const V& maximum,
                               const base2_scale<Real>& c) {
        constexpr std::size_t w = M::width;
        alignas(64) Real term[longest_column * w];
        const V one = splat<V>(1);
        row_reference<V> q;
        refer(c, maximum, q);
        V found = V{};
        for (std::size_t k = 0; k < n; ++k) {
            const V logit = load<V>(x);
            V v[1] = {logit};
            exponentials(v, &q);
            const V is_top = opaque(where_equal(logit, maximum, one, V{}));
            found = found + is_top;
            store(term + k * w, v[0] * (one - is_top)); // exact
            x += element;
        }
        run_apart<M, add_columns>(static_cast<const Real*>(term), w, n, &rest);
        V of_maximum[1] = {maximum};
        exponentials(of_maximum, &q);
        top = wide_vector<M>(of_maximum[0]);
        tops = wide_vector<M>(found);
    }
    SMX_INLINE sum_lanes<typename M::wide> part(int k) const {
        return {top.part[k], tops.part[k], rest.part[k], typename M::wide{}};
    }
};

// What the terms of some vectors of rows refer to: all to 0, or each row to its own maximum.
template <class V, int Vectors>
SMX_INLINE void column_terms(V (&v)[Vectors], const zero_reference<V>& q) {
    short_terms(v, q);
}
template <class V, int Vectors>
struct own_references {
    row_reference<V> of[Vectors];

    // False if a maximum is too large for one.
    SMX_INLINE bool refer_to(const V (&maximum)[Vectors], const base2_scale<typename V::real>& c) {
        const V most = splat<V>(c.template largest<V>()), one = splat<V>(1);
        V beyond = V{};
        SMX_UNROLL for (int k = 0; k < Vectors; ++k) {
            const V size = larger(maximum[k], V{} - maximum[k]);
            beyond = beyond + opaque(where_equal(opaque(smaller(size, most)), size, V{}, one));
            refer(c, maximum[k], of[k]);
        }
        return !any_lane(beyond);
    }
};
template <class V, int Vectors>
SMX_INLINE void column_terms(V (&v)[Vectors], const own_references<V, Vectors>& q) {
    exponentials<1>(v, q.of);
}

// Some vectors of rows. What is computed for one vector of them does not wait for what is computed for another.
template <class M, int Vectors>
struct column_block {
    using Real = typename M::real;
    using V = typename M::vector;
    using D = typename M::wide;
    using wide = wide_vector<M>;
    static constexpr std::size_t w = M::width, rows = Vectors * w;
    V maximum[Vectors];
    wide sums[Vectors];

    // Class c of the rows at x + c element; its terms to term + c rows. see(k, index, logits): the k-th vector of a class, its
    // index in every lane. False if a row is unusual at this reference, or has NaN.
    template <class Reference, class See>
    SMX_INLINE bool add_up(const Real* x, std::ptrdiff_t element, std::size_t n, const Reference& q,
                           const sum_range& usual, Real* term, See see) {
        const V one = splat<V>(1), none = splat<V>(no_logit<Real>);
        V index = V{}, m[Vectors];
        SMX_UNROLL for (int k = 0; k < Vectors; ++k) m[k] = none;
        for (std::size_t c = 0; c < n; ++c) {
            V v[Vectors];
            SMX_UNROLL for (int k = 0; k < Vectors; ++k) v[k] = load<V>(x + std::size_t(k) * w);
            SMX_UNROLL for (int k = 0; k < Vectors; ++k) SMX_PREFETCH(x + rows + std::size_t(k) * w);
            SMX_UNROLL for (int k = 0; k < Vectors; ++k) m[k] = larger(v[k], m[k]);
            SMX_UNROLL for (int k = 0; k < Vectors; ++k) see(k, index, v[k]);
            column_terms(v, q);
            SMX_UNROLL for (int k = 0; k < Vectors; ++k) store(term + c * rows + std::size_t(k) * w, v[k]);
            index = index + one;
            x += element;
        }
        SMX_UNROLL for (int k = 0; k < Vectors; ++k) maximum[k] = m[k];
        for (int k = 0; k < Vectors; ++k) {
            run_apart<M, add_columns>(static_cast<const Real*>(term) + std::size_t(k) * w, rows, n, &sums[k]);
        }
        return is_usual(usual);
    }

private:
    // NaN is not.
    SMX_INLINE bool is_usual(const sum_range& usual) const {
        const D least = splat<D>(usual.least), most = splat<D>(usual.most), one = splat<D>(1.0);
        D outside = D{};
        SMX_UNROLL for (int k = 0; k < 2 * Vectors; ++k) {
            const D& s = sums[k / 2].part[k % 2];
            outside = outside + opaque(where_equal(opaque(larger(least, smaller(most, s))), s, D{}, one));
        }
        return !any_lane(outside);
    }
};

} // namespace smx::inline SMX_ABI::detail

#endif
