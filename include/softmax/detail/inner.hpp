// Batches whose rows are not contiguous: element (o, c, i) at (o * classes + c) * inner + i. Tiles of
// neighbouring rows are turned into contiguous ones on the stack, in L1 or L2, and back: every row then has
// the bits that it has alone. Leans on dispatch.hpp.
#ifndef SMX_DETAIL_INNER_HPP
#define SMX_DETAIL_INNER_HPP

#include "dispatch.hpp"

namespace smx::inline SMX_ABI::detail {

// Bytes of stack a tile may take; 16 floats are a cache line, so that wide tiles waste none. Longer rows are
// not done here.
inline constexpr std::size_t tile_bytes = 64 * 1024;
template <class Real>
inline constexpr std::size_t longest_tiled_row = tile_bytes / sizeof(Real);

template <class Real>
inline std::size_t rows_of_tile(std::size_t n, std::size_t inner) noexcept {
    const std::size_t line = n <= 64 ? 128 : 64 / sizeof(Real); // short rows are done many at a time
    std::size_t most = longest_tiled_row<Real> / n;
    most = most < line ? most : line;
    return most < inner ? most : inner;
}

// tile[r n + c] <-> x[c inner + r]: 4 classes at a time, so that a row's lines are written in runs.
template <class Real>
inline void gather_tile(const Real* x, std::size_t n, std::size_t inner, std::size_t rows,
                        Real* tile) noexcept {
    std::size_t c = 0;
    for (; c + 4 <= n; c += 4) {
        const Real* const from = x + c * inner;
        for (std::size_t r = 0; r < rows; ++r) {
            Real* const to = tile + r * n + c;
            to[0] = from[r];
            to[1] = from[inner + r];
            to[2] = from[2 * inner + r];
            to[3] = from[3 * inner + r];
        }
    }
    for (; c < n; ++c) {
        for (std::size_t r = 0; r < rows; ++r) {
            tile[r * n + c] = x[c * inner + r];
        }
    }
}
template <class Real>
inline void scatter_tile(const Real* tile, std::size_t n, std::size_t inner, std::size_t rows,
                         Real* y) noexcept {
    std::size_t c = 0;
    for (; c + 4 <= n; c += 4) {
        Real* const to = y + c * inner;
        for (std::size_t r = 0; r < rows; ++r) {
            const Real* const from = tile + r * n + c;
            to[r] = from[0];
            to[inner + r] = from[1];
            to[2 * inner + r] = from[2];
            to[3 * inner + r] = from[3];
        }
    }
    for (; c < n; ++c) {
        for (std::size_t r = 0; r < rows; ++r) {
            y[c * inner + r] = tile[r * n + c];
        }
    }
}

// f(tile, first, rows): rows of n in a tile that stand at x + first with the stride of inner. False, with
// nothing done, if one row does not fit.
template <class Real, class F>
inline bool for_each_tile(const Real* x, std::size_t outer, std::size_t n, std::size_t inner, F f) noexcept {
    if (n > longest_tiled_row<Real>) {
        return false;
    }
    if (n == 0 || inner == 0) {
        return true;
    }
    Real tile[longest_tiled_row<Real>];
    const std::size_t most = rows_of_tile<Real>(n, inner);
    for (std::size_t o = 0; o < outer; ++o) {
        for (std::size_t i = 0; i < inner; i += most) {
            const std::size_t rows = inner - i < most ? inner - i : most;
            gather_tile(x + o * n * inner + i, n, inner, rows, tile);
            f(tile, o * n * inner + i, o * inner + i, rows);
        }
    }
    return true;
}

// run(x, y, rows) on tiles of contiguous rows, in place.
template <class Real, class Run>
inline bool map_inner(const Real* x, Real* y, std::size_t outer, std::size_t n, std::size_t inner,
                      Run run) noexcept {
    return for_each_tile(x, outer, n, inner, [&](Real* tile, std::size_t at, std::size_t, std::size_t rows) {
        run(tile, tile, rows);
        scatter_tile(tile, n, inner, rows, y + at);
    });
}
// One result a row, at results[o * inner + i]; all logits of a tile are read before its results are written.
template <class Real>
inline bool logsumexp_inner(const Real* x, Real* results, std::size_t outer, std::size_t n, std::size_t inner,
                            const base2_scale<Real>& c) noexcept {
    return for_each_tile(x, outer, n, inner, [&](Real* tile, std::size_t, std::size_t row, std::size_t rows) {
        logsumexp_rows(tile, results + row, rows, n, c);
    });
}

} // namespace smx::inline SMX_ABI::detail

#endif
