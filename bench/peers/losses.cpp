// bench_losses: smx::cross_entropy with its gradient against its own softmax, the unfused sequence, a hand-fused loop
// compiled with -ffast-math, and libtorch's forward and backward.
#include "losses.hpp"

#include "clock.hpp"
#include "logits.hpp"
#include "options.hpp"

#include <softmax.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <limits>
#include <memory>
#include <regex>
#include <string>
#include <vector>

namespace {

constexpr const char* help = "usage: bench_losses [--rounds N] [--quick] [--filter REGEX on SHAPE]\n";

smx::shape shape_of(const loss_problem& p) { return {p.outer, p.classes, p.inner}; }

void fused(const loss_problem& p) {
    smx::cross_entropy(std::span(p.logits, p.size()), std::span(p.targets, p.rows()),
                       std::span(p.gradient, p.size()), shape_of(p));
}

void softmax(const loss_problem& p) {
    smx::softmax(std::span(p.logits, p.size()), std::span(p.gradient, p.size()), shape_of(p));
}

// What the call replaces: softmax, the loss of its logarithms by logsumexp, the gradient from the probabilities.
class unfused : public runnable {
public:
    explicit unfused(const loss_problem& p) : p_(p), logsumexps_(p.rows()) {}
    void run() override {
        const std::span logits(p_.logits, p_.size());
        const std::span gradient(p_.gradient, p_.size());
        smx::softmax(logits, gradient, shape_of(p_));
        smx::logsumexp(logits, logsumexps_, shape_of(p_));
        const float scale = 1 / static_cast<float>(p_.rows());
        float loss = 0;
        for (float& g : gradient)
            g *= scale;
        for (std::size_t row = 0; row < p_.rows(); ++row) {
            const std::size_t o = row / p_.inner, i = row % p_.inner;
            const std::size_t at =
                (o * p_.classes + static_cast<std::size_t>(p_.targets[row])) * p_.inner + i;
            loss += logsumexps_[row] - logits[at];
            gradient[at] -= scale;
        }
        loss_ = loss * scale;
    }

private:
    loss_problem p_;
    std::vector<float> logsumexps_;
    float loss_ = 0;
};

// Of the gradient as it stands, in ulp of its normal numbers.
double worst_ulp(const loss_problem& p) {
    double worst = 0;
    for (std::size_t row = 0; row < p.rows(); ++row) {
        const std::size_t first = row / p.inner * p.classes * p.inner + row % p.inner;
        long double max = p.logits[first], others = 0;
        for (std::size_t c = 1; c < p.classes; ++c)
            max = std::max<long double>(max, p.logits[first + c * p.inner]);
        for (std::size_t c = 0; c < p.classes; ++c)
            others += std::exp(static_cast<long double>(p.logits[first + c * p.inner]) - max);
        for (std::size_t c = 0; c < p.classes; ++c) {
            const long double term = std::exp(static_cast<long double>(p.logits[first + c * p.inner]) - max);
            const bool is_target = c == static_cast<std::size_t>(p.targets[row]);
            const long double exact =
                (is_target ? term - others : term) / others / static_cast<long double>(p.rows());
            if (std::abs(exact) < static_cast<long double>((std::numeric_limits<float>::min)()))
                continue;
            int exponent;
            std::frexp(exact, &exponent);
            const auto distance = static_cast<double>(std::abs(p.gradient[first + c * p.inner] - exact));
            worst = std::max(worst, std::ldexp(distance, std::numeric_limits<float>::digits - exponent));
        }
    }
    return worst;
}

void measure(const std::string& name, const smx::shape& s, const schedule& s_timing, bool judge) {
    const std::size_t rows = s.outer * s.inner, n = rows * s.classes;
    buffer<float> logits(n), gradient(n);
    fill(logits.aligned(), 3);
    std::vector<std::int64_t> targets(rows);
    for (std::size_t row = 0; row < rows; ++row)
        targets[row] = static_cast<std::int64_t>(row * 7919 % s.classes);
    const loss_problem p{
        s.outer, s.classes, s.inner, logits.aligned().data(), targets.data(), gradient.aligned().data()};
    std::vector<std::pair<const char*, std::unique_ptr<runnable>>> all;
    all.emplace_back("smx", std::make_unique<task>([p] { fused(p); }));
    all.emplace_back("smx softmax", std::make_unique<task>([p] { softmax(p); }));
    all.emplace_back("smx unfused", std::make_unique<unfused>(p));
    all.emplace_back("loop fast", std::make_unique<task>([p] { loss_loop_fast::cross_entropy(p); }));
#if defined(SMX_BENCH_TORCH_LOSS)
    all.emplace_back("libtorch", make_torch_loss(p));
#endif
    std::vector<double> errors;
    std::vector<runnable*> tasks;
    for (const auto& [peer, one] : all) {
        tasks.push_back(one.get());
        one->run();
        errors.push_back(judge ? worst_ulp(p) : 0);
    }
    const std::vector<::timing> times = interleave(tasks, s_timing);
    for (std::size_t i = 0; i < all.size(); ++i) {
        std::printf("%-14s%-14s%9.4f%9.4f%9.2f", i == 0 ? name.c_str() : "", all[i].first,
                    times[i].best / static_cast<double>(n), times[i].median / static_cast<double>(n),
                    times[i].best / times[0].best);
        judge&& i != 1 ? std::printf("%12.4g\n", errors[i]) : std::printf("\n");
    }
    std::fflush(stdout);
}

} // namespace

int main(int argc, char** argv) {
    const auto [timing, quick, filter] = parse_options(argc, argv, help);
    std::printf("mean cross-entropy and its gradient, float, one thread; ns of processor time per element\n"
                "by smx: the best time by that of smx; worst ulp: of the gradient, logits N(0,3)\n\n"
                "%-14s%-14s%9s%9s%9s%12s\n",
                "shape", "", "best", "median", "by smx", "worst ulp");
    constexpr smx::shape shapes[] = {{32, 10}, {256, 1000}, {64, 50257}, {8, 128256}, {8, 21, 512 * 512}};
    for (const smx::shape& s : shapes) {
        std::string name = std::to_string(s.outer) + 'x' + std::to_string(s.classes);
        if (s.inner != 1)
            name += 'x' + std::to_string(s.inner);
        if (std::regex_search(name, filter))
            measure(name, s, timing, !quick || s.outer * s.classes * s.inner < 1'000'000);
    }
}
