// Draws what temperature does: the softmax of the same logits at five temperatures. The SVG picture goes to
// the file named on the command line, or to standard output.

#include "../support/errors.hpp"
#include "../support/numbers.hpp"
#include "../support/svg.hpp"

#include <softmax.hpp>

#include <array>
#include <cstddef>
#include <iostream>
#include <limits>
#include <span>
#include <string_view>

using support::svg_picture;
namespace colour = support::colour;

namespace {

constexpr std::array logits = {2.0, 1.0, 0.5, 0.0, -1.0};

struct panel {
    double temperature;
    std::string_view title;
    std::string_view effect;
    std::string_view fill; // from cold to hot
};

constexpr std::array panels = {
    panel{0, "T = 0", "the largest alone", "#0b62a4"},
    panel{0.25, "T = 0.25", "sharper", "#3f6f9f"},
    panel{1, "T = 1", "the softmax", "#7a6a80"},
    panel{4, "T = 4", "flatter", "#ad5d45"},
    panel{std::numeric_limits<double>::infinity(), "T = \xE2\x88\x9E", "all equal", "#c8501a"}, // U+221E
};

constexpr double bar_step = 30, bar_width = 25, bar_height = 170;
constexpr double panel_width = bar_step * logits.size(), panel_gap = 22, margin = 22, base = 258;

void draw_panel(svg_picture& picture, const panel& panel, double left) {
    const auto probabilities = smx::softmax(logits, panel.temperature);
    const double centre = left + panel_width / 2;
    picture.text(centre, 34, panel.title, {.size = 17, .is_bold = true});
    picture.text(centre, 55, panel.effect, {.colour = colour::faint_ink});
    for (std::size_t i = 0; i < logits.size(); ++i) {
        const double x = left + bar_step * (static_cast<double>(i) + 0.5);
        const double height = bar_height * probabilities[i];
        picture.rectangle(x - bar_width / 2, base - height, bar_width, height, panel.fill);
        const bool is_exact = probabilities[i] == 0 || probabilities[i] == 1;
        const char* format = is_exact ? "%.0f" : "%.2f"; // 0.00 would be only nearly 0
        picture.text(x, base - height - 6, support::to_text(format, probabilities[i]), {.size = 11});
        picture.text(x, base + 17, support::to_text("%g", logits[i]),
                     {.size = 12, .colour = colour::faint_ink});
    }
    picture.line(left, base, left + panel_width, base, colour::faint_ink);
}

svg_picture draw() {
    constexpr double width = 2 * margin + panels.size() * panel_width + (panels.size() - 1) * panel_gap;
    svg_picture picture(
        width, 316, "Softmax at five temperatures",
        "Bar charts of the softmax of the logits 2, 1, 0.5, 0 and -1. At temperature 0 the largest has "
        "probability 1; the higher the temperature, the more even the bars; at infinity all are 0.2.");
    double left = margin;
    for (const panel& panel : panels) {
        draw_panel(picture, panel, left);
        left += panel_width + panel_gap;
    }
    picture.text(width / 2, 300, "above each bar its probability, below it its logit",
                 {.colour = colour::faint_ink});
    return picture;
}

} // namespace

int main(int argc, char** argv) {
    return support::exit_status_of("temperature_figure", [&] {
        const std::span words(argv, static_cast<std::size_t>(argc));
        if (argc > 2 || (argc == 2 && std::string_view(words[1]).starts_with("-"))) {
            throw support::usage_error("usage: temperature_figure [FILE]");
        }
        if (argc == 2) {
            draw().save(words[1]);
        } else {
            std::cout << draw().str();
        }
    });
}
