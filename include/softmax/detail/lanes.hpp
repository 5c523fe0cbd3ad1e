// The one SIMD vocabulary: a pack of W numbers and its arithmetic, lane by lane, with the same bits on every
// machine. A pack is a GCC / Clang vector, or a plain array where the compiler has none (or
// SMX_NO_VECTOR_EXTENSIONS is defined). Everything here is inlined into functions that carry the instruction
// set (dispatch.hpp); it leans on nothing else.
#ifndef SMX_DETAIL_LANES_HPP
#define SMX_DETAIL_LANES_HPP

#include "machine.hpp"
#include "standard.hpp"

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpsabi" // nothing here is ever called: all of it is inlined
#endif

namespace smx::inline SMX_ABI::detail {

template <class Real>
struct format;
template <>
struct format<float> {
    using bits = std::int32_t;
    using wide = double;
    static constexpr int mantissa = 23, bias = 127, lanes = 16, split = 12;
    static constexpr bits infinity = 0x7f800000;
};
template <>
struct format<double> {
    using bits = std::int64_t;
    using wide = double;
    static constexpr int mantissa = 52, bias = 1023, lanes = 8, split = 27;
    static constexpr bits infinity = 0x7ff0000000000000;
};

// The logit of no class: -inf, or the lowest number where there are no infinities.
template <class Real>
inline constexpr Real no_logit =
    has_infinities ? -std::numeric_limits<Real>::infinity() : std::numeric_limits<Real>::lowest();

#if SMX_VECTORS
template <class Real, int W>
struct lanes_of {
    typedef Real type __attribute__((vector_size(W * sizeof(Real))));
};
#else
template <class Real, int W>
struct lanes_of {
    struct type {
        Real lane[W];
        SMX_INLINE Real& operator[](int l) { return lane[l]; }
        SMX_INLINE const Real& operator[](int l) const { return lane[l]; }
    };
};
#endif

template <class Real, int W>
struct pack {
    using real = Real;
    using bits = typename format<Real>::bits;
    using lanes = typename lanes_of<Real, W>::type;
    struct bit_lanes {
        typename lanes_of<bits, W>::type v;
    };
    static constexpr int width = W;
    lanes v;

