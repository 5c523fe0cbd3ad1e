// How a batch is cut into tasks for the caller's threads. The cuts depend on the batch alone, so that no result depends
// on the threads.
#ifndef SMX_DETAIL_TASKS_HPP
#define SMX_DETAIL_TASKS_HPP

#include "config.hpp"

#include <concepts>
#include <cstddef>
#include <type_traits>

namespace smx::inline SMX_ABI::detail {

// A function of a task's number, of one type whatever it does: the caller's exec is compiled once. Refers to the
// function, which lives until exec returns; small enough for a std::function to hold without allocating.
class task {
public:
    template <class F>
    explicit task(const F& f)
        : function_(&f),
          call_(
              [](const void* function, std::size_t number) { (*static_cast<const F*>(function))(number); }) {}

    void operator()(std::size_t number) const { call_(function_, number); }

private:
    const void* function_;
    void (*call_)(const void*, std::size_t);
};

// exec(tasks, f) with any function that takes a task's number.
template <class Exec>
concept runs_tasks = requires(Exec& exec, std::size_t tasks, const task& f) { exec(tasks, f); };

// The exec of calls without one.
struct calling_thread {};
template <class Exec>
inline constexpr bool is_calling_thread = std::same_as<std::remove_const_t<Exec>, calling_thread>;

// Enough elements that the cost of a task does not count (15 us and more), and at most so many tasks that the states of all
// of them fit the stack.
inline constexpr std::size_t elements_of_task = std::size_t{1} << 15;
inline constexpr std::size_t most_tasks = 256;

// Rows 0 to `rows` in `count` parts of the same size, or one row less.
struct parts_of_rows {
    std::size_t rows;
    std::size_t count;

    constexpr std::size_t begin(std::size_t part) const {
        const std::size_t left = rows % count;
        return part * (rows / count) + (part < left ? part : left);
    }
    constexpr std::size_t end(std::size_t part) const { return begin(part + 1); }
};

constexpr parts_of_rows parts_of(std::size_t rows, std::size_t classes) {
    const std::size_t rows_of_task = classes == 0 ? elements_of_task : elements_of_task / classes + 1;
    const std::size_t wanted = rows / rows_of_task;
    return {rows, wanted < 1 ? 1 : wanted < most_tasks ? wanted : most_tasks};
}

// f(0) .. f(count - 1), each once. One task is not worth exec's time.
template <class Exec, class F>
void run_tasks(Exec& exec, std::size_t count, const F& f) {
    if (count == 1) {
        f(std::size_t{0});
    } else {
        const task numbered(f);
        exec(count, numbered);
    }
}

// f(first, last) for all rows, in parts.
template <class Exec, class F>
constexpr void for_parts_of_rows(Exec& exec, std::size_t rows, std::size_t classes, const F& f) {
    if constexpr (is_calling_thread<Exec>) {
        f(std::size_t{0}, rows);
    } else {
        const parts_of_rows parts = parts_of(rows, classes);
        run_tasks(exec, parts.count, [&](std::size_t i) { f(parts.begin(i), parts.end(i)); });
    }
}

// The sum of f(first, last) over all parts, added in order: the same with and without threads.
template <class Sum, class Exec, class F>
constexpr Sum sum_over_rows(Exec& exec, std::size_t rows, std::size_t classes, const F& f) {
    const parts_of_rows parts = parts_of(rows, classes);
    Sum total;
    if constexpr (is_calling_thread<Exec>) {
        for (std::size_t i = 0; i != parts.count; ++i) {
            total += f(parts.begin(i), parts.end(i));
        }
    } else {
        Sum sums[most_tasks];
        run_tasks(exec, parts.count, [&](std::size_t i) { sums[i] = f(parts.begin(i), parts.end(i)); });
        for (std::size_t i = 0; i != parts.count; ++i) {
            total += sums[i];
        }
    }
    return total;
}

} // namespace smx::inline SMX_ABI::detail

#endif
