#include "map.hpp"

#include "../support/numbers.hpp"

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <string>
#include <vector>

namespace {

constexpr std::size_t side = 8, shown = 12, in_a_row = 6;
constexpr double left = 24, top = 76, query_size = 144, size = 80, gap = 22,
                 map_left = left + query_size + 56;

void draw_image(support::svg_picture& picture, std::span<const float> image, double x, double y,
                double width) {
    const double pixel = width / static_cast<double>(side);
    picture.rectangle(x, y, width, width, support::colour::rule, 0.35);
    for (std::size_t i = 0; i < image.size(); ++i) {
        if (image[i] > 0) {
            picture.rectangle(x + static_cast<double>(i % side) * pixel,
                              y + static_cast<double>(i / side) * pixel, pixel, pixel, support::colour::ink,
                              static_cast<double>(image[i]));
        }
    }
}

} // namespace

support::svg_picture attention_map(const support::digit_set& queries, std::size_t query,
                                   const support::digit_set& known, std::span<const float> weights,
                                   double temperature) {
    std::vector<std::size_t> nearest(weights.size());
    std::iota(nearest.begin(), nearest.end(), std::size_t{0});
    const std::size_t count = (std::min)(shown, nearest.size());
    std::partial_sort(nearest.begin(), nearest.begin() + static_cast<std::ptrdiff_t>(count), nearest.end(),
                      [&](std::size_t a, std::size_t b) { return weights[a] > weights[b]; });
    double sum = 0;
    for (std::size_t k = 0; k < count; ++k) {
        sum += static_cast<double>(weights[nearest[k]]);
    }

    const std::string title = "What a handwritten " + std::to_string(queries.labels[query]) + " attends to";
    const double width = map_left + in_a_row * (size + gap) - gap + left, height = top + 2 * (size + 58) + 8;
    support::svg_picture picture(
        width, height, title,
        "A digit of the test set, and the twelve known digits of the largest attention weights, "
        "with a bar for each weight.");
    picture.text(left, 32, title, {.size = 16, .anchor = "start", .is_bold = true});
    picture.text(left, 52,
                 "the " + std::to_string(count) + " largest of " + std::to_string(weights.size()) +
                     " weights, together " + support::to_text("%.1f %%", 100 * sum) + ", at temperature " +
                     support::to_text(temperature),
                 {.anchor = "start", .colour = support::colour::faint_ink});
    draw_image(picture, queries.image(query), left, top, query_size);
    picture.text(left + query_size / 2, top + query_size + 20,
                 "query: " + std::to_string(queries.labels[query]));
    const double largest = static_cast<double>(weights[nearest[0]]);
    for (std::size_t k = 0; k < count; ++k) {
        const std::size_t i = nearest[k];
        const double x = map_left + static_cast<double>(k % in_a_row) * (size + gap),
                     y = top + static_cast<double>(k / in_a_row) * (size + 58);
        const auto weight = static_cast<double>(weights[i]);
        const bool agrees = known.labels[i] == queries.labels[query];
        draw_image(picture, known.image(i), x, y, size);
        picture.rectangle(x, y + size + 5, size * weight / largest, 9,
                          agrees ? support::colour::blue : support::colour::orange);
        picture.text(x + size / 2, y + size + 32,
                     std::to_string(known.labels[i]) + ": " + support::to_text("%.1f %%", 100 * weight),
                     {.size = 12});
    }
    return picture;
}
