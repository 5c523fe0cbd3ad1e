// Attention over keys that arrive in tiles. docs/recipes.md shows what stands between the marks, to the letter.

#ifndef SMX_EXAMPLES_SUPPORT_STREAMING_ATTENTION_HPP
#define SMX_EXAMPLES_SUPPORT_STREAMING_ATTENTION_HPP

// [recipe attention]
#include <softmax.hpp>

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

struct attention_head {
    std::size_t queries, keys, depth, width; // numbers of each query and key; numbers of each value
    double temperature;                      // mostly sqrt(depth)
    bool is_causal; // the last query sees all keys, the one before it all but one, ...

    std::size_t seen_by(std::size_t query) const {
        const std::size_t hidden = is_causal ? queries - 1 - query : 0;
        return hidden < keys ? keys - hidden : 0;
    }
};

// c += a b, matrices in rows that are so many numbers apart. Blocks of 4 x 32 results stay in registers.
inline void add_product(const float* a, std::size_t a_row, const float* b, std::size_t b_row, float* c,
                        std::size_t c_row, std::size_t rows, std::size_t depth, std::size_t columns) {
    constexpr std::size_t high = 4, wide = 32;
    for (std::size_t j = 0; j < columns; j += wide) {
        for (std::size_t i = 0; i < rows; i += high) {
            if (i + high <= rows && j + wide <= columns) {
                float sum[high][wide] = {};
                for (std::size_t p = 0; p != depth; ++p) {
                    for (std::size_t k = 0; k != high; ++k) {
                        for (std::size_t l = 0; l != wide; ++l) {
                            sum[k][l] += a[(i + k) * a_row + p] * b[p * b_row + j + l];
                        }
                    }
                }
                for (std::size_t k = 0; k != high; ++k) {
                    for (std::size_t l = 0; l != wide; ++l) {
                        c[(i + k) * c_row + j + l] += sum[k][l];
                    }
                }
                continue;
            }
            for (std::size_t k = i; k != (std::min)(i + high, rows); ++k) {
                for (std::size_t p = 0; p != depth; ++p) {
                    for (std::size_t l = j; l != (std::min)(j + wide, columns); ++l) {
                        c[k * c_row + l] += a[k * a_row + p] * b[p * b_row + l];
                    }
                }
            }
        }
    }
}

// output = softmax(queries keys^T / T) values, all of them rows of numbers. Keys and values are used tile by tile, in order, and
// only the scores of some queries by one tile exist at a time; of what came before, a query keeps its output and a normalizer.
inline void attend(std::span<const float> queries, std::span<const float> keys, std::span<const float> values,
                   std::span<float> output, const attention_head& head) {
    constexpr std::size_t tile = 256, block = 32;
    const std::size_t d = head.depth;
    std::vector<float> transposed(d * tile), scores(block * tile);
    std::vector<smx::online_normalizer<float>> seen(head.queries,
                                                    smx::online_normalizer<float>(head.temperature));
    std::fill(output.begin(), output.end(), 0.0F);
    for (std::size_t key = 0; key < head.keys; key += tile) {
        const std::size_t count = (std::min)(tile, head.keys - key);
        for (std::size_t k = 0; k != count; ++k) {
            for (std::size_t i = 0; i != d; ++i) {
                transposed[i * tile + k] = keys[(key + k) * d + i];
            }
        }
        for (std::size_t query = 0; query < head.queries; query += block) {
            const std::size_t rows = (std::min)(block, head.queries - query);
            if (head.seen_by(query + rows - 1) <= key) {
                continue; // the whole tile lies ahead
            }
            std::fill(scores.begin(), scores.end(), 0.0F);
            add_product(&queries[query * d], d, transposed.data(), tile, scores.data(), tile, rows, d, count);
            for (std::size_t r = 0; r != rows; ++r) {
                const auto row = std::span(scores).subspan(r * tile, tile);
                const std::size_t ahead = head.seen_by(query + r);
                const auto visible = row.first(ahead <= key ? 0 : (std::min)(count, ahead - key));
                std::fill(row.begin() + static_cast<std::ptrdiff_t>(visible.size()), row.end(), 0.0F);
                if (visible.empty()) {
                    continue;
                }
                // The output so far is the mean of the values seen. What it weighs from now on is their share of the sum.
                smx::online_normalizer<float> all = seen[query + r];
                all.push(visible);
                all.normalize(visible, visible);
                const float share = all.probability(seen[query + r]);
                for (float& mean : output.subspan((query + r) * head.width, head.width)) {
                    mean *= share;
                }
                seen[query + r] = all;
            }
            add_product(scores.data(), tile, &values[key * head.width], head.width,
                        &output[query * head.width], head.width, rows, count, head.width);
        }
    }
}
// [/recipe attention]

#endif
