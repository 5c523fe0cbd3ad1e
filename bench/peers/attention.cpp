// bench_attention: masked rows against unmasked ones, a row that is pushed against logsumexp, and a head in tiles of keys against the
// three separate steps and libtorch.
#include "attention.hpp"

#include "clock.hpp"
#include "logits.hpp"
#include "options.hpp"

#include <softmax.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <regex>
#include <span>
#include <string>
#include <vector>

namespace {

constexpr const char* help = "usage: bench_attention [--rounds N] [--quick] [--filter REGEX on GROUP]\n";

struct contestant {
    std::string name;
    std::unique_ptr<runnable> what;
    double error = -1; // not judged
};

template <class F>
contestant of(const char* name, F f) {
    return {name, std::make_unique<task>(f)};
}

// Times by that of the first.
void report(const std::string& group, std::vector<contestant>& all, double elements, const schedule& timing) {
    std::vector<runnable*> tasks;
    for (const contestant& one : all)
        tasks.push_back(one.what.get());
    const std::vector<::timing> times = interleave(tasks, timing);
    for (std::size_t i = 0; i < all.size(); ++i) {
        std::printf("%-24s%-24s%10.4f%10.4f%9.2f", i == 0 ? group.c_str() : "", all[i].name.c_str(),
                    times[i].best / elements, times[i].median / elements, times[i].best / times[0].best);
        all[i].error < 0 ? std::printf("\n") : std::printf("%12.2g\n", all[i].error);
    }
    std::fflush(stdout);
}

std::vector<unsigned char> truth_values(std::span<const float> of) {
    std::vector<unsigned char> truth(of.size());
    for (std::size_t i = 0; i < truth.size(); ++i)
        truth[i] = of[i] < 2;
    return truth;
}

// Rows of logits, a bias for each element, and truth values.
struct masked_problem {
    static constexpr std::size_t rows = 512, n = 2048;
    static constexpr double elements = rows * n;
    buffer<float> logits{rows * n}, results{rows * n}, biases{rows * n};
    std::span<float> x = logits.aligned(), y = results.aligned(), bias = biases.aligned();
    std::vector<unsigned char> truth;

