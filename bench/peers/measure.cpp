#include "measure.hpp"

#include "kernels.hpp"
#include "logits.hpp"

#include <algorithm>

namespace {

// What an exponential takes at least: reduction, polynomial, the running sum.
template <class Real>
constexpr double multiply_adds = sizeof(Real) == sizeof(float) ? 10 : 16;

template <class Real>
std::vector<task> limit_tasks(const problem<Real>& p, std::size_t steps) {
    const auto pass = [p](void (*f)(const Real*, Real*, std::size_t)) {
        return task([p, f] { f(p.logits, p.results, p.size()); });
    };
    return {pass(limits::read<Real>), pass(limits::scale<Real>), pass(limits::copy<Real>),
            pass(limits::copy_streaming<Real>), task([steps] { limits::multiply_add<Real>(steps); })};
}

// Either everything stays in the caches: a pass for the maximum, the arithmetic, a pass that scales (of
// log_softmax: subtracts) what is there. Or it does not: two passes over the logits, the second of which
// writes past the caches, and the arithmetic of each (of log_softmax: of the first) where memory does not
// hide it.
double best_of(const limit_result& l, operation what, double arithmetic) {
    const bool logarithm = what == operation::log_softmax;
    const double cached = l.read + arithmetic + (logarithm ? l.copy : l.scale);
    const double streamed =
        (std::max)(l.read, arithmetic) + (std::max)(l.copy_streaming, logarithm ? 0 : arithmetic);
    return (std::min)(cached, streamed);
}

// times: of limit_tasks, in its order.
template <class Real>
limit_result limit_of(const problem<Real>& p, const timing* times, std::size_t steps) {
    const auto n = static_cast<double>(p.size());
    const std::size_t lanes = limits::vector_bytes / sizeof(Real);
    limit_result l{times[0].best / n, times[1].best / n, times[2].best / n, times[3].best / n};
    l.multiply_add = times[4].best / static_cast<double>(steps * limits::chains * lanes);
    l.best = best_of(l, p.what, multiply_adds<Real> * l.multiply_add);
    return l;
}

timing per_element(const timing& t, std::size_t elements) {
    const auto n = static_cast<double>(elements);
    return {t.best / n, t.lower_quartile / n, t.median / n, t.upper_quartile / n, t.threads};
}

template <class Real>
std::vector<accuracy> judge_all(const problem<Real>& p, const std::vector<peer<Real>*>& peers) {
    const oracle<Real> exact(p);
    std::vector<accuracy> found;
    for (peer<Real>* one : peers) {
        std::fill_n(p.results, p.size(), Real(-1)); // nothing that the one before left may pass for a result
        one->prepare(p);
        one->run();
        found.push_back(exact.judge(p.results));
    }
    return found;
}

template <class Real>
std::vector<timing> time_all(const problem<Real>& p, const std::vector<peer<Real>*>& peers,
                             std::vector<task>& others, const schedule& s) {
    std::vector<runnable*> tasks;
    for (peer<Real>* one : peers) {
        one->prepare(p);
        tasks.push_back(one);
    }
    for (task& other : others)
        tasks.push_back(&other);
    return interleave(tasks, s);
}

} // namespace

template <class Real>
shape_result measure(operation what, std::size_t rows, std::size_t columns,
                     const std::vector<peer<Real>*>& peers, const schedule& s, bool judge) {
    const std::size_t n = rows * columns;
    buffer<Real> logits(n), results(n);
    const problem<Real> p{what, rows, columns, logits.aligned().data(), results.aligned().data()};
    shape_result r{what, rows, columns, {}, {}};
    for (const peer<Real>* one : peers)
        r.peers.push_back({one->name(), {}, {}, {}, {}});
    if (judge) {
        fill(logits.aligned(), 30);
        const auto wide = judge_all(p, peers);
        fill(logits.aligned(), 3);
        const auto usual = judge_all(p, peers);
        for (std::size_t i = 0; i < peers.size(); ++i) {
            r.peers[i].wide = wide[i];
            r.peers[i].usual = usual[i];
        }
    }

    fill(logits.aligned(), 3);
    constexpr std::size_t steps = 1000;
    auto passes = limit_tasks(p, steps);
    const auto aligned = time_all(p, peers, passes, s);
    if (n >= 1000)
        r.limit = limit_of(p, aligned.data() + peers.size(), steps);

    fill(logits.misaligned(), 3);
    passes.clear();
    const problem<Real> q{what, rows, columns, logits.misaligned().data(), results.misaligned().data()};
    const auto misaligned = time_all(q, peers, passes, s);
    for (std::size_t i = 0; i < peers.size(); ++i) {
        r.peers[i].aligned = per_element(aligned[i], n);
        r.peers[i].misaligned = per_element(misaligned[i], n);
    }
    return r;
}

template shape_result measure(operation, std::size_t, std::size_t, const std::vector<peer<float>*>&,
                              const schedule&, bool);
template shape_result measure(operation, std::size_t, std::size_t, const std::vector<peer<double>*>&,
                              const schedule&, bool);
