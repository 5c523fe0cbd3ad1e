// Compiled with -O3 -march=native -ffast-math: no inline function of a header may be left to call (see kernels.hpp).
#include "losses.hpp"

#include <cmath>

static float of_row(const float* x, std::size_t target, float* g, std::size_t n, float scale) {
    float max = x[0];
    for (std::size_t c = 1; c < n; ++c)
        max = x[c] > max ? x[c] : max;
    float sum = 0;
    for (std::size_t c = 0; c < n; ++c) {
        g[c] = std::exp(x[c] - max);
        sum += g[c];
    }
    const float loss = std::log(sum) - (x[target] - max);
    const float factor = scale / sum;
    for (std::size_t c = 0; c < n; ++c)
        g[c] *= factor;
    g[target] -= scale;
    return loss;
}

// Rows side by side: vectors run across them.
static float of_strip(const float* x, const std::int64_t* targets, float* g, std::size_t n, std::size_t inner,
                      std::size_t width, float scale) {
    constexpr std::size_t most = 256;
    float max[most], sum[most];
    for (std::size_t i = 0; i < width; ++i) {
        max[i] = x[i];
        sum[i] = 0;
    }
    for (std::size_t c = 1; c < n; ++c)
        for (std::size_t i = 0; i < width; ++i)
            max[i] = x[c * inner + i] > max[i] ? x[c * inner + i] : max[i];
    for (std::size_t c = 0; c < n; ++c) {
        for (std::size_t i = 0; i < width; ++i) {
            g[c * inner + i] = std::exp(x[c * inner + i] - max[i]);
            sum[i] += g[c * inner + i];
        }
    }
    float loss = 0;
    for (std::size_t i = 0; i < width; ++i) {
        loss += std::log(sum[i]) - (x[static_cast<std::size_t>(targets[i]) * inner + i] - max[i]);
        sum[i] = scale / sum[i];
    }
    for (std::size_t c = 0; c < n; ++c)
        for (std::size_t i = 0; i < width; ++i)
            g[c * inner + i] *= sum[i];
    for (std::size_t i = 0; i < width; ++i)
        g[static_cast<std::size_t>(targets[i]) * inner + i] -= scale;
    return loss;
}

float loss_loop_fast::cross_entropy(const loss_problem& p) {
    const float scale = 1 / static_cast<float>(p.rows());
    float loss = 0;
    for (std::size_t o = 0; o < p.outer; ++o) {
        const std::size_t at = o * p.classes * p.inner;
        if (p.inner == 1) {
            loss += of_row(p.logits + at, static_cast<std::size_t>(p.targets[o]), p.gradient + at, p.classes,
                           scale);
            continue;
        }
        for (std::size_t i = 0; i < p.inner; i += 256) {
            const std::size_t width = p.inner - i < 256 ? p.inner - i : 256;
            loss += of_strip(p.logits + at + i, p.targets + o * p.inner + i, p.gradient + at + i, p.classes,
                             p.inner, width, scale);
        }
    }
    return loss * scale;
}
