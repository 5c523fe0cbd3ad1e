// A digit and those that it attends to, as a picture.

#ifndef SMX_EXAMPLES_ATTENTION_MAP_HPP
#define SMX_EXAMPLES_ATTENTION_MAP_HPP

#include "../support/digits_csv.hpp"
#include "../support/svg.hpp"

#include <cstddef>
#include <span>

// weights: one per digit of `known`, the sum of all is 1.
support::svg_picture attention_map(const support::digit_set& queries, std::size_t query,
                                   const support::digit_set& known, std::span<const float> weights,
                                   double temperature);

#endif
