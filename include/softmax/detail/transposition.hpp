// Rows to columns and back, by square blocks in registers. Leans on instruction_set.hpp.
#ifndef SMX_DETAIL_TRANSPOSITION_HPP
#define SMX_DETAIL_TRANSPOSITION_HPP

#include "instruction_set.hpp"

#include <cstddef>
#include <utility>

namespace smx::inline SMX_ABI::detail {

#if SMX_VECTORS
// The lanes of a and b in the order of Index: from W on those of b.
template <class Index, class Real, int W, int... L>
SMX_INLINE pack<Real, W> shuffled(const pack<Real, W>& a, const pack<Real, W>& b,
                                  std::integer_sequence<int, L...>) {
    return {__builtin_shufflevector(a.v, b.v, Index::of(L)...)};
}

// In each 16 bytes the lower, or the upper, halves of a and b, lane by lane in turn.
template <class Real, int W, bool Upper>
struct interleaving {
    static constexpr int group = 16 / int(sizeof(Real));
    static constexpr int of(int l) {
        return l / group * group + (Upper ? group / 2 : 0) + l % group / 2 + (l % 2 != 0 ? W : 0);
    }
};
// The even, or the odd, 16 bytes of a, then those of b.
template <class Real, int W, bool Odd>
struct gathering {
    static constexpr int group = 16 / int(sizeof(Real)), half = W / 2;
    static constexpr int of(int l) {
        return l % half / group * 2 * group + (Odd ? group : 0) + l % group + (l < half ? 0 : W);
    }
};

// v[k] and v[k + Distance] become the pairs that Order makes of them.
template <template <class, int, bool> class Order, int Distance, class Real, int W>
SMX_INLINE void exchange(pack<Real, W> (&v)[W]) {
    using lanes = std::make_integer_sequence<int, W>;
    SMX_UNROLL for (int k = 0; k < W; ++k) {
        if ((k & Distance) == 0) {
            const pack<Real, W> a = v[k], b = v[k + Distance];
            v[k] = shuffled<Order<Real, W, false>>(a, b, lanes{});
            v[k + Distance] = shuffled<Order<Real, W, true>>(a, b, lanes{});
        }
    }
}

// Lane l of v[k] and lane k of v[l] change places, by one shuffle for each vector and each bit of a lane's number.
template <class Real, int W>
SMX_INLINE void transpose(pack<Real, W> (&v)[W]) {
    constexpr int group = interleaving<Real, W, false>::group;
    if constexpr (group == 4) {
        exchange<interleaving, 2>(v);
    }
    exchange<interleaving, 1>(v);
    if constexpr (W >= 2 * group) {
        exchange<gathering, group>(v);
    }
    if constexpr (W >= 4 * group) {
        exchange<gathering, 2 * group>(v);
    }
}
#else
template <class Real, int W>
SMX_INLINE void transpose(pack<Real, W> (&v)[W]) {
    for (int k = 0; k < W; ++k) {
        for (int l = 0; l < k; ++l) {
            const Real lane = v[k].v[l];
            v[k].v[l] = v[l].v[k];
            v[l].v[k] = lane;
        }
    }
}
#endif

// to[j to_line + i] = from[i from_line + j] for i < lines, j < length.
template <class Real>
struct transposed_area {
    const Real* from;
    std::ptrdiff_t from_line;
    std::size_t lines, length;
    Real* to;
    std::ptrdiff_t to_line;
    std::size_t ahead; // how far ahead to fetch from each line; 0: not at all
    bool streams;      // whether what is written goes past the caches
    std::size_t seen;  // so many of the first j are written with others: not to be streamed twice

    transposed_area lines_from(std::size_t i, std::size_t count) const {
        const auto at = static_cast<std::ptrdiff_t>(i);
        return {from + at * from_line, from_line, count, length, to + at, to_line, ahead, streams, seen};
    }
    transposed_area columns_from(std::size_t j, std::size_t count, std::size_t seen_before) const {
        const auto at = static_cast<std::ptrdiff_t>(j);
        return {from + at, from_line, lines, count, to + at * to_line, to_line, ahead, streams, seen_before};
    }
};

// Square blocks as wide as a vector. What is left of lines or columns goes by blocks of half the width, or by a block moved
// back over the one before.
struct transposition {
    template <class M, class Real>
    SMX_INLINE static void run(const transposed_area<Real>* area) {
        transposed_area<Real> a = *area;
        constexpr std::size_t w = M::width, half = w / 2;
        if constexpr (sizeof(typename M::vector) > 16) {
            using narrower = machine<Real, int(half)>;
            if (a.lines < w || a.length < w) {
                return run_apart<narrower, transposition>(area);
            }
            if (const std::size_t left = a.lines % w; left != 0 && left <= half) {
                const auto rest = a.lines_from(a.lines - half, half);
                run_apart<narrower, transposition>(&rest);
                a.lines -= left;
            }
            if (const std::size_t left = a.length % w; left != 0 && left <= half) {
                const auto rest = a.columns_from(a.length - half, half, half - left);
                run_apart<narrower, transposition>(&rest);
                a.length -= left;
            }
        } else if (a.lines < w || a.length < w) {
            for (std::size_t j = 0; j < a.length; ++j) {
                const auto column = a.columns_from(j, 1, 0);
                for (std::size_t i = 0; i < a.lines; ++i) {
                    column.to[i] = column.from[static_cast<std::ptrdiff_t>(i) * a.from_line];
                }
            }
            return;
        }
        for (std::size_t j = 0; j < a.length; j += w) {
            const std::size_t column = j + w <= a.length ? j : a.length - w;
            const auto columns = a.columns_from(column, w, j == 0 ? a.seen : j - column);
            for (std::size_t i = 0; i < a.lines; i += w) {
                block<M>(columns.lines_from(i + w <= a.lines ? i : a.lines - w, w));
            }
        }
    }

private:
    template <class M, class Real>
    SMX_INLINE static void block(const transposed_area<Real>& a) {
        using P = typename M::vector;
        P v[M::width];
        if (a.ahead != 0) {
            SMX_UNROLL for (int k = 0; k < M::width; ++k) SMX_PREFETCH(a.from + k * a.from_line + a.ahead);
        }
        SMX_UNROLL for (int k = 0; k < M::width; ++k) v[k] = load<P>(a.from + k * a.from_line);
        transpose(v);
        if (a.streams) {
            SMX_UNROLL for (int k = 0; k < M::width; ++k) {
                if (static_cast<std::size_t>(k) >= a.seen) {
                    stream(a.to + k * a.to_line, v[k]);
                }
            }
        } else {
            SMX_UNROLL for (int k = 0; k < M::width; ++k) store(a.to + k * a.to_line, v[k]);
        }
    }
};

} // namespace smx::inline SMX_ABI::detail

#endif
