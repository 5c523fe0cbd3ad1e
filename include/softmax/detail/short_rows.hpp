// Softmax of short rows of float, up to 4 logical vectors, several rows at a time in phases: alone, one row's
// chain of dependent steps (maximum, exponential, sum, division) would bind. A row comes out the same alone
// and in any batch. Measured, ns per element, one at a time / in phases: 4096x10 5.1 / 0.95 (AVX-512) and 3.8
// / 1.17 (AVX2), 4096x64 0.73 / 0.41 and 1.15 / 0.49. Leans on operations.hpp.
#ifndef SMX_DETAIL_SHORT_ROWS_HPP
#define SMX_DETAIL_SHORT_ROWS_HPP

#include "operations.hpp"

namespace smx::inline SMX_ABI::detail {

// Copies n numbers with whole vectors, the last one moved back to the end.
template <class P, class Real>
SMX_INLINE void copy_row(const Real* from, Real* to, std::size_t n) {
    constexpr std::size_t w = P::width;
    if (n < w) {
        for (std::size_t i = 0; i < n; ++i) {
            to[i] = from[i];
        }
        return;
    }
    for (std::size_t i = 0; i + w < n; i += w) {
        store(to + i, load<P>(from + i));
    }
    store(to + n - w, load<P>(from + n - w));
}

// Up to `width` rows of n logits, V vectors each (V a power of two), read in full before the first write. The
// terms are added in double, lane by lane, then in halves: no maximum needs to stay out of so short a sum.
// False, with nothing written, if a maximum is beyond the fast range.
template <class M, int V>
struct short_group {
    using P = typename M::vector;
    using Real = typename M::real;
    static constexpr std::size_t rows = M::width, w = M::width, stride = V * M::width;
    alignas(64) Real term[rows * stride];
    alignas(64) Real maximum[rows], magic[rows], lowest[rows], hi[rows], lo[rows];
    alignas(64) double sum[rows];

    SMX_INLINE bool maxima(const Real* x, std::size_t count, std::size_t n, std::size_t readable,
                           Real limit) {
        const P none = splat<P>(-std::numeric_limits<Real>::infinity());
        const bool over =
            (count - 1) * n + stride <= readable; // whole vectors may reach into the rows that follow
        bool usual = true;
        for (std::size_t r = 0; r < count; ++r) {
            Real* const row = term + r * stride;
            if (!over) {
                SMX_UNROLL for (std::size_t k = 0; k < V; ++k) store(row + k * w, none);
                copy_row<P>(x + r * n, row, n);
            }
            P m = none;
            SMX_UNROLL for (std::size_t k = 0; k < V; ++k) {
                P v = load<P>(over ? x + r * n + k * w : row + k * w);
                const std::size_t inside = n > k * w ? n - k * w : 0;
                v = lanes_below(inside < w ? inside : w, v, none);
                store(row + k * w, v);
                m = larger(v, m);
            }
            maximum[r] = largest_lane(m);
            usual = usual && magnitude(maximum[r]) <= limit;
        }
        return usual;
    }

    SMX_INLINE void terms(std::size_t count, const base2_scale<Real>& c) {
        const row_reference<P> all = refer(c, load<P>(maximum));
        store(magic, all.magic);
        store(lowest, all.lowest);
        constexpr std::size_t together = V < 4 ? 4 / V : 1; // rows done at once: 4 vectors are in flight
        for (std::size_t r = 0; r < count; r += together) {
            tally<M> sums[together];
            SMX_UNROLL for (std::size_t j = 0; j < V; j += 4) {
                P v[4];
                row_reference<P> q[4];
                SMX_UNROLL for (std::size_t k = 0; k < 4; ++k) {
                    const std::size_t row = r + k / V;
                    v[k] = load<P>(term + r * stride + (j + k) * w);
                    q[k] = all;
                    q[k].magic = splat<P>(magic[row]);
                    q[k].lowest = splat<P>(lowest[row]);
                }
                exponentials<1>(v, q);
                SMX_UNROLL for (std::size_t k = 0; k < 4; ++k) {
                    store(term + r * stride + (j + k) * w, v[k]);
                    sums[k / V].add(v[k], static_cast<int>((j + k) % V) % M::parts);
                }
            }
            SMX_UNROLL for (std::size_t k = 0; k < together; ++k) sum[r + k] = sums[k].total().hi;
        }
    }

    SMX_INLINE void invert() {
        using D = typename M::wide;
        SMX_UNROLL for (std::size_t r = 0; r < rows; r += D::width) {
            const D q = splat<D>(1) / load<D>(sum + r);
            const auto h = convert<Real>(q);
            store(hi + r, h);
            store(lo + r, convert<Real>(q - convert<double>(h)));
        }
    }

