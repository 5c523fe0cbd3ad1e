// The command line of the program.

#ifndef SMX_EXAMPLES_SEGMENTATION_OPTIONS_HPP
#define SMX_EXAMPLES_SEGMENTATION_OPTIONS_HPP

#include "../support/command_line.hpp"

#include <string>

struct options {
    std::string data = "examples/data/digits.csv";
    std::string svg = "segmentation.svg";
    bool help = false;
};

extern const char* const help_text;

// Throws support::usage_error.
options parse_options(support::command_line words);

#endif
