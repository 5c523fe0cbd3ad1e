// Random orders that are the same everywhere: std::shuffle and the distributions of <random> may differ
// between standard libraries, std::mt19937_64 may not.

#ifndef SMX_EXAMPLES_SUPPORT_RANDOM_ORDER_HPP
#define SMX_EXAMPLES_SUPPORT_RANDOM_ORDER_HPP

#include <cstddef>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

namespace support {

// Fisher and Yates. The remainder favours small numbers by less than size / 2^64.
inline void shuffle(std::vector<std::size_t>& items, std::mt19937_64& random) {
    for (std::size_t left = items.size(); left > 1; --left) {
        std::swap(items[left - 1], items[static_cast<std::size_t>(random() % left)]);
    }
}

// 0 to size - 1 in random order.
inline std::vector<std::size_t> random_order(std::size_t size, std::mt19937_64& random) {
    std::vector<std::size_t> order(size);
    std::iota(order.begin(), order.end(), std::size_t{0});
    shuffle(order, random);
    return order;
}

} // namespace support

#endif
