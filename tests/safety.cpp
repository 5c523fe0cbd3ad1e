// Nothing is read or written outside the rows: they end at an inaccessible page, and begin behind one, at every length to
// 300 and every alignment; on every instruction set that the machine has. And nothing is allocated.
#include "support/catch.hpp"
#include "support/executors.hpp"
#include "support/instruction_sets.hpp"
#include "support/strided_view.hpp"

#include <softmax.hpp>

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>
#include <span>
#include <type_traits>
#include <vector>

namespace {

std::size_t allocations = 0;

} // namespace

void* operator new(std::size_t size) {
    ++allocations;
    if (void* memory = std::malloc(size)) {
        return memory;
    }
    throw std::bad_alloc();
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
    ++allocations;
    return std::malloc(size);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace {

constexpr std::size_t longest = 300;

// Accessible pages between two that are not.
class guarded_pages {
public:
    guarded_pages() {
        void* const memory = mmap(nullptr, size_ + 2 * page_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        REQUIRE(memory != MAP_FAILED);
        begin_ = static_cast<std::byte*>(memory) + page_;
        REQUIRE(mprotect(begin_, size_, PROT_READ | PROT_WRITE) == 0);
    }
    ~guarded_pages() { munmap(begin_ - page_, size_ + 2 * page_); }
    guarded_pages(const guarded_pages&) = delete;
    guarded_pages& operator=(const guarded_pages&) = delete;

    // n elements that begin `bytes` after the first page, or end `bytes` before the last.
    template <class Real>
    std::span<Real> first(std::size_t n, std::size_t bytes) {
        return {reinterpret_cast<Real*>(begin_ + bytes), n};
    }
    template <class Real>
    std::span<Real> last(std::size_t n, std::size_t bytes) {
        return {reinterpret_cast<Real*>(begin_ + size_ - bytes - n * sizeof(Real)), n};
    }
    void fill(int byte) { std::memset(begin_, byte, size_); }
    // Whether all but `row` still has that byte.
    bool is_untouched_around(std::span<const std::byte> row, int byte) const {
        for (std::size_t i = 0; i < size_; ++i) {
            const std::byte* const at = begin_ + i;
            if ((at < row.data() || at >= row.data() + row.size()) && *at != static_cast<std::byte>(byte)) {
                return false;
            }
        }
        return true;
    }

private:
    std::size_t page_ = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    std::size_t size_ = page_;
    std::byte* begin_ = nullptr;
};

const std::vector<int> zeros(300000);
std::span<const int> targets_of(std::size_t rows) { return std::span(zeros).first(rows); }

// With masks that end, or begin, where the logits do. (A bias that is written is outside the contract.)
template <class Real>
void run_masked(std::span<const Real> x, std::span<Real> y) {
    const std::size_t n = x.size();
    const std::span all(reinterpret_cast<const unsigned char*>(x.data()), n * sizeof(Real));
    if (x.data() == y.data()) {
        smx::masked_softmax(x, smx::causal(2), y, {.sink = 1});
        return;
    }
    for (const auto mask : {all.first(n), all.last(n)}) {
        smx::masked_softmax(x, mask, y, {.temperature = 0.7});
        smx::masked_log_softmax(x, mask, y, {.temperature = 0.7});
    }
    smx::masked_softmax(x, x, y);
    smx::masked_softmax(x, x, y, {.temperature = 0.7, .sink = 1});
    for (const std::size_t rows : {2U, 3U, 20U}) {
        if (n % rows == 0) {
            const smx::shape s{rows, n / rows};
            smx::masked_softmax(x, all.last(n), y, s);
            smx::masked_softmax(x, all.last(s.classes), y, s);
            smx::masked_softmax(x, x, y, s, {.temperature = 0.7});
            smx::masked_softmax(x, x.last(s.classes), y, s);
        }
    }
}

template <class Real>
void run_all(std::span<const Real> x, std::span<Real> y) {
    const std::size_t n = x.size();
    smx::softmax(x, y, 0.7);
    smx::log_softmax(x, y, 0.7);
    static_cast<void>(smx::logsumexp(x, 0.7));
    if (n == 0) {
        return;
    }
    static_cast<void>(smx::cross_entropy(x, n / 2));
    static_cast<void>(smx::cross_entropy(x, n / 2, y));
    smx::softmax_backward(x, x, y, 0.7);
    smx::log_softmax_backward(x, x, y, 0.7);
    static_cast<void>(smx::kl_divergence(x, x));
    static_cast<void>(smx::kl_divergence(x, x, y, {.temperature = 0.7}));
    run_masked(x, y);
    for (const std::size_t rows : {2U, 3U, 5U}) {
        if (n % rows == 0) {
            smx::softmax(x, y, smx::shape{rows, n / rows}, 0.7);
            smx::log_softmax(x, y, smx::shape{1, n / rows, rows}, 0.7);
            smx::softmax_backward(x, x, y, smx::shape{rows, n / rows}, 0.7);
            smx::log_softmax_backward(x, x, y, smx::shape{1, n / rows, rows}, 0.7);
            static_cast<void>(smx::kl_divergence(x, x, y, smx::shape{rows, n / rows}));
            static_cast<void>(smx::kl_divergence(x, x, y, smx::shape{1, n / rows, rows}));
        }
    }
    for (const std::size_t columns : {1U, 4U, 9U, 16U, 21U, 40U}) {
        if (n % columns == 0) { // many rows, which lie in columns
            smx::softmax(x, y, smx::shape{1, columns, n / columns}, 0.7);
            smx::cross_entropy(x, targets_of(n / columns), y, smx::shape{1, columns, n / columns});
        }
        if ((n + 1) % (columns + 1) == 0) { // rows with padding, but for the last
            const auto view = [&](auto* data) {
                return test::strided_view<std::remove_pointer_t<decltype(data)>, 2>(
                    data, {(n + 1) / (columns + 1), columns}, {static_cast<std::ptrdiff_t>(columns + 1), 1});
            };
            smx::softmax(view(x.data()), view(y.data()), 1, 0.7);
            smx::log_softmax(view(x.data()), view(y.data()), 0, 0.7);
            smx::softmax(executors::backwards, view(x.data()), view(y.data()), 1, 0.7);
        }
    }
    smx::log_softmax(executors::backwards, x, y, smx::shape{1, n}, 0.7);
    smx::cross_entropy(executors::backwards, x, targets_of(n), y, smx::shape{n, 1});
}

template <class Real>
void fill(std::span<Real> row) {
    for (std::size_t i = 0; i < row.size(); ++i) {
        row[i] = static_cast<Real>((i * 7) % 11) - 5;
    }
}

} // namespace

TEMPLATE_TEST_CASE("all functions stay inside their rows under inaccessible pages on both sides", "", float,
                   double) {
    guarded_pages in;
    guarded_pages out;
    in.fill(0);
    on_every_instruction_set([&] {
        for (std::size_t n = 0; n <= longest; ++n) {
            const auto at_end = in.last<TestType>(n, 0);
            const auto at_begin = in.first<TestType>(n, 0);
            fill(at_end);
            run_all<TestType>(at_end, out.last<TestType>(n, 0));
            run_all<TestType>(at_end, at_end);
            fill(at_begin);
            run_all<TestType>(at_begin, out.first<TestType>(n, 0));
            run_all<TestType>(at_begin, at_begin);
        }
    });
}

TEMPLATE_TEST_CASE("all functions write only their rows under every alignment", "", float, double) {
    guarded_pages in;
    guarded_pages out;
    in.fill(0);
    on_every_instruction_set([&] {
        for (std::size_t n = 0; n <= longest; n += n < 70 ? 1 : 23) {
            for (std::size_t bytes = 0; bytes < 64; bytes += sizeof(TestType)) {
                const auto x = in.first<TestType>(n, 64 + bytes);
                const auto y = out.first<TestType>(n, 128 - bytes);
                fill(x);
                out.fill(0x5a);
                run_all<TestType>(x, y);
                CAPTURE(n, bytes);
                CHECK(out.is_untouched_around(std::as_bytes(y), 0x5a));
            }
        }
    });
}

TEMPLATE_TEST_CASE("nothing is allocated under any route", "", float, double) {
    for (const std::size_t n : {1U, 10U, 64U, 300U, 5000U, 300000U}) {
        std::vector<TestType> x(n);
        std::vector<TestType> y(n);
        fill(std::span(x));
        on_every_instruction_set([&] {
            const std::size_t before = allocations;
            run_all<TestType>(x, y);
            const std::size_t after = allocations;
            CHECK(after == before);
        });
    }
}
