// Fuzzing what has to be refused: sizes that do not fit and options out of range, of every function; outputs stay as they were.
#ifndef SMX_TESTS_FUZZ_ERRORS_HPP
#define SMX_TESTS_FUZZ_ERRORS_HPP

#include "cases.hpp"

namespace fuzz {

template <class Real>
void fuzz_errors(const batch_case<Real>& b, source& from) {
    using reals = std::vector<Real>;
    const std::size_t size = b.logits.size(), n = b.batch.classes;
    const std::size_t wrong = from.below(2) != 0 || size == 0 ? size + 1 + from.below(3) : size - 1;
    placed<Real> out(reals(size, Real(-77)), b.offset), misfit(reals(wrong, Real(-77)), 3), in(b.logits, 1);
    const std::vector<int> targets(b.rows(), 0);
    const bool is_output =
        from.below(2) != 0; // which argument does not fit: the output, or something that is read
    const auto& x = is_output ? in.row : misfit.row;
    const auto& y = is_output ? misfit.row : out.row;
    const auto& changed = is_output ? misfit : out;
    const auto refuse = [&](auto call) { refused(changed, call, "a size that does not fit is refused"); };
    const double bad_options[] = {-1, -infinity<double>, std::numeric_limits<double>::quiet_NaN()};
    const double bad = bad_options[from.below(3)];
    const auto refuse_option = [&](auto call) { refused(out, call, "an option out of range is refused"); };
    switch (from.below(14)) {
    case 0:
        return refuse([&] { smx::softmax(x, y, b.batch); });
    case 1:
        return refuse([&] { smx::log_softmax(x, y); });
    case 2: {
        placed<Real> sums(reals(b.rows() + 1, Real(-77)));
        return refused(
            sums, [&] { smx::logsumexp(in.row, sums.row, b.batch); }, "a size that does not fit is refused");
    }
    case 3:
        return refuse([&] { smx::cross_entropy(x, targets, y, b.batch); });
    case 4: {
        const std::vector<int> more(b.rows() + 1, 0);
        return refused(
            out, [&] { smx::cross_entropy(in.row, more, out.row, b.batch); }, "targets that do not fit");
    }
    case 5:
        return refuse([&] { smx::kl_divergence(x, in.row, y, b.batch); });
    case 6:
        return refuse([&] { smx::softmax_backward(x, in.row, y, b.batch); });
    case 7:
        return refuse([&] { smx::log_softmax_backward(in.row, x, y); });
    case 8:
        return refuse([&] { smx::masked_softmax(x, smx::causal(), y, b.batch); });
    case 9: {
        // A mask row too many; a valid length too large.
        const std::vector<unsigned char> truth(n * (b.rows() + 1) + (b.rows() == 1 ? 1 : 0), 1);
        if (n > 1) {
            refused(
                out, [&] { smx::masked_log_softmax(in.row, truth, out.row, b.batch); },
                "a mask that does not fit");
        }
        const std::vector<std::size_t> lengths(b.rows(), n + 1);
        return refused<std::out_of_range>(
            out, [&] { smx::masked_softmax(in.row, smx::valid_lengths(lengths), out.row, b.batch); },
            "a valid length above the length of a row");
    }
    case 10: {
        const reals sinks(b.rows() + 1);
        return refuse_option([&] {
            smx::masked_softmax(in.row, smx::causal(), out.row, b.batch,
                                smx::masked_options<Real>{.sinks = sinks});
        });
    }
    case 11:
        return refuse_option([&] {
            smx::masked_log_softmax(in.row, smx::causal(), out.row, b.batch,
                                    smx::masked_options<Real>{.softcap = static_cast<Real>(bad)});
        });
    case 12:
        return refuse_option([&] {
            const auto which = from.below(4);
            smx::cross_entropy_options<Real> options;
            (which == 0   ? options.temperature
             : which == 1 ? options.label_smoothing
             : which == 2 ? options.z_loss
                          : options.softcap) = bad;
            smx::cross_entropy(in.row, targets, out.row, b.batch, options);
        });
    default:
        return refuse([&] { smx::masked_softmax_backward(in.row, smx::causal(), x, in.row, y, b.batch); });
    }
}

// Functions whose output is `out`, at a temperature that none of them takes.
template <class Real>
void fuzz_bad_temperature(const batch_case<Real>& b, std::size_t function) {
    placed<Real> out(std::vector<Real>(b.logits.size(), Real(-77)));
    const std::vector<std::size_t> targets(b.rows(), 0);
    refused(
        out,
        [&] {
            switch (function) {
            case 0:
                return smx::softmax(b.logits, out.row, b.batch, b.temperature);
            case 1:
                return smx::log_softmax(b.logits, out.row, b.batch, b.temperature);
            case 2: {
                std::vector<Real> sums(b.rows());
                return smx::logsumexp(b.logits, sums, b.batch, b.temperature);
            }
            case 3:
                smx::cross_entropy(b.logits, targets, out.row, b.batch, {.temperature = b.temperature});
                return;
            case 4:
                smx::kl_divergence(b.logits, b.logits, out.row, b.batch, {.temperature = b.temperature});
                return;
            case 5:
                return smx::softmax_backward(b.logits, b.logits, out.row, b.batch, b.temperature);
            case 6:
                return smx::log_softmax_backward(b.logits, b.logits, out.row, b.batch, b.temperature);
            default:
                smx::online_normalizer<Real>(b.temperature).normalize(b.logits, out.row);
            }
        },
        "a bad temperature is refused");
}

} // namespace fuzz

#endif
