// libFuzzer at the interface: rows and batches of float and double, any function, temperature and options, in place or not, at
// any alignment, with NaN and infinities, sizes that do not fit and targets out of range. Held against the formulas in wider
// arithmetic, the table of special values and what is promised of batches, bits and errors. Buffers end where the rows do, so that
// the address sanitizer sees what is touched outside.
#include "cases.hpp"
#include "divergences.hpp"
#include "errors.hpp"
#include "forward.hpp"
#include "gradients.hpp"
#include "losses.hpp"
#include "masked.hpp"
#include "online.hpp"

namespace {

template <class Real>
void run(fuzz::source& from) {
    const fuzz::batch_case<Real> b(from);
    const auto function = from.below(11);
    if (function < 8 && (!(b.temperature >= 0) || (function >= 2 && b.temperature == 0))) {
        fuzz::fuzz_bad_temperature(b, function);
        return;
    }
    switch (function) {
    case 0:
        return fuzz::fuzz_softmax(b);
    case 1:
        return fuzz::fuzz_log_softmax(b);
    case 2:
        return fuzz::fuzz_logsumexp(b);
    case 3:
        return fuzz::fuzz_cross_entropy(b, from);
    case 4:
        return fuzz::fuzz_kl_divergence(b, from);
    case 5:
        return fuzz::fuzz_softmax_backward(b, from);
    case 6:
        return fuzz::fuzz_log_softmax_backward(b, from);
    case 7:
        return fuzz::fuzz_online_normalizer(b, from);
    case 8:
        return fuzz::fuzz_masked(b, from);
    case 9:
        return fuzz::fuzz_masked_backward(b, from);
    default:
        return fuzz::fuzz_errors(b, from);
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::source from(data, size);
    const auto which = from.take<std::uint8_t>();
    namespace detail = smx::detail;
    // The instruction sets take turns.
    detail::use_instruction_set(detail::instruction_set{which / 2 % 3});
    which % 2 == 0 ? run<float>(from) : run<double>(from);
    return 0;
}
