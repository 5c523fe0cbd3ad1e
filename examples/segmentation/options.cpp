#include "options.hpp"

#include "../support/numbers.hpp"

const char* const help_text = R"(usage: segmentation [options] [FILE]

Composes pages of handwritten digits, trains a small network that gives every
pixel its class (one of the ten digits, or paper), and reports the accuracy
and the mean intersection over union (IoU) on pages of held-out digits.

FILE holds one digit per line: 64 pixels from 0 to 16 and the digit, separated
by commas. Without it examples/data/digits.csv is read, which is there when the
program is run from the top of the repository.

options:
  --svg FILE   where the picture of a held-out page, its mask and the predicted
               mask goes (default segmentation.svg)
  -h, --help   show this text
)";

options parse_options(support::command_line words) {
    options result;
    bool has_data = false;
    while (words.next()) {
        if (words.is("--svg")) {
            result.svg = words.value_of("--svg");
        } else if (words.word() == "--help" || words.word() == "-h") {
            result.help = true;
        } else if (words.word().starts_with("-")) {
            throw support::usage_error("unknown option " + support::quote(words.word()));
        } else if (has_data) {
            throw support::usage_error("more than one file: " + support::quote(words.word()));
        } else {
            result.data = words.word();
            has_data = true;
        }
    }
    return result;
}