    // Whole vectors run over into the next row, which is written after; where there is none, through the
    // buffer.
    SMX_INLINE void write(Real* y, std::size_t count, std::size_t n) {
        for (std::size_t r = 0; r < count; ++r) {
            const P h = splat<P>(hi[r]), l = splat<P>(lo[r]);
            const bool over = r * n + stride <= count * n;
            Real* const to = over ? y + r * n : term + r * stride;
            SMX_UNROLL for (std::size_t k = 0; k < V; ++k) {
                store(to + k * w, times(load<P>(term + r * stride + k * w), h, l));
            }
            if (!over) {
                copy_row<P>(term + r * stride, y + r * n, n);
            }
        }
    }

    SMX_INLINE bool run(const Real* x, Real* y, std::size_t count, std::size_t n, std::size_t readable,
                        const base2_scale<Real>& c) {
        for (std::size_t r = 0; r < rows; r += w) {
            store(maximum + r, P{});
        }
        if (!maxima(x, count, n, readable, c.template largest<P>())) {
            return false;
        }
        for (std::size_t r = count; r < rows; ++r) {
            sum[r] = 1;
        }
        terms(count, c);
        invert();
        write(y, count, n);
        return true;
    }
};

// One row: the same steps without the arrays, whose stores a lone row would wait for.
template <class M, int V, class Real = typename M::real>
SMX_INLINE bool softmax_short_row(const Real* x, Real* y, std::size_t n, const base2_scale<Real>& c) {
    using P = typename M::vector;
    using D = typename M::wide;
    constexpr std::size_t w = M::width, together = V < 4 ? V : 4;
    Real row[V * w];
    const P none = splat<P>(-std::numeric_limits<Real>::infinity());
    const bool whole = n == V * w;
    if (!whole) {
        SMX_UNROLL for (std::size_t k = 0; k < V; ++k) store(row + k * w, none);
        copy_row<P>(x, row, n);
    }
    P v[V], m = none;
    SMX_UNROLL for (std::size_t k = 0; k < V; ++k) m = larger(v[k] = load<P>((whole ? x : row) + k * w), m);
    const Real maximum = largest_lane(m);
    if (!(magnitude(maximum) <= c.template largest<P>())) {
        return false;
    }
    const row_reference<P> q = refer(c, splat<P>(maximum));
    tally<M> sum;
    SMX_UNROLL for (std::size_t j = 0; j < V; j += together) {
        P t[together];
        SMX_UNROLL for (std::size_t k = 0; k < together; ++k) t[k] = v[j + k];
        exponentials(t, &q);
        SMX_UNROLL for (std::size_t k = 0; k < together; ++k) {
            v[j + k] = t[k];
            sum.add(t[k], static_cast<int>(j + k) % M::parts);
        }
    }
    const D inverse = splat<D>(1) / splat<D>(sum.total().hi);
    const auto h = convert<Real>(inverse), l = convert<Real>(inverse - convert<double>(h));
    const P hi = splat<P>(h.v[0]), lo = splat<P>(l.v[0]);
    SMX_UNROLL for (std::size_t k = 0; k < V; ++k) store((whole ? y : row) + k * w, times(v[k], hi, lo));
    if (!whole) {
        copy_row<P>(row, y, n);
    }
    return true;
}

template <class M, int V, class Real = typename M::real>
SMX_INLINE void softmax_short_rows(const Real* x, Real* y, std::size_t rows, std::size_t n,
                                   const base2_scale<Real>& c) {
    constexpr std::size_t most = short_group<M, V>::rows;
    std::size_t alone = c.scaled || rows < 3 ? rows : 0; // rows to be done one by one
    for (std::size_t r = 0; r < rows;) {
        if (alone == 0) {
            short_group<M, V> group;
            const std::size_t count = rows - r < most ? rows - r : most;
            if (group.run(x + r * n, y + r * n, count, n, (rows - r) * n, c)) [[likely]] {
                r += count;
            } else {
                alone = count;
            }
            continue;
        }
        if (c.scaled || !softmax_short_row<M, V>(x + r * n, y + r * n, n, c)) {
            const bool padded = n < std::size_t(M::lanes);
            padded_row<M> p(x + r * n, padded ? n : 0);
            softmax_operation::row<M>(padded ? p.logit : x + r * n, padded ? p.result : y + r * n,
                                      padded ? std::size_t(M::lanes) : n, c);
            p.write(y + r * n, padded ? n : 0);
        }
        --alone;
        ++r;
    }
}
struct map_short_rows {
    template <class M, class Real>
    SMX_INLINE static void run(const Real* x, Real* y, std::size_t rows, std::size_t n,
                               const base2_scale<Real>* c) {
        constexpr std::size_t w = M::width;
        if (n <= w) {
            softmax_short_rows<M, 1>(x, y, rows, n, *c);
        } else if (n <= 2 * w) {
            softmax_short_rows<M, 2>(x, y, rows, n, *c);
        } else if (n <= 4 * w) {
            softmax_short_rows<M, 4>(x, y, rows, n, *c);
        } else if constexpr (w < 16) {
            if (w == 8 || n <= 8 * w) {
                softmax_short_rows<M, 8>(x, y, rows, n, *c);
            } else if constexpr (w < 8) {
                softmax_short_rows<M, 16>(x, y, rows, n, *c);
            }
        }
    }
};

} // namespace smx::inline SMX_ABI::detail

#endif
