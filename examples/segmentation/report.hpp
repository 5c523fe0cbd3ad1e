// How good the masks are, in numbers and as a picture.

#ifndef SMX_EXAMPLES_SEGMENTATION_REPORT_HPP
#define SMX_EXAMPLES_SEGMENTATION_REPORT_HPP

#include "page.hpp"

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

// The class with the largest logit at each pixel; logits: one plane of the page for each class.
std::vector<int> mask_of(std::span<const float> logits);

// Counts pixels of masks by their class and by what was predicted, but for the rims.
class confusion {
public:
    void add(const page& truth, std::span<const int> predicted);

    double pixel_accuracy() const;
    // Of the pixels that are of the class, or are said to be, those that are both.
    double intersection_over_union(std::size_t c) const;
    double mean_intersection_over_union() const;
    std::size_t pixels(std::size_t c) const;

private:
    std::array<std::array<std::size_t, classes>, classes> counts_{}; // [true][predicted]
};

void print(const confusion& found);

// The page, its mask, and the predicted mask beside each other.
void draw(const page& truth, std::span<const int> predicted, const confusion& found, const std::string& path);

#endif
