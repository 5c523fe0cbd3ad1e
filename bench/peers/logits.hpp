// Memory for the rows, at the alignment that is asked for, and the same random logits on every machine.
#ifndef SMX_BENCH_LOGITS_HPP
#define SMX_BENCH_LOGITS_HPP

#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

// From integers alone, because std::normal_distribution differs between standard libraries, and log and
// cos in the last digit: how many of 256 random bits are set has the standard deviation 8, and a fraction
// fills the gaps.
class normal_source {
public:
    explicit normal_source(std::uint64_t seed) : state_(seed) {}

    double operator()() {
        int set = 0;
        for (int word = 0; word < 4; ++word)
            set += std::popcount(next());
        const double fraction = static_cast<double>(next() >> 20) * 0x1p-44 - 0.5;
        return (set - 128 + fraction) / 8;
    }

private:
    std::uint64_t next() { // splitmix64
        std::uint64_t z = state_ += 0x9e3779b97f4a7c15;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        return z ^ (z >> 31);
    }

    std::uint64_t state_;
};

template <class Real>
class buffer {
public:
    explicit buffer(std::size_t n) : n_(n), storage_(n + alignment / sizeof(Real) + 1) {}

    std::span<Real> aligned() { return {first(), n_}; }
    // As aligned as an element has to be, and no more.
    std::span<Real> misaligned() { return {first() + 1, n_}; }

private:
    static constexpr std::size_t alignment = 64;

    Real* first() {
        void* p = storage_.data();
        std::size_t space = storage_.size() * sizeof(Real);
        return static_cast<Real*>(std::align(alignment, (n_ + 1) * sizeof(Real), p, space));
    }

    std::size_t n_;
    std::vector<Real> storage_;
};

template <class Real>
void fill(std::span<Real> logits, double standard_deviation) {
    normal_source normal(1);
    for (Real& x : logits)
        x = static_cast<Real>(standard_deviation * normal());
}

#endif