    // f of each lane of the arguments; only for what has no vector operator
    template <class F, class... P>
    SMX_INLINE static pack each(F f, const P&... p) {
        pack r;
        SMX_UNROLL for (int l = 0; l < W; ++l) r.v[l] = f(p.v[l]...);
        return r;
    }

#if SMX_VECTORS
    SMX_INLINE friend pack operator+(const pack& a, const pack& b) { return {a.v + b.v}; }
    SMX_INLINE friend pack operator-(const pack& a, const pack& b) { return {a.v - b.v}; }
    SMX_INLINE friend pack operator*(const pack& a, const pack& b) { return {a.v * b.v}; }
    SMX_INLINE friend pack operator/(const pack& a, const pack& b) { return {a.v / b.v}; }
    // a > b ? a : b, and a < b ? a : b: b where one is NaN
    SMX_INLINE friend pack larger(const pack& a, const pack& b) { return {a.v > b.v ? a.v : b.v}; }
    SMX_INLINE friend pack smaller(const pack& a, const pack& b) { return {a.v < b.v ? a.v : b.v}; }
    SMX_INLINE friend pack where_equal(const pack& a, const pack& b, const pack& yes, const pack& no) {
        return {a.v == b.v ? yes.v : no.v};
    }
    SMX_INLINE friend pack where_less(const pack& a, const pack& b, const pack& yes, const pack& no) {
        return {a.v < b.v ? yes.v : no.v};
    }
#else
    SMX_INLINE friend pack operator+(const pack& a, const pack& b) {
        return each([](Real s, Real t) { return s + t; }, a, b);
    }
    SMX_INLINE friend pack operator-(const pack& a, const pack& b) {
        return each([](Real s, Real t) { return s - t; }, a, b);
    }
    SMX_INLINE friend pack operator*(const pack& a, const pack& b) {
        return each([](Real s, Real t) { return s * t; }, a, b);
    }
    SMX_INLINE friend pack operator/(const pack& a, const pack& b) {
        return each([](Real s, Real t) { return s / t; }, a, b);
    }
    SMX_INLINE friend pack larger(const pack& a, const pack& b) {
        return each([](Real s, Real t) { return s > t ? s : t; }, a, b);
    }
    SMX_INLINE friend pack smaller(const pack& a, const pack& b) {
        return each([](Real s, Real t) { return s < t ? s : t; }, a, b);
    }
    SMX_INLINE friend pack where_equal(const pack& a, const pack& b, const pack& yes, const pack& no) {
        return each([](Real s, Real t, Real y, Real n) { return s == t ? y : n; }, a, b, yes, no);
    }
    SMX_INLINE friend pack where_less(const pack& a, const pack& b, const pack& yes, const pack& no) {
        return each([](Real s, Real t, Real y, Real n) { return s < t ? y : n; }, a, b, yes, no);
    }
#endif
};

// std::bit_cast for packs: always inlined, so that no wide vector is ever returned from a real function.
template <class To, class From>
SMX_INLINE To bits_as(const From& from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}

template <class P>
SMX_INLINE P splat(typename P::real x) {
#if SMX_GCC_X86
    // In larger functions GCC 12 builds a splat with 6 inserts; its builtins stay one broadcast.
    if constexpr (std::is_floating_point_v<typename P::real> && sizeof(P) > 16) {
        if (!__builtin_constant_p(x)) {
            constexpr bool single = sizeof(x) == sizeof(float);
            const typename lanes_of<typename P::real, 16 / int(sizeof(x))>::type one = {x};
            if constexpr (single && P::width == 16) {
                return {
                    __builtin_ia32_broadcastss512(one, typename P::lanes{}, static_cast<unsigned short>(-1))};
            } else if constexpr (single) {
                return {__builtin_ia32_vbroadcastss_ps256(one)};
            } else if constexpr (P::width == 8) {
                return {
                    __builtin_ia32_broadcastsd512(one, typename P::lanes{}, static_cast<unsigned char>(-1))};
            } else {
                return {__builtin_ia32_vbroadcastsd_pd256(one)};
            }
        }
    }
#endif
#if SMX_VECTORS
    return {x - typename P::lanes{}}; // x + 0 would be an addition: it turns -0 into 0
#else
    P r;
    for (int l = 0; l < P::width; ++l) {
        r.v[l] = x;
    }
    return r;
#endif
}

// Loads and stores P::width numbers at any alignment; a stored type of its own is converted lane by lane.
template <class P, class Stored>
SMX_INLINE P load(const Stored* from) {
    P r;
    if constexpr (sizeof(Stored) == sizeof(typename P::real)) {
        std::memcpy(&r.v, from, sizeof r.v);
    } else {
        for (int l = 0; l < P::width; ++l) {
            r.v[l] = static_cast<typename P::real>(from[l]);
        }
    }
    return r;
}
template <class P, class Stored>
SMX_INLINE void store(Stored* to, const P& p) {
    if constexpr (sizeof(Stored) == sizeof(typename P::real)) {
        std::memcpy(to, &p.v, sizeof p.v);
    } else {
        for (int l = 0; l < P::width; ++l) {
            to[l] = static_cast<Stored>(p.v[l]);
        }
    }
}

// Whether packs of these types have a fused multiply-add: wider than 16 bytes they come from AVX2 or AVX-512.
// SMX_STRICT_BITS asks for std::fma in its absence: the same bits as everywhere, an order of magnitude
// slower.
template <class P>
inline constexpr bool is_fused =
#if defined(SMX_STRICT_BITS) || !SMX_EMULATES_FMA
    true;
#elif defined(__x86_64__)
    SMX_VECTORS != 0 && sizeof(P) > 16;
#else
    false;
#endif

// Hides a value from algebra: -ffast-math would cancel a sum with a magic number, and undo a split product.
template <class P>
SMX_INLINE P opaque(const P& from) {
    P p = from;
#if SMX_VECTORS
    SMX_HIDE_VECTOR(p.v);
#else
    for (int l = 0; l < P::width; ++l) {
        SMX_HIDE(p.v[l]);
    }
#endif
    return p;
}

// Fetches what lies so many bytes behind p, if there is something.
SMX_INLINE void prefetch_beyond(const void* p, std::size_t bytes) {
    SMX_PREFETCH(std::bit_cast<const void*>(std::bit_cast<std::uintptr_t>(p) + bytes));
}

// One load where a number is used twice: GCC 12 reads it from memory for each use, and where vectors straddle cache lines that
// is what binds (scaling in L2: 0.065 ns an element, so 0.045).
template <class P, class Stored>
SMX_INLINE P load_once(const Stored* from) {
    return opaque(load<P>(from));
}

SMX_INLINE double opaque(double x) {
    SMX_HIDE(x);
    return x;
}

// a * b + c, rounded once.
template <class Real>
SMX_INLINE Real fma(Real a, Real b, Real c) {
#if defined(__GNUC__)
    if constexpr (sizeof(Real) == sizeof(float)) {
        return __builtin_fmaf(a, b, c);
    } else {
        return __builtin_fma(a, b, c);
    }
#else
    return standard::fma(a, b, c);
#endif
}
template <class Real, int W>
SMX_INLINE pack<Real, W> fma(const pack<Real, W>& a, const pack<Real, W>& b, const pack<Real, W>& c) {
#if SMX_GCC_X86
    constexpr bool single = sizeof(Real) == sizeof(float);
    if constexpr (single && W == 16) {
        return {__builtin_ia32_vfmaddps512_mask(a.v, b.v, c.v, static_cast<unsigned short>(-1), 4)};
    } else if constexpr (!single && W == 8) {
        return {__builtin_ia32_vfmaddpd512_mask(a.v, b.v, c.v, static_cast<unsigned char>(-1), 4)};
    } else if constexpr (single && W == 8) {
        return {__builtin_ia32_vfmaddps256(a.v, b.v, c.v)};
    } else if constexpr (!single && W == 4) {
        return {__builtin_ia32_vfmaddpd256(a.v, b.v, c.v)};
    } else
#elif SMX_CLANG_VECTORS
    if constexpr (sizeof(a.v) > 16 ||
                  !SMX_EMULATES_FMA) { // on lanes one by one Clang 14 falls apart at 64 bytes
#pragma clang fp contract(on)
        return {a.v * b.v + c.v};
    } else
#endif
    {
        pack<Real, W> r;
        for (int l = 0; l < W; ++l) {
            r.v[l] = fma(a.v[l], b.v[l], c.v[l]);
        }
        return r;
    }
}

// A store past the caches, at an address aligned to the pack; flush_streams() before anybody else may look.
template <class P>
SMX_INLINE void stream(typename P::real* to, const P& p) {
#if SMX_CLANG_VECTORS
    __builtin_nontemporal_store(p.v, static_cast<typename P::lanes*>(__builtin_assume_aligned(to, sizeof p)));
#elif SMX_GCC_X86
    if constexpr (sizeof(P) == 64) {
        __builtin_ia32_movntps512(std::bit_cast<float*>(to), bits_as<pack<float, 16>>(p).v);
    } else if constexpr (sizeof(P) == 32) {
        __builtin_ia32_movntps256(std::bit_cast<float*>(to), bits_as<pack<float, 8>>(p).v);
    } else {
        __builtin_ia32_movntps(std::bit_cast<float*>(to), bits_as<pack<float, 4>>(p).v);
    }
#else
    store(to, p);
#endif
}
SMX_INLINE void flush_streams() {
#if SMX_X86
    __builtin_ia32_sfence();
#endif
}

// a * b + c: rounded once where the machine can, else twice.
template <class P>
SMX_INLINE P multiply_add(const P& a, const P& b, const P& c) {
    if constexpr (is_fused<P>) {
        return fma(a, b, c);
    } else {
        return a * b + c;
    }
}

// The upper half of the digits of each lane: the rest of the number is exact, and so are products of halves.
template <class Real, int W>
SMX_INLINE pack<Real, W> upper_digits(const pack<Real, W>& x) {
    using P = pack<Real, W>;
    using bits = typename P::bits;
    constexpr bits mask = static_cast<bits>(-1) * (bits{1} << format<Real>::split);
#if SMX_VECTORS
    return bits_as<P>(bits_as<typename P::bit_lanes>(x).v & mask);
#else
    return P::each([](Real s) { return std::bit_cast<Real>(std::bit_cast<bits>(s) & mask); }, x);
#endif
}

// Lane l of p where skip <= first + l, else 0; skip and first in [0, 16]. By a sliding window over a table:
// GCC 12 takes a comparison apart into lanes as soon as its result is used twice.
template <class Bits>
struct lane_masks {
    Bits bits[48];
    constexpr lane_masks() : bits{} {
        for (int l = 16; l < 48; ++l) {
            bits[l] = -1;
        }
    }
};
template <class Bits>
inline constexpr lane_masks<Bits> lane_mask_table{};
template <class Real, int W>
SMX_INLINE pack<Real, W> lanes_from(std::size_t skip, std::size_t first, const pack<Real, W>& p) {
    using P = pack<Real, W>;
    typename P::bit_lanes mask;
    std::memcpy(&mask.v, lane_mask_table<typename P::bits>.bits + 16 + first - skip, sizeof mask.v);
#if SMX_VECTORS
    return bits_as<P>(bits_as<typename P::bit_lanes>(p).v & mask.v);
#else
    P r;
    for (int l = 0; l < W; ++l) {
        r.v[l] = mask.v[l] != 0 ? p.v[l] : Real(0);
    }
    return r;
#endif
}
// Lane l of p where l < count, else of other.
template <class Real, int W>
SMX_INLINE pack<Real, W> lanes_below(std::size_t count, const pack<Real, W>& p, const pack<Real, W>& other) {
    using P = pack<Real, W>;
    typename P::bit_lanes mask; // of the lanes from count on
    std::memcpy(&mask.v, lane_mask_table<typename P::bits>.bits + 16 - count, sizeof mask.v);
#if SMX_VECTORS
    return bits_as<P>((bits_as<typename P::bit_lanes>(p).v & ~mask.v) |
                      (bits_as<typename P::bit_lanes>(other).v & mask.v));
#else
    P r;
    for (int l = 0; l < W; ++l) {
        r.v[l] = mask.v[l] != 0 ? other.v[l] : p.v[l];
    }
    return r;
#endif
}

// The same with 0 for other, again and again: GCC 12 would make the mask each time, by an instruction that waits for the last
// use of its register.
template <class P>
struct first_lanes {
    typename P::bit_lanes mask;