    masked_problem() {
        fill(x, 3);
        fill(bias, 3);
        truth = truth_values(bias);
    }
};

void measure_masks(const std::string& group, const schedule& timing) {
    const masked_problem of_rows;
    const std::size_t rows = of_rows.rows, n = of_rows.n;
    const auto x = of_rows.x, p = of_rows.y, bias = of_rows.bias;
    const auto& truth = of_rows.truth;
    std::vector<float> selecting(rows * n);
    for (std::size_t i = 0; i < truth.size(); ++i)
        selecting[i] = truth[i] != 0 ? 0.0F : -INFINITY;
    const std::vector<bool> bits(truth.begin(), truth.end());
    std::vector<std::size_t> lengths(rows);
    for (std::size_t r = 0; r < rows; ++r)
        lengths[r] = r * 4;
    const smx::shape s{rows, n};
    std::vector<contestant> all;
    all.push_back(of("softmax", [=] { smx::softmax(x, p, s); }));
    all.push_back(of("truth values", [=, &truth] { smx::masked_softmax(x, truth, p, s); }));
    all.push_back(
        of("one row of them", [=, &truth] { smx::masked_softmax(x, std::span(truth).first(n), p, s); }));
    all.push_back(of("std::vector<bool>", [=, &bits] { smx::masked_softmax(x, bits, p, s); }));
    all.push_back(of("bias", [=] { smx::masked_softmax(x, bias, p, s); }));
    all.push_back(of("one row of it", [=] { smx::masked_softmax(x, bias.first(n), p, s); }));
    all.push_back(of("bias of 0 and -inf", [=, &selecting] { smx::masked_softmax(x, selecting, p, s); }));
    all.push_back(of("lengths, mean n / 2",
                     [=, &lengths] { smx::masked_softmax(x, smx::valid_lengths(lengths), p, s); }));
    all.push_back(of("a sink", [=] { smx::masked_softmax(x, smx::valid_lengths({n}), p, s, {.sink = 1}); }));
    report(group, all, of_rows.elements, timing);
}

void measure_log_masks(const std::string& group, const schedule& timing) {
    const masked_problem of_rows;
    const auto x = of_rows.x, l = of_rows.y, bias = of_rows.bias;
    const auto& truth = of_rows.truth;
    const smx::shape s{of_rows.rows, of_rows.n};
    std::vector<contestant> all;
    all.push_back(of("log_softmax", [=] { smx::log_softmax(x, l, s); }));
    all.push_back(of("truth values", [=, &truth] { smx::masked_log_softmax(x, truth, l, s); }));
    all.push_back(of("bias", [=] { smx::masked_log_softmax(x, bias, l, s); }));
    report(group, all, of_rows.elements, timing);
}

void measure_causal(const std::string& group, const schedule& timing) {
    const std::size_t n = 2048;
    buffer<float> logits(n * n), results(n * n);
    const auto x = logits.aligned(), p = results.aligned();
    fill(x, 3);
    std::vector<contestant> all;
    all.push_back(of("softmax", [=] { smx::softmax(x, p, {n, n}); }));
    all.push_back(of("causal", [=] { smx::masked_softmax(x, smx::causal(), p, {n, n}); }));
    report(group, all, static_cast<double>(n * n), timing);
}

void measure_push(const std::string& group, const schedule& timing) {
    const std::size_t n = 1'000'000;
    buffer<float> logits(n);
    const auto x = logits.aligned();
    fill(x, 3);
    float kept = 0;
    std::vector<contestant> all;
    all.push_back(of("logsumexp", [=, &kept] { kept += smx::logsumexp(x, 2); }));
    all.push_back(of("push of a range", [=, &kept] {
        smx::online_normalizer<float> state(2);
        state.push(x);
        kept += state.logsumexp();
    }));
    report(group, all, static_cast<double>(n), timing);
}

// The largest error of some rows of the output.
double worst_error(const head_problem& p) {
    double worst = 0;
    for (std::size_t r = 0; r < p.n; r += 61) {
        const std::size_t count = p.is_causal ? r + 1 : p.n;
        std::vector<double> weights(count);
        for (std::size_t k = 0; k < count; ++k)
            for (std::size_t i = 0; i < p.d; ++i)
                weights[k] +=
                    static_cast<double>(p.queries[r * p.d + i]) * static_cast<double>(p.keys[k * p.d + i]);
        smx::softmax(weights, weights, std::sqrt(static_cast<double>(p.d)));
        for (std::size_t i = 0; i < p.d; ++i) {
            double mean = 0;
            for (std::size_t k = 0; k < count; ++k)
                mean += weights[k] * static_cast<double>(p.values[k * p.d + i]);
            worst = std::max(worst, std::abs(mean - static_cast<double>(p.output[r * p.d + i])));
        }
    }
    return worst;
}

void measure_head(const std::string& group, std::size_t n, bool is_causal, const schedule& timing) {
    const std::size_t d = 64;
    buffer<float> queries(n * d), keys(n * d), values(n * d), output(n * d);
    fill(queries.aligned(), 1);
    fill(keys.aligned(), 2);
    fill(values.aligned(), 3);
    std::reverse(keys.aligned().begin(), keys.aligned().end()); // all three come from one seed
    std::rotate(values.aligned().begin(), values.aligned().begin() + 77, values.aligned().end());
    const head_problem p{n,
                         d,
                         is_causal,
                         queries.aligned().data(),
                         keys.aligned().data(),
                         values.aligned().data(),
                         output.aligned().data()};
    std::vector<contestant> all;
    all.push_back({"in tiles", make_fused_head(p)});
    all.push_back({"three steps", make_separate_head(p)});
#if defined(SMX_BENCH_EIGEN_HEAD)
    all.push_back({"three steps, Eigen", make_eigen_head(p)});
#endif
#if defined(SMX_BENCH_TORCH_HEAD)
    all.push_back({"libtorch", make_torch_head(p)});
#endif
    for (contestant& one : all) {
        std::fill(output.aligned().begin(), output.aligned().end(), 0.0F);
        one.what->run();
        one.error = worst_error(p);
    }
    report(group, all, static_cast<double>(n * n), timing);
}

} // namespace

int main(int argc, char** argv) {
    const bench_options options = parse_options(argc, argv, help);
    const schedule& timing = options.timing;
    std::printf("float, one thread; ns of processor time per logit; by first: the best time by that of the "
                "first of the group\n"
                "error: largest of the output, of a head\n\n%-24s%-24s%10s%10s%9s%12s\n",
                "group", "", "best", "median", "by first", "error");
    const std::pair<const char*, std::function<void(const std::string&)>> groups[] = {
        {"masks 512x2048", [&](const std::string& g) { measure_masks(g, timing); }},
        {"log masks 512x2048", [&](const std::string& g) { measure_log_masks(g, timing); }},
        {"causal 2048x2048", [&](const std::string& g) { measure_causal(g, timing); }},
        {"push 1000000", [&](const std::string& g) { measure_push(g, timing); }},
        {"head 1024x64", [&](const std::string& g) { measure_head(g, 1024, false, timing); }},
        {"head 1024x64 causal", [&](const std::string& g) { measure_head(g, 1024, true, timing); }},
        {"head 4096x64", [&](const std::string& g) { measure_head(g, 4096, false, timing); }},
        {"head 4096x64 causal", [&](const std::string& g) { measure_head(g, 4096, true, timing); }},
    };
    for (const auto& [group, run] : groups)
        if (std::regex_search(group, options.filter))
            run(group);
}
