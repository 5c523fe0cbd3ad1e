// Many threads call for the first time at once: the choice of the instruction set is the only state that the
// library has. CMake builds this file with ThreadSanitizer, which sees a race even where no result is wrong.
#include <softmax.hpp>

#include <atomic>
#include <cstdio>
#include <thread>
#include <vector>

int main() {
    constexpr int threads = 8;
    constexpr std::size_t n = 100;
    std::atomic<int> waiting{threads};
    std::vector<std::vector<float>> results(threads, std::vector<float>(n));
    std::vector<std::thread> callers;
    for (std::vector<float>& result : results) {
        callers.emplace_back([&result, &waiting] {
            for (std::size_t i = 0; i < n; ++i) {
                result[i] = static_cast<float>(i % 7);
            }
            // Relaxed: a barrier that orders memory would hide the race from the sanitizer.
            waiting.fetch_sub(1, std::memory_order_relaxed);
            while (waiting.load(std::memory_order_relaxed) != 0) {
                std::this_thread::yield();
            }
            smx::softmax(result, result, 0.5);
        });
    }
    for (std::thread& caller : callers) {
        caller.join();
    }
    bool same = results[0][6] > results[0][5];
    for (const std::vector<float>& result : results) {
        same = same && result == results[0];
    }
    std::printf("%s\n", same ? "the same everywhere" : "FAILED: results differ");
    return same ? 0 : 1;
}
