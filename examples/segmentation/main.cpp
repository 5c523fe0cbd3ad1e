// Trains a network that gives every pixel of a page its class, by cross-entropy over {pages, classes, height * width}: the class
// axis is in the middle, as in every framework that holds images. Build and run it from the top of the repository:
//
//     g++ -std=c++20 -O2 -Iinclude examples/segmentation/*.cpp -o segmentation && ./segmentation
//
// The pages are composed of real handwritten digits; a fifth of them is held out, for the report.

#include "model.hpp"
#include "options.hpp"
#include "report.hpp"

#include "../support/command_line.hpp"
#include "../support/numbers.hpp"
#include "../support/progress.hpp"
#include "../support/random_order.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <random>
#include <span>
#include <vector>

using support::digit_set;

namespace {

constexpr std::uint64_t seed = 1998; // the year of the data. The mean IoU is 0.87 to 0.90 with 1 to 6
constexpr std::size_t fewest_digits = 200;
constexpr std::size_t rows = 6, columns = 6, digits_of_page = 30; // of the pages that are held out

void report(const segmenter& model, const digit_set& digits, std::mt19937_64& random, const options& chosen) {
    const std::vector<std::size_t> order = support::random_order(digits.size(), random);
    confusion found;
    std::vector<page> pages;
    std::vector<std::vector<int>> masks;
    for (std::size_t first = 0; first < order.size(); first += digits_of_page) {
        const std::size_t count = (std::min)(digits_of_page, order.size() - first);
        pages.push_back(compose(digits, std::span(order).subspan(first, count), rows, columns, random));
        masks.push_back(mask_of(model(pages.back())));
        found.add(pages.back(), masks.back());
    }
    print(found);
    draw(pages[0], masks[0], found, chosen.svg);
    std::printf("As a picture: %s\n", chosen.svg.c_str());
}

void run(const options& chosen) {
    if (chosen.help) {
        std::fputs(help_text, stdout);
        return;
    }
    const digit_set digits = support::read_digits(chosen.data, fewest_digits);
    std::mt19937_64 random(seed);
    const std::vector<std::size_t> order = support::random_order(digits.size(), random);
    const auto held_out = std::span(order).first(order.size() / 5);
    const auto rest = std::span(order).subspan(held_out.size());
    std::printf("%zu handwritten digits to train on, %zu held out\n", rest.size(), held_out.size());
    std::fflush(stdout);

    support::progress progress("training", epochs);
    const segmenter model = train(subset(digits, rest), random, [&](int epoch, double loss) {
        progress.update(epoch, support::to_text("loss %.4f", loss));
    });
    report(model, subset(digits, held_out), random, chosen);
}

} // namespace

int main(int argc, char** argv) {
    return support::exit_status_of("segmentation", [&] { run(parse_options({argc, argv})); });
}
