// What the program found, as text and as a picture.

#ifndef SMX_EXAMPLES_DIGITS_REPORT_HPP
#define SMX_EXAMPLES_DIGITS_REPORT_HPP

#include "calibration.hpp"

#include <string>

struct calibration_report {
    evaluation before; // at temperature 1
    evaluation after;
    std::string temperature; // after, as text: "T = 2.5", or a range for several folds
};

// Negative log-likelihood, expected calibration error and a reliability diagram to standard output.
void print(const calibration_report& report);

// The same as an SVG picture.
void draw(const calibration_report& report, const std::string& path);

#endif