    SMX_INLINE explicit first_lanes(std::size_t count) {
        for (int l = 0; l < P::width; ++l) {
            mask.v[l] = std::size_t(l) < count ? -1 : 0;
        }
    }
    SMX_INLINE P of(const P& p) const {
#if SMX_VECTORS
        return bits_as<P>(bits_as<typename P::bit_lanes>(p).v & mask.v);
#else
        P r;
        for (int l = 0; l < P::width; ++l) {
            r.v[l] = mask.v[l] != 0 ? p.v[l] : typename P::real(0);
        }
        return r;
#endif
    }
};

// 2^(k - bias) of the integer k in the lowest bits of z, a number in [1.5, 2) * 2^mantissa: k as an exponent
// field.
template <class Real, int W>
SMX_INLINE pack<Real, W> power_of_field(const pack<Real, W>& z) {
    using P = pack<Real, W>;
#if SMX_VECTORS
    return bits_as<P>(bits_as<typename P::bit_lanes>(z).v << format<Real>::mantissa);
#else
    return P::each(
        [](Real s) {
            using bits = std::conditional_t<sizeof(Real) == 4, std::uint32_t, std::uint64_t>;
            return std::bit_cast<Real>(static_cast<bits>(std::bit_cast<bits>(s) << format<Real>::mantissa));
        },
        z);
#endif
}

// Whether a pack can be scaled by powers of two in one instruction.
template <class P>
inline constexpr bool has_scaling = SMX_GCC_X86 != 0 && sizeof(P) == 64;

#if SMX_GCC_X86
// With has_scaling: v 2^n for integers n, infinite or 0 where that is too large or too small.
template <class Real, int W>
SMX_INLINE pack<Real, W> scaled_by_power(const pack<Real, W>& v, const pack<Real, W>& n) {
    if constexpr (sizeof(Real) == sizeof(float)) {
        return {__builtin_ia32_scalefps512_mask(v.v, n.v, v.v, static_cast<unsigned short>(-1), 4)};
    } else {
        return {__builtin_ia32_scalefpd512_mask(v.v, n.v, v.v, static_cast<unsigned char>(-1), 4)};
    }
}
#endif

// f and k of h = f 2^k, f in [0.7, 1.42], for normal h > 0.
template <int W>
SMX_INLINE pack<double, W> mantissa_and_exponent(const pack<double, W>& h, pack<double, W>& k) {
    using P = pack<double, W>;
    constexpr std::int64_t root = 0x3FE6A09E667F3BCD; // the square root of 1/2
    constexpr double magic = 0x1.8p52;                // k + the bits of magic are the bits of magic + k
    P f;
    SMX_UNROLL for (int l = 0; l < W; ++l) {
        const std::int64_t bits = std::bit_cast<std::int64_t>(static_cast<double>(h.v[l])),
                           e = (bits - root) >> 52;
        f.v[l] = std::bit_cast<double>(bits - e * (std::int64_t{1} << 52));
        k.v[l] = std::bit_cast<double>(std::bit_cast<std::int64_t>(magic) + e);
    }
    k = opaque(opaque(k) - splat<P>(magic)); // else k times a factor would be distributed over the difference
    return f;
}

// The two halves of a pack.
template <class Real, int W>
struct halves {
    pack<Real, W / 2> low, high;
};
template <class Real, int W>
SMX_INLINE halves<Real, W> halved(const pack<Real, W>& p) {
    return bits_as<halves<Real, W>>(p);
}

// Two packs as one. (As with halved(), but through memory GCC 12 would write two halves that the load of the whole waits for.)
template <class Real, int W, std::size_t... L>
SMX_INLINE pack<Real, 2 * W> joined(const pack<Real, W>& low, const pack<Real, W>& high,
                                    std::index_sequence<L...>) {
#if SMX_VECTORS
    return {__builtin_shufflevector(low.v, high.v, L...)};
#else
    return {{(L < W ? low.v[static_cast<int>(L)] : high.v[static_cast<int>(L) - W])...}};
#endif
}
template <class Real, int W>
SMX_INLINE pack<Real, 2 * W> joined(const pack<Real, W>& low, const pack<Real, W>& high) {
    return joined(low, high, std::make_index_sequence<2 * W>{});
}

// The first `count` lanes, at most P::width, from memory, the others of `rest`; nothing beyond is read. In halves: lanes
// that go through memory one by one make the load that follows wait.
template <class P, class Real = typename P::real>
SMX_INLINE P load_below(const Real* from, std::size_t count, const P& rest) {
    if constexpr (P::width == 2) {
        P p = rest;
        if (count > 0) {
            p.v[0] = from[0];
        }
        if (count > 1) {
            p.v[1] = from[1];
        }
        return p;
    } else {
#if SMX_GCC_X86 // (Clang takes its builtins only in functions that carry the instruction set, and inlines these nowhere else.)
        if constexpr (sizeof(P) == 64 && sizeof(Real) == sizeof(float)) {
            return {
                __builtin_ia32_loadups512_mask(from, rest.v, static_cast<unsigned short>((1U << count) - 1))};
        } else if constexpr (sizeof(P) == 64) {
            return {
                __builtin_ia32_loadupd512_mask(from, rest.v, static_cast<unsigned char>((1U << count) - 1))};
        } else
#endif
        {
            constexpr std::size_t half = P::width / 2;
            auto h = halved(rest);
            if (count >= half) {
                h.low = load<decltype(h.low)>(from);
                h.high = load_below(from + half, count - half, h.high);
            } else {
                h.low = load_below(from, count, h.low);
            }
            return joined(h.low, h.high);
        }
    }
}
// Stores the first `count` lanes, at most P::width; nothing beyond is written. (Masked stores cost 13 ns on Zen 5.)
template <class P, class Real = typename P::real>
SMX_INLINE void store_below(Real* to, std::size_t count, const P& p) {
    if constexpr (P::width == 2) {
        if (count > 0) {
            to[0] = p.v[0];
        }
        if (count > 1) {
            to[1] = p.v[1];
        }
    } else {
        constexpr std::size_t half = P::width / 2;
        const auto h = halved(p);
        if (count >= half) {
            store(to, h.low);
            store_below(to + half, count - half, h.high);
        } else {
            store_below(to, count, h.low);
        }
    }
}

// Conversion lane by lane.
template <class To, class Real, int W>
SMX_INLINE pack<To, W> convert(const pack<Real, W>& p) {
#if SMX_GCC_X86
    if constexpr (sizeof(To) * W == 32 && sizeof(Real) * W == 16) { // GCC 12 goes through halves
        return {__builtin_ia32_cvtps2pd256(p.v)};
    } else if constexpr (sizeof(To) * W == 64 && sizeof(Real) * W == 32) {
        return {__builtin_ia32_cvtps2pd512_mask(p.v, typename pack<To, W>::lanes{},
                                                static_cast<unsigned char>(-1), 4)};
    } else
#endif
#if SMX_VECTORS
        return {__builtin_convertvector(p.v, typename pack<To, W>::lanes)};
#else
    pack<To, W> r;
    for (int l = 0; l < W; ++l) {
        r.v[l] = static_cast<To>(p.v[l]);
    }
    return opaque(
        r); // GCC 12 -O2 makes vectors of two lanes, and takes double to float and back for no change
#endif
}

#if SMX_VECTORS
template <class Byte, int W>
struct byte_lanes {
    typedef Byte type __attribute__((vector_size(W)));
};
#if SMX_GCC_X86
// Count bytes, at most 16, in a vector of 16. (By way of a number: the load of a vector waits for what was stored into a part of it.)
template <int Count>
SMX_INLINE auto first_bytes(const unsigned char* bytes) {
    using vector = typename byte_lanes<char, 16>::type;
    struct result {
        vector v;
    } r;
    if constexpr (Count == 16) {
        std::memcpy(&r.v, bytes, sizeof r.v);
    } else {
        std::conditional_t<Count == 8, std::uint64_t,
                           std::conditional_t<Count == 4, std::uint32_t, std::uint16_t>>
            low;
        static_assert(sizeof low == Count);
        std::memcpy(&low, bytes, Count);
        r = bits_as<result>(typename lanes_of<std::uint64_t, 2>::type{low, 0});
    }
    return r;
}
#endif
// Bytes as integers as wide as the lanes of P. (GCC 12 converts vectors of them lane by lane; its builtins are declared in
// config.hpp.)
template <class P>
SMX_INLINE typename P::bit_lanes widened(const unsigned char* bytes) {
#if SMX_GCC_X86
    if constexpr (sizeof(P) > 16) {
        const auto m = first_bytes<P::width>(bytes).v;
        if constexpr (P::width == 16) {
            return {__builtin_ia32_pmovzxbd512_mask(m, decltype(P::bit_lanes::v){},
                                                    static_cast<unsigned short>(-1))};
        } else if constexpr (sizeof(P) == 64) {
            return bits_as<typename P::bit_lanes>(__builtin_ia32_pmovzxbq512_mask(
                m, typename lanes_of<long long, 8>::type{}, static_cast<unsigned char>(-1)));
        } else if constexpr (P::width == 8) {
            return {__builtin_ia32_pmovzxbd256(m)};
        } else {
            return bits_as<typename P::bit_lanes>(__builtin_ia32_pmovzxbq256(m));
        }
    } else
#endif
    {
        typename byte_lanes<unsigned char, P::width>::type m;
        std::memcpy(&m, bytes, sizeof m);
        return {__builtin_convertvector(m, decltype(P::bit_lanes::v))};
    }
}
#endif
// Lanes of yes where the byte is other than 0, else of no.
template <class P>
SMX_INLINE P where_nonzero(const unsigned char* bytes, const P& yes, const P& no) {
#if SMX_VECTORS
    const auto wide = widened<P>(bytes);
    return {wide.v != decltype(P::bit_lanes::v){} ? yes.v : no.v};
#else
    P r;
    for (int l = 0; l < P::width; ++l) {
        r.v[l] = bytes[l] != 0 ? yes.v[l] : no.v[l];
    }
    return r;
#endif
}

// Some lanes of a pack: as a number where the machine has registers for such, else as lanes of ones.
template <class P>
struct lane_set {
    typename P::bit_lanes of;

