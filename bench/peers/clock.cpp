#include "clock.hpp"

#include <algorithm>
#include <time.h>

namespace {

double now_ns(clockid_t clock) {
    timespec t{};
    clock_gettime(clock, &t);
    return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

struct duration {
    double process_ns, thread_ns;
};

duration time_of(runnable& task, std::size_t runs) {
    const duration start{now_ns(CLOCK_PROCESS_CPUTIME_ID), now_ns(CLOCK_THREAD_CPUTIME_ID)};
    for (std::size_t i = 0; i < runs; ++i)
        task.run();
    const duration end{now_ns(CLOCK_PROCESS_CPUTIME_ID), now_ns(CLOCK_THREAD_CPUTIME_ID)};
    return {end.process_ns - start.process_ns, end.thread_ns - start.thread_ns};
}

// By then a run has filled the caches itself.
constexpr double longest_warm_up_ns = 5e6;

class series {
public:
    series(runnable& task, double sample_ns) : task_(task) {
        task_.run();
        double ns = time_of(task_, runs_).process_ns;
        for (; ns < sample_ns / 2; ns = time_of(task_, runs_).process_ns)
            runs_ *= 2;
        warms_up_ = ns < longest_warm_up_ns;
    }

    void sample() {
        if (warms_up_)
            task_.run(); // what the one before left in the caches is not this one's merit
        const duration d = time_of(task_, runs_);
        process_ns_ += d.process_ns;
        thread_ns_ += d.thread_ns;
        samples_.push_back(d.process_ns / static_cast<double>(runs_));
    }

    timing result() {
        std::sort(samples_.begin(), samples_.end());
        return {samples_.front(), quantile(0.25), quantile(0.5), quantile(0.75), process_ns_ / thread_ns_};
    }

private:
    double quantile(double q) const {
        const double place = q * static_cast<double>(samples_.size() - 1);
        const auto below = static_cast<std::size_t>(place);
        const auto above = (std::min)(below + 1, samples_.size() - 1);
        const double share = place - static_cast<double>(below);
        return samples_[below] * (1 - share) + samples_[above] * share;
    }

    runnable& task_;
    std::size_t runs_ = 1;
    bool warms_up_ = true;
    double process_ns_ = 0, thread_ns_ = 0;
    std::vector<double> samples_;
};

} // namespace

std::vector<timing> interleave(const std::vector<runnable*>& tasks, const schedule& s) {
    std::vector<series> all;
    for (runnable* task : tasks)
        all.emplace_back(*task, s.sample_ns);
    for (std::size_t round = 0; round < s.rounds; ++round)
        for (std::size_t i = 0; i < all.size(); ++i)
            all[(i + round) % all.size()].sample(); // nobody always comes after the same one at the same time
    std::vector<timing> results;
    for (series& one : all)
        results.push_back(one.result());
    return results;
}
