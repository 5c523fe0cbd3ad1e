// Rows that are not stored one after the other, for kernels that want them so: tiles of rows are copied to the stack, in L1
// or L2, and back. Every row then has the bits that it has alone. Leans on dispatch.hpp.
#ifndef SMX_DETAIL_TILES_HPP
#define SMX_DETAIL_TILES_HPP

#include "dispatch.hpp"
#include "layout.hpp"
#include "transposition.hpp"

#include <cstddef>
#include <cstring>

namespace smx::inline SMX_ABI::detail {

// Bytes of stack a tile may take; 16 floats are a cache line, so that wide tiles waste none. Longer rows are
// not done here.
inline constexpr std::size_t tile_bytes = 64 * 1024;
template <class Real>
inline constexpr std::size_t longest_tiled_row = tile_bytes / sizeof(Real);

template <class Real>
inline std::size_t rows_of_tile(std::size_t n, std::size_t count) noexcept {
    constexpr std::size_t line = 64 / sizeof(Real);
    std::size_t most = longest_tiled_row<Real> / n;
    most = most > 128 ? 128 : most > line ? most - most % line : most;
    return most < count ? most : count;
}

// Padded rows are copied up to this length: short rows are cheaper many at a time. Softmax of floats, ns an element, copied /
// row by row: 8 columns 0.92 / 1.37, 64 0.27 / 0.35, 256 0.24 / 0.27, 1000 0.24 / 0.19; doubles cross over at 200.
inline constexpr std::size_t longest_copied_row = 256;

// How the rows of a run stand in one buffer: from element to element, and from row to row.
struct strides {
    std::ptrdiff_t element, row;
};

// f(r, c, place) for the elements of rows that have neither neighbouring elements nor neighbouring rows.
template <class F>
inline void for_each_element(const strides& by, std::size_t n, std::size_t rows, F f) noexcept {
    for (std::size_t r = 0; r < rows; ++r) {
        for (std::size_t c = 0; c < n; ++c) {
            f(r, c, static_cast<std::ptrdiff_t>(c) * by.element + static_cast<std::ptrdiff_t>(r) * by.row);
        }
    }
}

// tile[r n + c] <-> x[c element + r row]; ahead and streams: see transposed_area.
template <class Real>
inline void gather_tile(const Real* x, const strides& by, std::size_t n, std::size_t rows, Real* tile,
                        std::size_t ahead) noexcept {
    if (by.element == 1) {
        for (std::size_t r = 0; r < rows; ++r) {
            std::memcpy(tile + r * n, x + static_cast<std::ptrdiff_t>(r) * by.row, n * sizeof(Real));
        }
    } else if (by.row == 1) {
        const transposed_area<Real> area{x,     by.element, n, rows, tile, static_cast<std::ptrdiff_t>(n),
                                         ahead, false,      0};
        dispatch<transposition, Real>(&area);
    } else {
        for_each_element(by, n, rows,
                         [&](std::size_t r, std::size_t c, std::ptrdiff_t at) { tile[r * n + c] = x[at]; });
    }
}
template <class Real>
inline void scatter_tile(const Real* tile, const strides& by, std::size_t n, std::size_t rows, Real* y,
                         bool streams) noexcept {
    if (by.element == 1) {
        for (std::size_t r = 0; r < rows; ++r) {
            std::memcpy(y + static_cast<std::ptrdiff_t>(r) * by.row, tile + r * n, n * sizeof(Real));
        }
    } else if (by.row == 1) {
        constexpr std::ptrdiff_t line = 64 / sizeof(Real);
        const bool whole_lines = rows % std::size_t{line} == 0 && by.element % line == 0 &&
                                 std::bit_cast<std::uintptr_t>(y) % 64 == 0;
        const transposed_area<Real> area{tile, static_cast<std::ptrdiff_t>(n), rows, n, y, by.element,
                                         0,    streams && whole_lines,         0};
        dispatch<transposition, Real>(&area);
    } else {
        for_each_element(by, n, rows,
                         [&](std::size_t r, std::size_t c, std::ptrdiff_t at) { y[at] = tile[r * n + c]; });
    }
}

// K buffers that rows are read from, and one that they are written to, or null: buffers 0 to K - 1 and K of a layout.
template <class Real, std::size_t K>
struct buffers {
    const Real* in[K];
    Real* out;

