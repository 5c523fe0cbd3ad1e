// A picture in SVG: rectangles, lines and text on a card of its own colour, which reads well on any page.

#ifndef SMX_EXAMPLES_SUPPORT_SVG_HPP
#define SMX_EXAMPLES_SUPPORT_SVG_HPP

#include "numbers.hpp"

#include <cmath>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace support {

namespace colour {
inline constexpr std::string_view card = "#ffffff", ink = "#1f2328", faint_ink = "#59636e", rule = "#d1d9e0";
// These two are told apart with any kind of colour vision.
inline constexpr std::string_view blue = "#0b62a4", orange = "#d9822b";
} // namespace colour

struct text_style {
    double size = 13;
    std::string_view anchor = "middle"; // start, middle, end
    std::string_view colour = colour::ink;
    bool is_bold = false;
};

class svg_picture {
public:
    // `title` and `description` are for those who cannot see the picture.
    svg_picture(double width, double height, std::string_view title, std::string_view description) {
        content_ = "<svg" + attribute("xmlns", "http://www.w3.org/2000/svg") + attribute("role", "img") +
                   attribute("width", width) + attribute("height", height) +
                   attribute("viewBox", "0 0 " + number(width) + " " + number(height)) +
                   attribute("font-family", fonts) + ">\n<title>" + escaped(title) + "</title>\n<desc>" +
                   escaped(description) + "</desc>\n<rect" + attribute("x", 0.5) + attribute("y", 0.5) +
                   attribute("width", width - 1) + attribute("height", height - 1) + attribute("rx", 8) +
                   attribute("fill", colour::card) + attribute("stroke", colour::rule) + "/>\n";
    }

    void rectangle(double x, double y, double width, double height, std::string_view fill,
                   double opacity = 1) {
        content_ += "<rect" + attribute("x", x) + attribute("y", y) + attribute("width", width) +
                    attribute("height", height) + attribute("fill", fill) +
                    (opacity < 1 ? attribute("fill-opacity", opacity) : "") + "/>\n";
    }

    void line(double x1, double y1, double x2, double y2, std::string_view stroke, bool is_dashed = false) {
        content_ += "<line" + attribute("x1", x1) + attribute("y1", y1) + attribute("x2", x2) +
                    attribute("y2", y2) + attribute("stroke", stroke) +
                    (is_dashed ? attribute("stroke-dasharray", "5 4") : "") + "/>\n";
    }

    void text(double x, double y, std::string_view text, const text_style& style = {}) {
        content_ += "<text" + attribute("x", x) + attribute("y", y) + attribute("font-size", style.size) +
                    attribute("text-anchor", style.anchor) + attribute("fill", style.colour) +
                    (style.is_bold ? attribute("font-weight", "600") : "") + ">" + escaped(text) +
                    "</text>\n";
    }

    std::string str() const { return content_ + "</svg>\n"; }

    void save(const std::string& path) const {
        std::ofstream file(path, std::ios::binary);
        file << str();
        if (!file.flush()) {
            throw std::runtime_error(path + ": cannot be written");
        }
    }

private:
    static constexpr std::string_view fonts =
        "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif";

    static std::string number(double value) { return to_text(std::round(value * 100) / 100); }

    static std::string attribute(std::string_view name, std::string_view value) {
        return " " + std::string(name) + "=\"" + std::string(value) + "\"";
    }

    static std::string attribute(std::string_view name, double value) {
        return attribute(name, number(value));
    }

    static std::string escaped(std::string_view text) {
        std::string result;
        for (const char c : text) {
            result += c == '&' ? "&amp;" : c == '<' ? "&lt;" : c == '>' ? "&gt;" : std::string(1, c);
        }
        return result;
    }

    std::string content_;
};

} // namespace support

#endif
