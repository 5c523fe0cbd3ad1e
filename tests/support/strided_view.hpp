// The least that the library may ask of a view: what std::mdspan has too. And places for such views with strides of all
// kinds, which notice a write beside the view.
#ifndef SMX_TESTS_SUPPORT_STRIDED_VIEW_HPP
#define SMX_TESTS_SUPPORT_STRIDED_VIEW_HPP

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <random>
#include <vector>

namespace test {

template <std::size_t R>
using indices = std::array<std::size_t, R>;

template <class T, std::size_t R>
class strided_view {
public:
    strided_view(T* data, const indices<R>& extents, const std::array<std::ptrdiff_t, R>& strides)
        : data_(data),
          extents_(extents),
          strides_(strides) {}

    static constexpr int rank() { return int{R}; }
    int extent(std::size_t r) const { return static_cast<int>(extents_[r]); }
    std::ptrdiff_t stride(std::size_t r) const { return strides_[r]; }
    T* data_handle() const { return data_; }

    T& at(const indices<R>& place) const {
        std::ptrdiff_t offset = 0;
        for (std::size_t r = 0; r != R; ++r) {
            offset += static_cast<std::ptrdiff_t>(place[r]) * strides_[r];
        }
        return data_[offset];
    }

    const indices<R>& extents() const { return extents_; }

    operator strided_view<const T, R>() const
        requires(!std::is_const_v<T>)
    {
        return {data_, extents_, strides_};
    }

private:
    T* data_;
    indices<R> extents_;
    std::array<std::ptrdiff_t, R> strides_;
};

// visit(place) for every element, the last index fastest.
template <std::size_t R, class Visit>
void for_each_place(const indices<R>& extents, Visit visit) {
    std::size_t size = 1;
    for (const std::size_t extent : extents) {
        size *= extent;
    }
    indices<R> place{};
    for (std::size_t k = 0; k != size; ++k) {
        visit(place);
        for (std::size_t r = R; r-- != 0;) {
            if (++place[r] != extents[r]) {
                break;
            }
            place[r] = 0;
        }
    }
}

template <std::size_t R>
indices<R - 1> without(const indices<R>& place, std::size_t axis) {
    indices<R - 1> rest{};
    for (std::size_t r = 0; r + 1 != R; ++r) {
        rest[r] = place[r < axis ? r : r + 1];
    }
    return rest;
}

template <std::size_t R>
indices<R> with(const indices<R - 1>& rest, std::size_t axis, std::size_t c) {
    indices<R> place{};
    for (std::size_t r = 0; r != R; ++r) {
        place[r] = r < axis ? rest[r] : r == axis ? c : rest[r - 1];
    }
    return place;
}

// A buffer for a view: its indices in any order in memory, padded, some of them backwards.
template <class T, std::size_t R>
class place_for_view {
public:
    static constexpr T unused = T(-77);

    template <class Random>
    place_for_view(const indices<R>& extents, Random& random) : extents_(extents) {
        std::array<std::size_t, R> order{};
        std::iota(order.begin(), order.end(), std::size_t{0});
        const std::uint64_t kind = random() % 4; // packed, padded, permuted, all
        if (kind > 1) {
            std::shuffle(order.begin(), order.end(), random);
        }
        std::ptrdiff_t size = 1, start = 0;
        for (std::size_t k = R; k-- != 0;) {
            const std::size_t r = order[k];
            const bool backwards = kind == 3 && random() % 4 == 0;
            strides_[r] = backwards ? -size : size;
            const auto extent = static_cast<std::ptrdiff_t>(extents[r]);
            start += backwards && extent > 0 ? (extent - 1) * size : 0;
            size *= extent + (kind % 2 == 1 ? static_cast<std::ptrdiff_t>(random() % 3) : 0);
        }
        start_ = start;
        buffer_.assign(static_cast<std::size_t>(size) + 1, unused);
    }

    strided_view<T, R> view() { return {buffer_.data() + start_, extents_, strides_}; }

    // Whether all but the view is as it was.
    bool is_untouched_beside() {
        std::vector<T> copy = buffer_;
        copy.swap(buffer_);
        for_each_place(extents_, [&](const indices<R>& place) { view().at(place) = unused; });
        copy.swap(buffer_);
        return std::all_of(copy.begin(), copy.end(), [](const T& x) { return x == unused; });
    }

    bool is_untouched() const {
        return std::all_of(buffer_.begin(), buffer_.end(), [](const T& x) { return x == unused; });
    }

private:
    indices<R> extents_;
    std::array<std::ptrdiff_t, R> strides_{};
    std::ptrdiff_t start_ = 0;
    std::vector<T> buffer_;
};

} // namespace test

#endif
