// Pages of handwritten digits, with the class of every pixel.

#ifndef SMX_EXAMPLES_SEGMENTATION_PAGE_HPP
#define SMX_EXAMPLES_SEGMENTATION_PAGE_HPP

#include "../support/digits_csv.hpp"

#include <cstddef>
#include <random>
#include <span>
#include <vector>

inline constexpr int paper = 10; // the class after the ten digits
inline constexpr std::size_t classes = 11;
// The rim of a stroke, neither ink nor paper: it counts neither for training nor for the report.
inline constexpr int rim = 255;

// A page is a grid of square cells; a digit stands somewhere in its cell.
inline constexpr std::size_t cell_side = 10, cell_size = cell_side * cell_side;

struct page {
    std::size_t cell_rows, cell_columns;
    std::vector<float> pixels; // from 0 to 1, row by row
    std::vector<int> labels;   // one per pixel

    page(std::size_t rows, std::size_t columns);

    std::size_t height() const { return cell_rows * cell_side; }
    std::size_t width() const { return cell_columns * cell_side; }
    std::size_t size() const { return height() * width(); }
    std::size_t cells() const { return cell_rows * cell_columns; }

    // Where pixel k of a cell stands on the page.
    std::size_t place(std::size_t cell, std::size_t k) const {
        const std::size_t row = cell / cell_columns * cell_side + k / cell_side,
                          column = cell % cell_columns * cell_side + k % cell_side;
        return row * width() + column;
    }
};

// The digits at `which`, cell by cell, each at a random place in its cell; then empty cells.
page compose(const support::digit_set& digits, std::span<const std::size_t> which, std::size_t cell_rows,
             std::size_t cell_columns, std::mt19937_64& random);

#endif
