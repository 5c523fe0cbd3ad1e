#include "page.hpp"

#include "../support/random_order.hpp"

using support::digit_set;

namespace {

constexpr std::size_t digit_side = 8;
constexpr float least_ink = 0.3F;

void put(const digit_set& digits, std::size_t which, std::size_t cell, std::size_t down, std::size_t right,
         page& target) {
    const auto image = digits.image(which);
    for (std::size_t k = 0; k < digit_set::pixel_count; ++k) {
        const std::size_t y = down + k / digit_side, x = right + k % digit_side;
        const std::size_t at = target.place(cell, y * cell_side + x);
        target.pixels[at] = image[k];
        target.labels[at] = image[k] >= least_ink ? digits.labels[which] : image[k] > 0 ? rim : paper;
    }
}

} // namespace

page::page(std::size_t rows, std::size_t columns)
    : cell_rows(rows),
      cell_columns(columns),
      pixels(size()),
      labels(size(), paper) {}

page compose(const digit_set& digits, std::span<const std::size_t> which, std::size_t cell_rows,
             std::size_t cell_columns, std::mt19937_64& random) {
    constexpr std::size_t places = cell_side - digit_side + 1;
    page result(cell_rows, cell_columns);
    const std::vector<std::size_t> cells = support::random_order(result.cells(), random);
    for (std::size_t k = 0; k < which.size() && k < cells.size(); ++k) {
        const std::size_t down = random() % places, right = random() % places;
        put(digits, which[k], cells[k], down, right, result);
    }
    return result;
}