    // p in these lanes, 0 in the others, whatever it is there.
    SMX_INLINE P only(const P& p) const {
#if SMX_VECTORS
        return bits_as<P>(bits_as<typename P::bit_lanes>(p).v & of.v);
#else
        P r;
        for (int l = 0; l < P::width; ++l) {
            r.v[l] = of.v[l] != 0 ? p.v[l] : typename P::real(0);
        }
        return r;
#endif
    }
};
#if SMX_GCC_X86
template <class P>
    requires has_scaling<P>
struct lane_set<P> {
    using bits = std::conditional_t<P::width == 16, unsigned short, unsigned char>;
    bits of;

    SMX_INLINE P only(const P& p) const {
        if constexpr (P::width == 16) {
            return {__builtin_ia32_blendmps_512_mask(typename P::lanes{}, p.v, of)};
        } else {
            return {__builtin_ia32_blendmpd_512_mask(typename P::lanes{}, p.v, of)};
        }
    }
};
// As without a set, and 0 in all other lanes.
template <class Real, int W>
SMX_INLINE pack<Real, W> scaled_by_power(const pack<Real, W>& v, const pack<Real, W>& n,
                                         const lane_set<pack<Real, W>>& in) {
    using P = pack<Real, W>;
    if constexpr (sizeof(Real) == sizeof(float)) {
        return {__builtin_ia32_scalefps512_mask(v.v, n.v, typename P::lanes{}, in.of, 4)};
    } else {
        return {__builtin_ia32_scalefpd512_mask(v.v, n.v, typename P::lanes{}, in.of, 4)};
    }
}
#endif

#if SMX_GCC_X86
// Leaves the lanes where the comparison holds, which is a number of the instruction.
template <int Comparison, class P>
SMX_INLINE void narrow(lane_set<P>& found, const P& a, const P& b) {
    using bits = typename lane_set<P>::bits;
    if constexpr (P::width == 16) {
        found.of = static_cast<bits>(__builtin_ia32_cmpps512_mask(a.v, b.v, Comparison, found.of, 4));
    } else {
        found.of = static_cast<bits>(__builtin_ia32_cmppd512_mask(a.v, b.v, Comparison, found.of, 4));
    }
}
inline constexpr int not_equal = 4, not_less = 5;
#endif

// The lanes where b is other than `none`, and, with x, those of them where x is not below `least`. NaN is neither.
template <class P>
SMX_INLINE void find_unequal(const P& b, const P& none, lane_set<P>& found) {
#if SMX_GCC_X86
    if constexpr (has_scaling<P>) {
        found.of = static_cast<typename lane_set<P>::bits>(-1);
        narrow<not_equal>(found, b, none);
    } else
#endif
    {
#if SMX_VECTORS
        found.of.v = b.v != none.v;
#else
        for (int l = 0; l < P::width; ++l) {
            found.of.v[l] = b.v[l] != none.v[l] ? -1 : 0;
        }
#endif
    }
}
template <class P>
SMX_INLINE void find_lanes(const P& x, const P& least, const P& b, const P& none, lane_set<P>& found) {
#if SMX_GCC_X86
    if constexpr (has_scaling<P>) {
        found.of = static_cast<typename lane_set<P>::bits>(-1);
        narrow<not_less>(found, x, least);
        narrow<not_equal>(found, b, none);
    } else
#endif
    {
#if SMX_VECTORS
        found.of.v = ~(x.v < least.v) & (b.v != none.v);
#else
        for (int l = 0; l < P::width; ++l) {
            found.of.v[l] = !(x.v[l] < least.v[l]) && b.v[l] != none.v[l] ? -1 : 0;
        }
#endif
    }
}

// The bits in which numbers are seen to differ from one. (Which is no pack: as bits, GCC 12 would copy that in two halves, and the
// load that follows waits for both: 512 x 2048 biases, AVX2, 0.61 ns an element instead of 0.49.)
template <class P>
struct seen_bits {
    using real = typename P::real;
    typename P::bit_lanes bits{};

