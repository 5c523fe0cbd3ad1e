// Rows of masks as the kernels read them: truth values in bytes, a bias in the type of the logits, one row after the other. Leans on
// masks.hpp and masked_short_rows.hpp.
#ifndef SMX_DETAIL_MASK_ROWS_HPP
#define SMX_DETAIL_MASK_ROWS_HPP

#include "masked_short_rows.hpp"
#include "masks.hpp"

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

namespace smx::inline SMX_ABI::detail {

// Iterators of std::vector<bool> that show the words they stand in, as those of libstdc++ do. Bit by bit a mask costs many times
// its softmax.
template <class I>
concept iterator_of_words = std::same_as<std::iter_value_t<I>, bool> &&
                            (std::same_as<I, typename std::vector<std::iter_value_t<I>>::iterator> ||
                             std::same_as<I, typename std::vector<std::iter_value_t<I>>::const_iterator>) &&
                            requires(const I& i) {
                                requires std::unsigned_integral<std::remove_cvref_t<decltype(*i._M_p)>>;
                                requires sizeof(*i._M_p) == sizeof(std::uint64_t);
                                requires std::unsigned_integral<std::remove_cvref_t<decltype(i._M_offset)>>;
                            };

// n bits from bit `offset` of the first word on, less than 64, as bytes that are 0 or not: up to 63 more than n.
struct spread_bits {
    template <class M, class Word>
    SMX_INLINE static void run(const Word* words, unsigned offset, std::size_t n, unsigned char* bytes) {
        for (std::size_t i = 0; i < n; i += 64, ++words) {
            std::uint64_t bits = *words >> offset;
            if (offset != 0 && n - i > 64 - offset) {
                bits |= static_cast<std::uint64_t>(words[1]) << (64 - offset);
            }
            store_bits<typename M::vector>(bytes + i, bits);
        }
    }
};

template <class Cursor>
inline constexpr bool walks_over_words = false;
template <iterator_of_words I>
inline constexpr bool walks_over_words<truth_cursor<stepping_iterator<I>>> = true;

// Elements of kernels from the next n of a mask on, which the cursor walks over. Writes up to 63 more.
template <class Element, class Cursor>
inline void read_mask(Cursor& mask, std::size_t n, Element* to) {
    if constexpr (walks_over_words<Cursor>) {
        if (mask.at.step == 1) {
            const auto at = mask.at.first + mask.at.offset;
            dispatch<spread_bits, float>(at._M_p, static_cast<unsigned>(at._M_offset), n, to);
            mask.at.offset += static_cast<std::ptrdiff_t>(n);
            return;
        }
    }
    for (std::size_t i = 0; i != n; ++i, static_cast<void>(++mask)) {
        if constexpr (Cursor::is_bias) {
            to[i] = static_cast<Element>(*mask.at);
        } else {
            to[i] = mask.takes_part() ? 1 : 0;
        }
    }
}

// Masks that the kernels read where they are.
template <class Mask, class Real>
inline constexpr bool is_kernel_mask = false;
template <class M, class I, class Real>
inline constexpr bool is_kernel_mask<range_mask<M, I>, Real> =
    std::is_pointer_v<I> && (truth_row<M> ? sizeof(element_of<M>) == 1 : std::same_as<element_of<M>, Real>);

template <class Mask, class Real>
using kernel_element = std::conditional_t<Mask::is_bias, Real, unsigned char>;

// The mask of a row, or null: it has to be read.
template <class Real, class Mask>
inline const kernel_element<Mask, Real>* mask_pointer(const Mask& mask, std::size_t row) {
    if constexpr (is_kernel_mask<Mask, Real>) {
        const void* const at = mask.neighbours(row);
        return static_cast<const kernel_element<Mask, Real>*>(at);
    } else {
        return nullptr;
    }
}

// The masks of short rows, some rows at a time, from where they are or from a buffer.
template <class Real, class Mask>
class mask_rows {
public:
    using element = kernel_element<Mask, Real>;
    static constexpr std::size_t room = room_of_group<Real>;

    mask_rows(const Mask& mask, std::size_t n) : mask_(mask), n_(n) {}

    // Of `count` rows, or less: as many as stand one after the other. step: from one to the next, 0 if all have the same.
    struct part {
        const element* first;
        std::size_t step, count;
    };
    part of(std::size_t row, std::size_t count) {
        const element* const at = mask_pointer<Real>(mask_, row);
        if (mask_.count == 1) {
            return of_one(at, count);
        }
        if (at == nullptr) {
            const bool are_neighbours = mask_.inner == 1 && row % mask_.count + count <= mask_.count;
            const std::size_t at_once = are_neighbours ? count : 1;
            for (std::size_t r = 0; r != count; r += at_once) {
                read(row + r, at_once * n_, buffer_ + r * n_);
            }
            return {buffer_, n_, count};
        }
        const std::size_t left = mask_.count - row % mask_.count;
        return {at, n_, count < left ? count : left};
    }

private:
    // One for all: read once. Rows that are computed as one run need it as often.
    part of_one(const element* at, std::size_t count) {
        const bool repeats = n_ < shortest_row_by_itself;
        if (at != nullptr && !repeats) {
            return {at, 0, count};
        }
        const std::size_t rows = repeats ? count : 1;
        for (; ready_ < rows; ++ready_) {
            if (ready_ == 0) {
                read(0, n_, buffer_);
                continue;
            }
            for (std::size_t i = 0; i != n_; ++i) {
                buffer_[ready_ * n_ + i] = buffer_[i];
            }
        }
        return {buffer_, repeats ? n_ : 0, count};
    }
    void read(std::size_t row, std::size_t size, element* to) const {
        auto mask = mask_.of(row);
        read_mask(mask, size, to);
    }

    const Mask& mask_;
    std::size_t n_;
    std::size_t ready_ = 0;
    alignas(64) element buffer_[room + 64];
};

} // namespace smx::inline SMX_ABI::detail

#endif
