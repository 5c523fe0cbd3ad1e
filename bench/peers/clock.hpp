// Times several things against each other: round by round, each of them once a round, so that a machine
// that gets slower does so for all of them.
#ifndef SMX_BENCH_CLOCK_HPP
#define SMX_BENCH_CLOCK_HPP

#include "peer.hpp"

#include <cstddef>
#include <functional>
#include <utility>
#include <vector>

struct schedule {
    std::size_t rounds;
    double sample_ns; // about how long one is timed in one round: at least one run
};

// Processor time in ns per run: on a machine that does other things too it does not count those.
struct timing {
    double best = 0, lower_quartile = 0, median = 0, upper_quartile = 0;
    double threads = 0; // processor time of the process by that of the thread that calls

    double spread() const { return (upper_quartile - lower_quartile) / median; }
};

// A function as one of them.
class task : public runnable {
public:
    explicit task(std::function<void()> f) : f_(std::move(f)) {}
    void run() override { f_(); }

private:
    std::function<void()> f_;
};

// The timing of tasks[i] is the i-th.
std::vector<timing> interleave(const std::vector<runnable*>& tasks, const schedule& s);

#endif