    SMX_INLINE void see(const P& p, real one, const lane_set<P>& in) {
        const auto b = bits_as<typename P::bit_lanes>(p);
        const auto of_one = std::bit_cast<typename P::bits>(one);
#if SMX_GCC_X86
        if constexpr (has_scaling<P>) {
            constexpr int first_or_others_differ = 0xf6;
            if constexpr (P::width == 16) {
                bits.v = __builtin_ia32_pternlogd512_mask(bits.v, b.v, of_one - decltype(bits.v){},
                                                          first_or_others_differ, in.of);
            } else {
                using lanes = typename lanes_of<long long, 8>::type;
                bits = bits_as<typename P::bit_lanes>(
                    __builtin_ia32_pternlogq512_mask(bits_as<lanes>(bits), bits_as<lanes>(b),
                                                     of_one - lanes{}, first_or_others_differ, in.of));
            }
        } else
#endif
        {
#if SMX_VECTORS
            bits.v |= (b.v ^ of_one) & in.of.v;
#else
            for (int l = 0; l < P::width; ++l) {
                bits.v[l] |= (b.v[l] ^ of_one) & in.of.v[l];
            }
#endif
        }
    }
    SMX_INLINE bool any_of(typename P::bits some) const {
        std::uint64_t words[sizeof bits / 8],
            all = 0; // lane by lane is_selection would take 0.1 ns an element more
        std::memcpy(words, &bits, sizeof words);
        for (const std::uint64_t word : words) {
            all |= word;
        }
        const auto low = static_cast<typename P::bits>(all);
        return ((sizeof(real) == 8 ? low : low | static_cast<typename P::bits>(all >> 32)) & some) != 0;
    }
};

// The lanes of K packs whose bytes are other than 0.
template <int K, class P>
SMX_INLINE void find_nonzero(const unsigned char* bytes, lane_set<P> (&found)[K]) {
#if SMX_GCC_X86
    if constexpr (has_scaling<P> && K * P::width == 64) { // 4 packs cost half a vpmovzxbd
        typename byte_lanes<char, 64>::type m;
        std::memcpy(&m, bytes, sizeof m);
        const std::uint64_t bits = __builtin_ia32_ptestmb512(m, m, static_cast<std::uint64_t>(-1));
        for (int k = 0; k < K; ++k) {
            found[k].of = static_cast<typename lane_set<P>::bits>(bits >> k * P::width);
        }
    } else if constexpr (has_scaling<P> && K * P::width == 32) {
        typename byte_lanes<char, 32>::type m;
        std::memcpy(&m, bytes, sizeof m);
        const unsigned bits = __builtin_ia32_ptestmb256(m, m, static_cast<unsigned>(-1));
        for (int k = 0; k < K; ++k) {
            found[k].of = static_cast<typename lane_set<P>::bits>(bits >> k * P::width);
        }
    } else if constexpr (has_scaling<P>) {
        for (int k = 0; k < K; ++k) {
            const auto m = first_bytes<P::width>(bytes + k * P::width).v;
            found[k].of = static_cast<typename lane_set<P>::bits>(
                __builtin_ia32_ptestmb128(m, m, static_cast<unsigned short>(-1)));
        }
    } else
#endif
    {
        for (int k = 0; k < K; ++k) {
#if SMX_VECTORS
            found[k].of.v = widened<P>(bytes + k * P::width).v != decltype(P::bit_lanes::v){};
#else
            for (int l = 0; l < P::width; ++l) {
                found[k].of.v[l] = bytes[k * P::width + l] != 0 ? -1 : 0;
            }
#endif
        }
    }
}

#if SMX_VECTORS
// Of bytes that repeat the bits, one for each lane.
template <std::size_t... L, class Bytes>
SMX_INLINE void spread_over_lanes(Bytes& bits, std::index_sequence<L...>) {
    const Bytes one_of_eight = {static_cast<unsigned char>(1U << L % 8)...};
    bits = __builtin_shufflevector(bits, bits, (L / 16 * 16 + L / 8 % 16)...) & one_of_eight;
}
#endif
// 64 bytes at `to`: other than 0 where the bit is set.
template <class P>
SMX_INLINE void store_bits(unsigned char* to, std::uint64_t bits) {
#if SMX_VECTORS
    if constexpr (sizeof(P) > 16) { // (16 bytes are shuffled by SSSE3)
        using part = std::conditional_t<sizeof(P) == 64, std::uint64_t, std::uint32_t>;
        using lanes = typename lanes_of<part, int(sizeof(P) / sizeof(part))>::type;
        using bytes = typename byte_lanes<unsigned char, int(sizeof(P))>::type;
        for (std::size_t i = 0; i < 64; i += sizeof(P)) {
            const lanes all = lanes{} + static_cast<part>(bits >> i);
            bytes spread;
            std::memcpy(&spread, &all, sizeof spread);
            spread_over_lanes(spread, std::make_index_sequence<sizeof(P)>{});
            std::memcpy(to + i, &spread, sizeof spread);
        }
    } else
#endif
    {
        for (int i = 0; i < 64; ++i) {
            to[i] = static_cast<unsigned char>(bits >> i & 1);
        }
    }
}

// The largest lane, and the sum of the lanes, halves first: lane l with lane l + W / 2, and so on down.
template <class Real, int W>
SMX_INLINE Real largest_lane(const pack<Real, W>& p) {
    if constexpr (W > 2) {
        const auto h = halved(p);
        return largest_lane(larger(h.low, h.high));
    } else if constexpr (W == 2) {
        return p.v[0] > p.v[1] ? p.v[0] : p.v[1];
    } else {
        return p.v[0];
    }
}
template <class Real, int W>
SMX_INLINE Real sum_of_lanes(const pack<Real, W>& p) {
    if constexpr (W > 2) {
        const auto h = halved(p);
        return sum_of_lanes(h.low + h.high);
    } else if constexpr (W == 2) {
        return p.v[0] + p.v[1];
    } else {
        return p.v[0];
    }
}

} // namespace smx::inline SMX_ABI::detail

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

#endif
