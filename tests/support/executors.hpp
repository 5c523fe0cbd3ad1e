// Adapters from exec(tasks, f) to what runs tasks: those of the README, and two that do not run them in parallel at all.
#ifndef SMX_TESTS_SUPPORT_EXECUTORS_HPP
#define SMX_TESTS_SUPPORT_EXECUTORS_HPP

#include <atomic>
#include <cstddef>
#include <thread>
#include <vector>
#if defined(SMX_TEST_TBB)
#include <oneapi/tbb/parallel_for.h>
#endif

namespace executors {

inline const auto threads = [](std::size_t tasks, auto&& f) {
    std::atomic<std::size_t> next = 0;
    std::vector<std::jthread> crew(4);
    for (std::jthread& one : crew) {
        one = std::jthread([&] {
            for (std::size_t i; (i = next++) < tasks;) {
                f(i);
            }
        });
    }
};

#if defined(SMX_TEST_OPENMP)
inline const auto openmp = [](std::size_t tasks, auto&& f) {
#pragma omp parallel for schedule(dynamic)
    for (std::size_t i = 0; i < tasks; ++i) {
        f(i);
    }
};
#endif

#if defined(SMX_TEST_TBB)
inline const auto onetbb = [](std::size_t tasks, auto&& f) {
    oneapi::tbb::parallel_for(std::size_t{0}, tasks, f);
};
#endif

inline const auto backwards = [](std::size_t tasks, auto&& f) {
    for (std::size_t i = tasks; i-- != 0;) {
        f(i);
    }
};

// Notes how many tasks each call has.
class counting {
public:
    void operator()(std::size_t tasks, auto f) {
        calls.push_back(tasks);
        // Odd ones first: no order is promised.
        for (const std::size_t start : {std::size_t{1}, std::size_t{0}}) {
            for (std::size_t i = start; i < tasks; i += 2) {
                f(i);
            }
        }
    }

    std::vector<std::size_t> calls;
};

// visit(name, exec) for every adapter that there is.
template <class Visit>
void for_each(Visit visit) {
    visit("backwards", backwards);
    visit("threads", threads);
#if defined(SMX_TEST_OPENMP)
    visit("OpenMP", openmp);
#endif
#if defined(SMX_TEST_TBB)
    visit("oneTBB", onetbb);
#endif
}

} // namespace executors

#endif
