// Short rows in chunks of a logical vector: the last one is moved back to the end of the row, and what it then sees again
// is not its own. A row shorter than a chunk is one. Leans on rows.hpp.
#ifndef SMX_DETAIL_CHUNKS_HPP
#define SMX_DETAIL_CHUNKS_HPP

#include "rows.hpp"

namespace smx::inline SMX_ABI::detail {

// Starts at `at`; its own are the lanes in [seen, inside).
struct chunk {
    std::size_t at, seen, inside;
    bool is_last;
};
template <class M>
SMX_INLINE chunk chunk_at(std::size_t i, std::size_t n) {
    constexpr std::size_t lanes = M::lanes;
    if (n < lanes) {
        return {0, 0, n, true};
    }
    const bool last = i + lanes >= n;
    return {last ? n - lanes : i, last ? i + lanes - n : 0, lanes, last};
}

// How many of the first n lanes of a chunk are in part h.
template <class M>
SMX_INLINE std::size_t lanes_in_part(std::size_t n, std::size_t h) {
    const std::size_t w = M::width, first = h * w;
    return n <= first ? 0 : n - first < w ? n - first : w;
}

// What lies beyond a row is -inf, whose term is 0.
template <class M, class Real = typename M::real>
SMX_INLINE void load_logits(const Real* x, const chunk& c, typename M::vector (&v)[M::parts]) {
    using V = typename M::vector;
    constexpr std::size_t w = M::width, lanes = M::lanes;
    const V none = splat<V>(no_logit<Real>);
    SMX_UNROLL for (std::size_t h = 0; h < M::parts; ++h) {
        v[h] = c.inside == lanes ? load<V>(x + c.at + h * w)
                                 : load_below(x + h * w, lanes_in_part<M>(c.inside, h), none);
    }
}

// The same, and -inf in the lanes that are not its own.
template <class M, class Real = typename M::real>
SMX_INLINE void load_own_logits(const Real* x, const chunk& c, typename M::vector (&v)[M::parts]) {
    using V = typename M::vector;
    load_logits<M>(x, c, v);
    SMX_UNROLL for (std::size_t h = 0; h < M::parts; ++h) {
        v[h] = lanes_below(lanes_in_part<M>(c.seen, h), splat<V>(no_logit<Real>), v[h]);
    }
}

// The last chunk of a row of n, or the row where it is shorter.
template <class M, class Real = typename M::real>
SMX_INLINE void store_results(Real* y, std::size_t n, const typename M::vector (&v)[M::parts]) {
    constexpr std::size_t w = M::width, lanes = M::lanes;
    SMX_UNROLL for (std::size_t h = 0; h < M::parts; ++h) {
        if (n >= lanes) {
            store(y + (n - lanes) + h * w, v[h]);
        } else {
            store_below(y + h * w, lanes_in_part<M>(n, h), v[h]);
        }
    }
}

// Adds what is its own.
template <class M>
SMX_INLINE void add_chunk(tally<M>& sum, const chunk& c, const typename M::vector (&v)[M::parts]) {
    using V = typename M::vector;
    constexpr std::size_t w = M::width, lanes = M::lanes;
    SMX_UNROLL for (std::size_t h = 0; h < M::parts; ++h) {
        sum.add(!c.is_last          ? v[h]
                : c.inside == lanes ? lanes_from(c.seen, h * w, v[h])
                                    : lanes_below(lanes_in_part<M>(c.inside, h), v[h], V{}),
                int(h));
    }
}

// The longest of the rows that are done in registers where they are alone: two chunks.
template <class Real>
inline constexpr std::size_t most_in_registers = 2 * std::size_t(format<Real>::lanes);

// A row of at most Chunks chunks, and of more than one less, in registers: without loops, without memory.
template <class M, int Chunks>
struct row_in_registers {
    using V = typename M::vector;
    using Real = typename M::real;
    static constexpr std::size_t w = M::width, lanes = M::lanes;
    static constexpr int vectors = Chunks * M::parts;
    static_assert(Chunks == 1 || Chunks == 2);
    V v[vectors];

    SMX_INLINE void load_logits_of(const Real* x, std::size_t n) {
        if constexpr (Chunks == 1) {
            load_logits<M>(x, {0, 0, n, true}, v);
        } else {
            SMX_UNROLL for (std::size_t h = 0; h < M::parts; ++h) {
                v[h] = load<V>(x + h * w);
                v[M::parts + h] = load<V>(x + (n - lanes) + h * w);
            }
        }
    }
    SMX_INLINE V largest() const {
        V all = v[0];
        SMX_UNROLL for (int k = 1; k < vectors; ++k) all = larger(v[k], all);
        return all;
    }
    // What the second chunk sees again counts once.
    SMX_INLINE double_word<double> sum(std::size_t n) const {
        tally<M> all;
        SMX_UNROLL for (int h = 0; h < M::parts; ++h) all.start(v[h], h);
        if constexpr (Chunks == 2) {
            SMX_UNROLL for (int h = 0; h < M::parts; ++h) {
                all.add(lanes_from(2 * lanes - n, std::size_t(h) * w, v[M::parts + h]), h);
            }
        }
        return all.total();
    }
    SMX_INLINE void store_to(Real* y, std::size_t n) const {
        if constexpr (Chunks == 1) {
            store_results<M>(y, n, v);
        } else {
            SMX_UNROLL for (std::size_t h = 0; h < M::parts; ++h) store(y + h * w, v[h]);
            SMX_UNROLL for (std::size_t h = 0; h < M::parts; ++h) {
                store(y + (n - lanes) + h * w, v[M::parts + h]);
            }
        }
    }
};

// The largest of a row of n; NaN is passed over. What follows it, up to `readable`, may be read as well.
template <class M, class Real = typename M::real>
SMX_INLINE Real maximum_of_chunks(const Real* x, std::size_t n, std::size_t readable) {
    using V = typename M::vector;
    constexpr std::size_t w = M::width, lanes = M::lanes;
    const V none = splat<V>(no_logit<Real>);
    V a[4] = {none, none, none, none};
    std::size_t i = 0;
    for (; i + 4 * w <= n; i += 4 * w) {
        SMX_UNROLL for (std::size_t k = 0; k < 4; ++k) a[k] = larger(load<V>(x + i + k * w), a[k]);
    }
    for (; i + w <= n; i += w) {
        a[0] = larger(load<V>(x + i), a[0]);
    }
    if (i < n) {
        a[1] = larger(i != 0              ? load<V>(x + n - w) // looks back: what is there was seen before
                      : lanes <= readable ? lanes_below(n, load<V>(x), none)
                                          : load_below(x, n, none),
                      a[1]);
    }
    return largest_lane(larger(larger(a[0], a[1]), larger(a[2], a[3])));
}

} // namespace smx::inline SMX_ABI::detail

#endif
