// The masks of masked.hpp as the engine sees them: which logits of a row take part, and what is added to each.
#ifndef SMX_DETAIL_MASKS_HPP
#define SMX_DETAIL_MASKS_HPP

#include "elements.hpp"

#include <concepts>
#include <cstddef>
#include <type_traits>

namespace smx::inline SMX_ABI::detail {

// Truth values: bool, what stands for it (std::vector<bool> has such), and integers, of which 0 is false.
template <class R>
concept truth_row =
    forward_row<R> && !real_number<element_of<R>> && std::constructible_from<bool, element_of<R>>;

// What is added to the logits.
template <class R>
concept bias_row = forward_row<R> && real_number<element_of<R>>;

// Cursors walk the mask of one row along with its logits. This one excludes nothing.
struct everything {
    static constexpr bool is_bias = false;

    constexpr bool takes_part() const { return true; }
    constexpr everything& operator++() { return *this; }
};
template <class I>
struct truth_cursor {
    static constexpr bool is_bias = false;
    I at;

    constexpr bool takes_part() const { return static_cast<bool>(*at); }
    constexpr truth_cursor& operator++() {
        ++at;
        return *this;
    }
};
template <class I>
struct bias_cursor {
    using value = std::remove_cvref_t<decltype(*std::declval<I&>())>;
    static constexpr bool is_bias = true;
    I at;

    constexpr bool takes_part() const { return !(*at == negative_infinity<value>()); }
    constexpr bias_cursor& operator++() {
        ++at;
        return *this;
    }
};
template <class M, class I>
using cursor_of = std::conditional_t<truth_row<M>, truth_cursor<I>, bias_cursor<I>>;

// What a mask adds to the logit that it stands at.
template <class Work, class Cursor>
constexpr Work bias_at(const Cursor& cursor) {
    if constexpr (Cursor::is_bias) {
        return static_cast<Work>(*cursor.at);
    } else {
        return Work(0.0);
    }
}

// Every step-th element. Keeps an offset: the end of a row may lie further behind the range than an iterator may point.
template <class I>
struct stepping_iterator {
    I first;
    std::ptrdiff_t offset;
    std::ptrdiff_t step;

    constexpr decltype(auto) operator*() const { return first[offset]; }
    constexpr stepping_iterator& operator++() {
        offset += step;
        return *this;
    }
};

// The masks of the rows of a call. of(row): of prefix masks, how many of its logits take part; else a cursor.
//
// A range of truth values or biases: `count` mask rows that are used in turn. One per row are laid out as the logits are.
template <class M, class I>
struct range_mask {
    static constexpr bool is_prefix = false;
    static constexpr bool is_bias = !truth_row<M>;
    I first;
    std::size_t count;
    std::size_t classes;
    std::size_t inner;

    constexpr auto of(std::size_t row) const {
        if constexpr (std::random_access_iterator<I>) {
            const std::size_t m = row % count, between = count == 1 ? 1 : inner;
            const std::size_t at = m / between * classes * between + m % between;
            return cursor_of<M, stepping_iterator<I>>{
                {first, static_cast<std::ptrdiff_t>(at), static_cast<std::ptrdiff_t>(between)}};
        } else { // of a single row
            return cursor_of<M, I>{first};
        }
    }
    // Of pointers: the mask of a row if its elements are neighbours, else null.
    constexpr I neighbours(std::size_t row) const {
        return count == 1 || inner == 1 ? first + row % count * classes : nullptr;
    }
};

// What valid_lengths() makes of a range: one length for all rows, or one per row.
template <class I, class S>
struct length_mask {
    static constexpr bool is_prefix = true;
    static constexpr bool is_bias = false;
    row<I, S> lengths;
    std::size_t count = 0;

    constexpr std::size_t of(std::size_t row) const {
        return static_cast<std::size_t>(count == 1 ? *lengths.first : *advanced_by(lengths.first, row));
    }
};

// The first row % period + 1 + offset.
struct causal_mask {
    static constexpr bool is_prefix = true;
    static constexpr bool is_bias = false;
    std::ptrdiff_t offset;
    std::size_t period; // 0: none
    std::size_t classes;

    constexpr std::size_t of(std::size_t row) const {
        const std::size_t r = period == 0 ? row : row % period;
        if (offset < 0) { // in unsigned numbers, of which no sum leaves the range
            const std::size_t less = std::size_t{0} - static_cast<std::size_t>(offset);
            return r < less ? 0 : after(r - less);
        }
        const auto more = static_cast<std::size_t>(offset);
        return more >= classes ? classes : after(r + more);
    }

private:
    constexpr std::size_t after(std::size_t last) const { return last < classes ? last + 1 : classes; }
};

} // namespace smx::inline SMX_ABI::detail

#endif
