// What the tests of equal bits share: a hash of results, and logits that are the same with every compiler and machine.
#ifndef SMX_TESTS_SUPPORT_BITS_HPP
#define SMX_TESTS_SUPPORT_BITS_HPP

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

namespace bits {

// FNV-1a over the bytes of numbers, the lowest first whatever the byte order of the machine.
class hash {
public:
    template <class Real>
    void add(Real value) {
        using integer = std::conditional_t<sizeof(Real) == 4, std::uint32_t, std::uint64_t>;
        const integer number = std::bit_cast<integer>(value);
        for (std::size_t byte = 0; byte != sizeof(Real); ++byte) {
            state_ = (state_ ^ ((number >> (8 * byte)) & 0xff)) * 1099511628211U;
        }
    }
    template <class Real>
    void add(std::span<const Real> values) {
        for (const Real value : values) {
            add(value);
        }
    }
    std::uint64_t value() const { return state_; }

private:
    std::uint64_t state_ = 14695981039346656037U;
};

// About normal with a deviation of 2^scale / 2, and made of integers: the same on every compiler.
template <class Real>
class logits {
public:
    Real operator()(int scale) {
        std::int64_t sum = 0;
        for (int i = 0; i < 3; ++i) {
            state_ = state_ * 6364136223846793005U + 1442695040888963407U;
            sum += static_cast<std::int64_t>(state_ >> 44);
        }
        Real x = static_cast<Real>(sum - 3 * (1 << 19));
        for (int i = scale; i < 20; ++i) {
            x /= 2;
        }
        return x;
    }

private:
    std::uint64_t state_ = 1;
};

} // namespace bits

#endif
