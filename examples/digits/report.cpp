#include "report.hpp"

#include "../support/svg.hpp"
#include "../support/terminal.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdio>

namespace colour = support::colour;

namespace {

void print_bin(const reliability_bin& bin) {
    if (bin.count == 0) {
        std::printf("  %6s  %20s ", "", "");
    } else {
        std::printf("  %6zu  %s ", bin.count, support::text_bar(bin.accuracy, 20, bin.confidence).c_str());
    }
}

std::string nll_and_ece(const evaluation& result, const reliability_bins& bins) {
    return support::to_text("NLL %.4f", result.negative_log_likelihood()) +
           support::to_text(", ECE %.4f", expected_calibration_error(bins));
}

// One reliability diagram: for each tenth of confidence the accuracy as a bar, the mean confidence as a
// stroke, the distance between them where the model is too sure, and below the number of digits.
void draw_panel(support::svg_picture& picture, double left, const std::string& title,
                const evaluation& result) {
    constexpr double top = 128, side = 300, bar = side / 10 - 2;
    const auto x = [=](double value) { return left + side * value; };
    const auto y = [=](double value) { return top + side * (1 - value); };
    const support::text_style label{.size = 12, .colour = colour::faint_ink};
    const support::text_style label_before{.size = 12, .anchor = "end", .colour = colour::faint_ink};
    const reliability_bins bins = bins_of(result.predictions);

    picture.text(x(0.5), 90, title, {.size = 15, .is_bold = true});
    picture.text(x(0.5), 111, nll_and_ece(result, bins), {.colour = colour::faint_ink});
    for (int tick = 0; tick <= 100; tick += 20) {
        const double value = tick / 100.0;
        picture.line(x(0), y(value), x(1), y(value), colour::rule);
        picture.text(x(0) - 8, y(value) + 4, std::to_string(tick), label_before);
        picture.text(x(value), y(0) + 18, std::to_string(tick), label);
    }
    picture.text(x(0) - 8, y(0) + 60, "digits", label_before);
    for (std::size_t i = 0; i < bins.size(); ++i) {
        const double start = static_cast<double>(i) / 10;
        const auto& [count, confidence, accuracy] = bins[i];
        if (count > 0) {
            picture.rectangle(x(start) + 1, y(accuracy), bar, side * accuracy, colour::blue);
            picture.rectangle(x(start) + 1, y(confidence), bar, (std::max)(0.0, y(accuracy) - y(confidence)),
                              colour::orange, 0.35);
            picture.rectangle(x(start) + 1, y(confidence) - 1.5, bar, 3, colour::orange);
        }
        picture.text(x(start + 0.05), y(0) + 60, std::to_string(count),
                     {.size = 11, .colour = colour::faint_ink});
    }
    picture.line(x(0), y(0), x(1), y(1), colour::ink, true);
    picture.text(x(0.5), y(0) + 38, "confidence, %", label);
}

void draw_legend(support::svg_picture& picture, double y) {
    const support::text_style label{.anchor = "start"};
    picture.rectangle(190, y - 11, 14, 12, colour::blue);
    picture.text(211, y, "accuracy, %", label);
    picture.rectangle(310, y - 6, 14, 3, colour::orange);
    picture.text(331, y, "mean confidence, %", label);
    picture.rectangle(476, y - 11, 14, 12, colour::orange, 0.35);
    picture.text(497, y, "surer than right", label);
}

} // namespace

void print(const calibration_report& report) {
    const reliability_bins before = bins_of(report.before.predictions);
    const reliability_bins after = bins_of(report.after.predictions);
    std::printf("\n%-34s %13s %25s\n", "on held-out digits", "before, T = 1",
                ("after, " + report.temperature).c_str());
    std::printf("%-34s %13.4f %25.4f\n", "negative log-likelihood (NLL)",
                report.before.negative_log_likelihood(), report.after.negative_log_likelihood());
    std::printf("%-34s %13.4f %25.4f\n", "expected calibration error (ECE)",
                expected_calibration_error(before), expected_calibration_error(after));

    std::printf("\nconfidence      digits  accuracy before       digits  accuracy after\n");
    for (std::size_t i = 0; i < before.size(); ++i) {
        std::printf("%3zu to %3zu %%", 10 * i, 10 * i + 10);
        print_bin(before[i]);
        print_bin(after[i]);
        std::printf("\n");
    }
    std::printf("'|' is the mean confidence of the digits in a line, and should be where the bar\n"
                "ends: a bar that ends short of it says that the model is too sure.\n");
}

void draw(const calibration_report& report, const std::string& path) {
    support::svg_picture picture(
        780, 512, "Reliability of the digit classifier",
        "Accuracy by confidence on held-out digits, before and after the temperature was fitted");
    picture.text(390, 32, "How often the classifier is right when it claims to be this sure",
                 {.size = 17, .is_bold = true});
    draw_legend(picture, 62);
    draw_panel(picture, 60, "before: T = 1", report.before);
    draw_panel(picture, 440, "after: " + report.temperature, report.after);
    picture.save(path);
}
