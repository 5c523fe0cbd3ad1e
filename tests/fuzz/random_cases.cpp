// The fuzz target without a fuzzer, for compilers that have none and for mutations: cases of random bytes, the same in every
// run. random_cases [how many]
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

int main(int argc, char** argv) {
    const unsigned long cases = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 20000;
    std::uint64_t state = 1;
    const auto next = [&] {
        state = state * 6364136223846793005U + 1442695040888963407U;
        return static_cast<std::uint8_t>(state >> 56);
    };
    std::vector<std::uint8_t> bytes;
    for (unsigned long k = 0; k != cases; ++k) {
        bytes.resize(std::size_t{1} << (2 + next() % 9));
        for (std::uint8_t& byte : bytes) {
            byte = next();
        }
        LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
    }
    std::printf("%lu random cases: passed\n", cases);
    return 0;
}
