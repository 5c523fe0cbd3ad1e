#include "report.hpp"

#include "../support/numbers.hpp"
#include "../support/svg.hpp"
#include "../support/terminal.hpp"

#include <cstdio>
#include <string_view>

namespace colour = support::colour;

namespace {

constexpr std::array<std::string_view, classes> class_colours = {"#0b62a4", "#d9822b", "#2f9e62",   "#b5384b",
                                                                 "#7b5ea7", "#8a5a44", "#d06fa8",   "#6b7280",
                                                                 "#a6a12a", "#21a0b8", colour::card};

std::string name_of(std::size_t c) { return c == std::size_t{paper} ? "paper" : std::to_string(c); }

// fill(pixel) is a colour, or empty; runs of one colour in a line are one rectangle.
template <class Fill>
void draw_panel(support::svg_picture& picture, const page& image, double left, double top, double scale,
                std::string_view title, Fill fill) {
    const double width = scale * static_cast<double>(image.width()),
                 height = scale * static_cast<double>(image.height());
    picture.text(left + width / 2, top - 10, title, {.size = 14, .is_bold = true});
    for (std::size_t y = 0; y < image.height(); ++y) {
        for (std::size_t x = 0; x < image.width();) {
            const std::string run = fill(y * image.width() + x);
            std::size_t end = x + 1;
            while (end < image.width() && fill(y * image.width() + end) == run) {
                ++end;
            }
            if (!run.empty()) {
                picture.rectangle(left + scale * static_cast<double>(x), top + scale * static_cast<double>(y),
                                  scale * static_cast<double>(end - x), scale, run);
            }
            x = end;
        }
    }
    picture.line(left, top, left + width, top, colour::rule);
    picture.line(left, top + height, left + width, top + height, colour::rule);
    picture.line(left, top, left, top + height, colour::rule);
    picture.line(left + width, top, left + width, top + height, colour::rule);
}

std::string grey(float ink) {
    char text[8];
    const int level = 255 - static_cast<int>(ink * 220);
    std::snprintf(text, sizeof text, "#%02x%02x%02x", level, level, level);
    return ink > 0 ? text : "";
}

std::string colour_of(int label) {
    if (label == paper) {
        return "";
    }
    return std::string(label == rim ? colour::rule : class_colours[static_cast<std::size_t>(label)]);
}

std::string in_numbers(const confusion& found) {
    return support::to_text("pixel accuracy %.2f %%", 100 * found.pixel_accuracy()) +
           support::to_text(", mean IoU %.4f", found.mean_intersection_over_union());
}

} // namespace

std::vector<int> mask_of(std::span<const float> logits) {
    const std::size_t pixels = logits.size() / classes;
    std::vector<int> mask(pixels, 0);
    for (std::size_t c = 1; c < classes; ++c) {
        for (std::size_t p = 0; p < pixels; ++p) {
            const std::size_t best = static_cast<std::size_t>(mask[p]);
            mask[p] = logits[c * pixels + p] > logits[best * pixels + p] ? static_cast<int>(c) : mask[p];
        }
    }
    return mask;
}

void confusion::add(const page& truth, std::span<const int> predicted) {
    for (std::size_t p = 0; p < truth.size(); ++p) {
        if (truth.labels[p] != rim) {
            ++counts_[static_cast<std::size_t>(truth.labels[p])][static_cast<std::size_t>(predicted[p])];
        }
    }
}

std::size_t confusion::pixels(std::size_t c) const {
    std::size_t sum = 0;
    for (const std::size_t count : counts_[c]) {
        sum += count;
    }
    return sum;
}

double confusion::pixel_accuracy() const {
    std::size_t all = 0, right = 0;
    for (std::size_t c = 0; c < classes; ++c) {
        all += pixels(c);
        right += counts_[c][c];
    }
    return static_cast<double>(right) / static_cast<double>(all);
}

double confusion::intersection_over_union(std::size_t c) const {
    std::size_t said = 0;
    for (const auto& row : counts_) {
        said += row[c];
    }
    const std::size_t either = pixels(c) + said - counts_[c][c];
    return either == 0 ? 1 : static_cast<double>(counts_[c][c]) / static_cast<double>(either);
}

double confusion::mean_intersection_over_union() const {
    double sum = 0;
    for (std::size_t c = 0; c < classes; ++c) {
        sum += intersection_over_union(c);
    }
    return sum / classes;
}

void print(const confusion& found) {
    std::printf("\nclass   pixels     IoU\n");
    for (std::size_t c = 0; c < classes; ++c) {
        const double iou = found.intersection_over_union(c);
        std::printf("%-5s  %7zu  %.4f  %s\n", name_of(c).c_str(), found.pixels(c), iou,
                    support::text_bar(iou, 30).c_str());
    }
    std::printf("held-out pages: %s\n", in_numbers(found).c_str());
}

void draw(const page& truth, std::span<const int> predicted, const confusion& found,
          const std::string& path) {
    constexpr double margin = 24, top = 96, scale = 5;
    const double width = scale * static_cast<double>(truth.width()),
                 height = scale * static_cast<double>(truth.height());
    support::svg_picture picture(
        3 * width + 4 * margin, top + height + 60, "A page of digits, segmented",
        "Handwritten digits, the class of each pixel, and what the network makes of them");
    picture.text(1.5 * width + 2 * margin, 34, "Every pixel a digit or paper", {.size = 17, .is_bold = true});
    picture.text(1.5 * width + 2 * margin, 56, "on pages of held-out digits: " + in_numbers(found),
                 {.colour = colour::faint_ink});
    draw_panel(picture, truth, margin, top, scale, "the page",
               [&](std::size_t p) { return grey(truth.pixels[p]); });
    draw_panel(picture, truth, 2 * margin + width, top, scale, "its classes",
               [&](std::size_t p) { return colour_of(truth.labels[p]); });
    draw_panel(picture, truth, 3 * margin + 2 * width, top, scale, "predicted",
               [&](std::size_t p) { return colour_of(predicted[p]); });
    for (std::size_t c = 0; c < std::size_t{paper}; ++c) {
        const double x = margin + 46 * static_cast<double>(c), y = top + height + 24;
        picture.rectangle(x, y, 14, 14, class_colours[c]);
        picture.text(x + 20, y + 12, name_of(c), {.anchor = "start"});
    }
    picture.rectangle(margin + 470, top + height + 24, 14, 14, colour::rule);
    picture.text(margin + 490, top + height + 36, "rim of a stroke: does not count", {.anchor = "start"});
    picture.save(path);
}
