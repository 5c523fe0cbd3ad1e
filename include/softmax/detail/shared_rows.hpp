// One long row on the caller's threads, with the bits that it has on one: tasks sum the chunks of long_rows.hpp by the references
// that they have in sequence, and what comes out is added in order. Leans on operations.hpp, routes.hpp and tasks.hpp.
#ifndef SMX_DETAIL_SHARED_ROWS_HPP
#define SMX_DETAIL_SHARED_ROWS_HPP

#include "operations.hpp"
#include "routes.hpp"
#include "tasks.hpp"

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace smx::inline SMX_ABI::detail {

// A row as sum_long_row() cuts it: the last chunk takes what is left.
template <class Real>
struct row_chunks {
    static constexpr std::size_t length = 32 * machine<Real, 1>::block;

    const Real* x;
    std::size_t n;

    std::size_t count() const { return n / length; }
    const Real* begin(std::size_t k) const { return x + k * length; }
    std::size_t size(std::size_t k) const { return k + 1 == count() ? n - k * length : length; }
};

// What tasks find out of a chunk: its maximum and the block that holds it; then the sum of its terms by the maximum of the row up
// to this chunk, where that is one of its own without it.
template <class Real>
struct chunk_sum {
    Real maximum;
    std::uint32_t place;
    double tops;
    double_word<double> rest;
};

// `count` chunks from `first` on.
struct chunk_maxima {
    template <class M, class Real>
    SMX_INLINE static void run(const row_chunks<Real>* row, std::size_t first, std::size_t count,
                               chunk_sum<Real>* sums) {
        for (std::size_t k = 0; k < count; ++k) {
            std::size_t place;
            sums[k].maximum = largest<M>(row->begin(first + k), row->size(first + k), place);
            sums[k].place = static_cast<std::uint32_t>(place);
        }
    }
};

// running: the maximum of the row before these chunks.
struct chunk_sums {
    template <class M, class Real>
    SMX_INLINE static void run(const row_chunks<Real>* row, std::size_t first, std::size_t count,
                               chunk_sum<Real>* sums, Real running, const base2_scale<Real>* c) {
        using P = typename M::vector;
        const P one = splat<P>(1), zero = P{};
        term_pass<M> pass{{}, zero, one, zero, one, zero, row_chunks<Real>::length};
        Real referred = no_logit<Real>;
        for (std::size_t k = 0; k < count; ++k) {
            chunk_sum<Real>& sum = sums[k];
            running = sum.maximum > running ? sum.maximum : running;
            if (running != referred) {
                refer_to(running, *c, pass.reference);
                pass.maximum = splat<P>(running);
                referred = running;
            }
            const std::size_t size = row->size(first + k);
            Real* const nowhere = nullptr;
            sum.rest =
                sum_of_terms<M, false>(row->begin(first + k), nowhere, size,
                                       sum.maximum == running ? sum.place : size, false, pass, sum.tops);
        }
    }
};

// Adds chunks to the sum of those before them, as sum_long_row() does.
struct chunk_addition {
    template <class M, class Real>
    SMX_INLINE static void run(const chunk_sum<Real>* sums, std::size_t count, row_sum<Real>* s,
                               const base2_scale<Real>* c) {
        using P = typename M::vector;
        for (std::size_t k = 0; k < count; ++k) {
            if (sums[k].maximum > s->maximum) {
                row_reference<P> before, after;
                const double top = refer_to(sums[k].maximum, *c, after);
                double step = 0;
                if (s->maximum != no_logit<Real>) { // the magic numbers differ by the step of N
                    refer_to(s->maximum, *c, before);
                    step = static_cast<double>(after.magic.v[0]) - static_cast<double>(before.magic.v[0]);
                }
                raise_maximum(*s, sums[k].maximum, top, step);
            }
            add_part(*s, sums[k].rest, sums[k].tops);
        }
    }
};

// Whether the maxima of all chunks, and the first of them, are such as sum_long_row() takes.
struct chunk_check {
    template <class M, class Real>
    SMX_INLINE static bool run(const chunk_sum<Real>* sums, std::size_t count, Real running,
                               const base2_scale<Real>* c) {
        bool usual = !c->scaled && (sums[0].maximum > running || running != no_logit<Real>);
        for (std::size_t k = 0; k < count; ++k) {
            if (sums[k].maximum > running) {
                running = sums[k].maximum;
                usual = usual && magnitude(running) <= c->template largest<typename M::vector>();
            }
        }
        return usual;
    }
};

// As sum_long_row(), by the tasks of exec. So many chunks at a time that their sums fit the stack.
template <class Real, class Exec>
bool sum_shared_row(Exec& exec, const row_chunks<Real>& row, const base2_scale<Real>& c, row_sum<Real>& s) {
    constexpr std::size_t at_a_time = 512, of_task = elements_of_task / row_chunks<Real>::length;
    chunk_sum<Real> sums[at_a_time];
    s = {no_logit<Real>, 0, 0, {0, 0}};
    for (std::size_t first = 0; first < row.count(); first += at_a_time) {
        const std::size_t left = row.count() - first, count = left < at_a_time ? left : at_a_time;
        const std::size_t tasks = (count + of_task - 1) / of_task;
        const auto size_of_task = [&](std::size_t t) {
            return count - t * of_task < of_task ? count - t * of_task : of_task;
        };
        run_tasks(exec, tasks, [&](std::size_t t) {
            dispatch<chunk_maxima, Real>(&row, first + t * of_task, size_of_task(t), sums + t * of_task);
        });
        if (!dispatch<chunk_check, Real>(static_cast<const chunk_sum<Real>*>(sums), count, s.maximum, &c)) {
            return false;
        }
        run_tasks(exec, tasks, [&](std::size_t t) {
            Real running = s.maximum;
            for (std::size_t k = 0; k < t * of_task; ++k) {
                running = sums[k].maximum > running ? sums[k].maximum : running;
            }
            dispatch<chunk_sums, Real>(&row, first + t * of_task, size_of_task(t), sums + t * of_task,
                                       running, &c);
        });
        dispatch<chunk_addition, Real>(static_cast<const chunk_sum<Real>*>(sums), count, &s, &c);
    }
    return true;
}

// f(begin, end) for parts of the elements of a row; all but the last end where a vector does.
template <class Exec, class F>
void for_parts_of_row(Exec& exec, std::size_t n, F f) {
    constexpr std::size_t unit = 1024;
    const parts_of_rows parts = parts_of(n / unit, unit);
    run_tasks(exec, parts.count, [&](std::size_t i) {
        f(parts.begin(i) * unit, i + 1 == parts.count ? n : parts.end(i) * unit);
    });
}

struct part_of_softmax {
    template <class M, class Real>
    SMX_INLINE static void run(const Real* x, Real* y, std::size_t n, const base2_scale<Real>* c,
                               const row_sum<Real>* s) {
        write_scaled_terms<M>(x, y, n, *c, s->maximum, quotient<M>(1.0, *s), Real(1));
    }
};

struct part_of_log_softmax {
    template <class M, class Real>
    SMX_INLINE static void run(const Real* x, Real* y, std::size_t n, const base2_scale<Real>* c,
                               const row_sum<Real>* s) {
        write_logs<M>(x, y, n, {s->maximum, log_of_sum<M>(*s), *c});
    }
};

struct shared_logsumexp {
    template <class M, class Real>
    SMX_INLINE static Real run(const base2_scale<Real>* c, const row_sum<Real>* s) {
        return logsumexp_operation::assemble<M>(s->maximum, log_of_sum<M>(*s), *c);
    }
};

// The rows that share_row() can do: those whose sum is one of chunks.
template <class Real>
constexpr std::size_t longest_unshared_row(softmax_route) {
    return longest_stored_row<Real>;
}
template <class Real>
constexpr std::size_t longest_unshared_row(log_softmax_route) {
    return longest_row_read_twice<Real>;
}

// A row by the tasks of exec; false, with nothing written, if it is too short or unusual.
template <class Route, class Real, class Exec>
bool share_row(Exec& exec, const Real* x, Real* y, std::size_t n, const base2_scale<Real>& c) {
    row_sum<Real> s;
    if (n <= longest_unshared_row<Real>(Route{}) || !sum_shared_row(exec, row_chunks<Real>{x, n}, c, s)) {
        return false;
    }
    using part = std::conditional_t<std::same_as<Route, softmax_route>, part_of_softmax, part_of_log_softmax>;
    for_parts_of_row(exec, n, [&](std::size_t begin, std::size_t end) {
        dispatch<part, Real>(x + begin, y + begin, end - begin, &c, static_cast<const row_sum<Real>*>(&s));
    });
    return true;
}
template <class Real, class Exec>
bool share_logsumexp(Exec& exec, const Real* x, Real& result, std::size_t n, const base2_scale<Real>& c) {
    row_sum<Real> s;
    if (n <= longest_row_read_twice<Real> || !sum_shared_row(exec, row_chunks<Real>{x, n}, c, s)) {
        return false;
    }
    result = dispatch<shared_logsumexp, Real>(&c, static_cast<const row_sum<Real>*>(&s));
    return true;
}

} // namespace smx::inline SMX_ABI::detail

#endif