    bool is_in_place() const {
        bool any = false;
        for (const Real* x : in) {
            any = any || x == out;
        }
        return any;
    }
};

// The rows of a run, tile by tile: f(buffers, first, count) with rows packed one after the other; out may be in[0]. size: of
// all rows of the batch. Above L2 the next tile is fetched while this one is copied, since no processor foresees that; above
// the last cache what is written goes past it. Softmax of floats in {8, 21, 512 * 512}, Zen 5, ns an element: copied number by
// number 1.08, transposed 0.72, fetched ahead 0.60, streamed 0.53; packed rows 0.33.
template <class Real, std::size_t K, std::size_t N, class F>
SMX_NOINLINE void for_each_tile(const buffers<Real, K>& data, const run<N>& rows, const strides (&by)[N],
                                std::size_t n, std::size_t size, F& f) {
    alignas(64) Real tiles[K][longest_tiled_row<Real>];
    const std::size_t most = rows_of_tile<Real>(n, rows.count);
    const std::size_t ahead = size * sizeof(Real) > (std::size_t{1} << 20) ? most : 0;
    const bool streams = size > longest_cached_row<Real> && !data.is_in_place();
    const auto at = [&](std::size_t k, std::size_t r) {
        return rows.offset[k] + static_cast<std::ptrdiff_t>(r) * rows.stride[k];
    };
    for (std::size_t r = 0; r < rows.count; r += most) {
        const std::size_t count = rows.count - r < most ? rows.count - r : most;
        buffers<Real, K> packed;
        for (std::size_t k = 0; k != K; ++k) {
            gather_tile(data.in[k] + at(k, r), by[k], n, count, tiles[k], ahead);
            packed.in[k] = tiles[k];
        }
        packed.out = data.out == nullptr ? nullptr : tiles[0];
        f(packed, rows.first + r, count);
        if constexpr (N > K) {
            if (data.out != nullptr) {
                scatter_tile(packed.out, by[K], n, count, data.out + at(K, r), streams);
            }
        }
    }
    if (streams) {
        flush_streams();
    }
}

// Whether for_each_packed can do a batch.
template <class Real, std::size_t D, std::size_t N>
constexpr bool fits_tiles(const layout<D, N>& batch) {
    return batch.has_neighbours() || batch.classes() <= longest_tiled_row<Real>;
}

// f(buffers, first, count) for the rows [begin, end) in order, packed one after the other.
template <class Real, std::size_t K, std::size_t D, std::size_t N, class F>
void for_each_packed(const buffers<Real, K>& data, const layout<D, N>& batch, std::size_t begin,
                     std::size_t end, F f) {
    const std::size_t n = batch.classes();
    if (n == 0) {
        return;
    }
    strides by[N];
    const std::size_t used = data.out == nullptr ? K : N;
    batch.for_each_run(begin, end, [&](const run<N>& rows) {
        bool neighbours = true, packed = true;
        for (std::size_t k = 0; k != used; ++k) {
            by[k] = {batch.element(k), rows.stride[k]};
            neighbours = neighbours && (by[k].element == 1 || n == 1);
            packed = packed && (rows.count == 1 || by[k].row == static_cast<std::ptrdiff_t>(n));
        }
        const auto from = [&](std::size_t r) {
            buffers<Real, K> there = data;
            for (std::size_t k = 0; k != K; ++k) {
                there.in[k] += rows.offset[k] + static_cast<std::ptrdiff_t>(r) * rows.stride[k];
            }
            if constexpr (N > K) {
                if (data.out != nullptr) {
                    there.out += rows.offset[K] + static_cast<std::ptrdiff_t>(r) * rows.stride[K];
                }
            }
            return there;
        };
        if (neighbours && packed) {
            f(from(0), rows.first, rows.count);
        } else if (neighbours && n > longest_copied_row) {
            for (std::size_t r = 0; r != rows.count; ++r) {
                f(from(r), rows.first + r, std::size_t{1});
            }
        } else {
            for_each_tile(data, rows, by, n, n * batch.rows(), f);
        }
    });
}

} // namespace smx::inline SMX_ABI::detail

#endif
