// Fuzzing masked_softmax, masked_log_softmax and their gradients: every kind of mask and option, what is excluded, the bounds, and
// the bits that rows share with their batch, with softmax and with shorter rows.
#ifndef SMX_TESTS_FUZZ_MASKED_HPP
#define SMX_TESTS_FUZZ_MASKED_HPP

#include "cases.hpp"
#include "gradients.hpp"
#include "support/oracle_masked.hpp"

namespace fuzz {

enum class mask_kind { truth, bias, lengths, causal };

// One row of a masked batch with its mask spelled out.
template <class Real>
struct masked_row_case {
    std::vector<Real> x;
    std::vector<bool> part;
    std::vector<Real> bias;
    smx::masked_options<Real> options;
};

template <class Real>
struct masked_case {
    using reals = std::vector<Real>;

    masked_case(const batch_case<Real>& of, source& from)
        : b(of),
          kind(static_cast<mask_kind>(from.below(4))),
          diagonal(from.take<std::int8_t>() / 4, from.below(4)) {
        const std::size_t n = b.batch.classes, rows = b.rows();
        const auto how = from.take<std::uint8_t>();
        const auto finite = [&] { return static_cast<Real>(from.take<std::int8_t>()) / 16; };
        options.temperature = b.temperature;
        if ((how & 3) == 3) {
            options.softcap = static_cast<Real>(1 + from.below(120)) / 4;
        }
        if ((how & 12) == 12) {
            options.sink = (how & 192) == 192 ? 1000 * finite() : finite();
        }
        for (std::size_t r = 0; (how & 48) == 48 && r != rows; ++r) {
            sinks.push_back(finite());
        }
        options.sinks = sinks;
        const bool is_one_for_all = (how & 128) != 0, has_holes = (how & 64) == 0;
        for (std::size_t k = 0; k != (is_one_for_all ? n : n * rows); ++k) {
            const auto byte = from.take<std::int8_t>();
            truth.push_back(has_holes && byte % 3 == 0 ? 0 : 'x');
            // (a third: neither its product with T nor the sum with a logit is exact)
            bias.push_back(has_holes && byte % 4 == 1 ? -infinity<Real> : static_cast<Real>(byte) / 3);
        }
        for (std::size_t r = 0; r != (is_one_for_all ? 1 : rows); ++r) {
            lengths.push_back(static_cast<std::int32_t>(from.take<std::uint16_t>() % (n + 1)));
        }
    }

    bool has_sink() const { return !sinks.empty() || options.sink > -infinity<Real>; }
    bool is_plain() const { return options.softcap == 0 && !has_sink(); }
    // What T = 0 needs, and the gradients, is not for the masks to say.
    bool is_refused(bool is_gradient) const {
        return !(b.temperature >= 0) ||
               (b.temperature == 0 && (is_gradient || kind == mask_kind::bias || !is_plain()));
    }
    std::size_t seen_of(std::size_t row) const {
        const auto number = static_cast<std::ptrdiff_t>(diagonal.period == 0 ? row : row % diagonal.period);
        const auto count = number + 1 + diagonal.offset;
        return static_cast<std::size_t>(
            std::clamp<std::ptrdiff_t>(count, 0, static_cast<std::ptrdiff_t>(b.batch.classes)));
    }
    std::size_t length_of(std::size_t row) const {
        return static_cast<std::size_t>(lengths[lengths.size() == 1 ? 0 : row]);
    }
    template <class Element>
    std::vector<Element> own(const std::vector<Element>& all, std::size_t row) const {
        return all.size() == b.batch.classes ? all : b.row_of(all, row);
    }
    masked_row_case<Real> row(std::size_t r) const {
        masked_row_case<Real> one{b.row_of(b.logits, r), {}, reals(b.batch.classes), options};
        const auto own_truth = own(truth, r);
        if (kind == mask_kind::bias) {
            one.bias = own(bias, r);
        }
        for (std::size_t c = 0; c != one.x.size(); ++c) {
            one.part.push_back(kind == mask_kind::truth     ? own_truth[c] != 0
                               : kind == mask_kind::bias    ? one.bias[c] != -infinity<Real>
                               : kind == mask_kind::lengths ? c < length_of(r)
                                                            : c < seen_of(r));
        }
        one.options.sinks = {};
        one.options.sink = sinks.empty() ? static_cast<double>(options.sink) : static_cast<double>(sinks[r]);
        return one;
    }

    // f(mask) with the mask of the batch, or with that of one row.
    template <class F>
    void with_mask(F f) const {
        switch (kind) {
        case mask_kind::truth:
            return f(placed<unsigned char>(truth, b.offset).row);
        case mask_kind::bias:
            return f(placed<Real>(bias, b.offset).row);
        case mask_kind::lengths:
            return f(smx::valid_lengths(lengths));
        case mask_kind::causal:
            return f(diagonal);
        }
    }
    template <class F>
    void with_mask_of(std::size_t r, F f) const {
        switch (kind) {
        case mask_kind::truth:
            return f(placed<unsigned char>(own(truth, r), 1).row);
        case mask_kind::bias:
            return f(placed<Real>(own(bias, r), 3).row);
        case mask_kind::lengths:
        case mask_kind::causal:
            return f(smx::valid_lengths({kind == mask_kind::lengths ? length_of(r) : seen_of(r)}));
        }
    }

    const batch_case<Real>& b;
    mask_kind kind;
    smx::causal diagonal;
    smx::masked_options<Real> options;
    reals sinks, bias;
    std::vector<unsigned char> truth;
    std::vector<std::int32_t> lengths;
};

// What takes part alone.
template <class Real>
std::vector<Real> taken_part(const masked_row_case<Real>& row, const std::vector<Real>& all) {
    std::vector<Real> some;
    for (std::size_t c = 0; c != row.x.size(); ++c) {
        if (row.part[c]) {
            some.push_back(all[c]);
        }
    }
    return some;
}

// Where x / T, the bias and the sink may cancel in the oracle, it needs them to be of usual size.
template <class Real>
bool is_judged_mask(const batch_case<Real>& b, const masked_row_case<Real>& row) {
    const std::vector<Real> x = taken_part(row, row.x);
    return b.judged(x) && std::all_of(x.begin(), x.end(), [&](Real a) {
               return std::abs(static_cast<double>(a) / b.temperature) < 1e5;
           });
}

// p of masked_softmax, l of masked_log_softmax.
template <class Real>
void check_masked(const masked_case<Real>& mask, const masked_row_case<Real>& row, const std::vector<Real>& p,
                  const std::vector<Real>& l) {
    const bool is_capped = row.options.softcap > 0, has_sink = row.options.sink > -infinity<double>;
    const std::vector<Real> x = taken_part(row, row.x);
    for (std::size_t c = 0; c != p.size(); ++c) {
        require(row.part[c] || (p[c] == 0 && l[c] == -infinity<Real>), "what is excluded is 0 and -inf");
        require(std::isnan(p[c]) ? std::isnan(l[c]) : p[c] >= 0 && p[c] <= 1 && l[c] <= 0,
                "a probability is in [0, 1], its logarithm is not positive, or both are NaN");
    }
    if (x.empty()) {
        return;
    }
    const std::vector<Real> taken = taken_part(row, p);
    if (!is_capped && !usual(x)) {
        const bool nothing =
            has_sink && std::all_of(x.begin(), x.end(), [](Real a) { return a == -infinity<Real>; });
        require(nothing ? std::all_of(taken.begin(), taken.end(), [](Real a) { return a == 0; })
                        : std::all_of(taken.begin(), taken.end(), is_nan<Real>),
                "the special rows of what takes part");
    }
    if (x.size() == p.size() && mask.is_plain() && mask.kind != mask_kind::bias) {
        std::vector<Real> expected(x.size());
        smx::softmax(x, expected, mask.b.temperature);
        require(same(p, expected), "a mask that excludes nothing gives the bits of softmax");
        smx::log_softmax(x, expected, mask.b.temperature);
        require(same(l, expected), "a mask that excludes nothing gives the bits of log_softmax");
    }
    if (!is_judged_mask(mask.b, row) || std::find(x.begin(), x.end(), -infinity<Real>) != x.end()) {
        return;
    }
    const double cap = static_cast<double>(row.options.softcap);
    const double ulps = 3 + (sizeof(Real) == sizeof(float) ? 0 : 4 * cap);
    const oracle::masked_row<Real> exact(row);
    for (std::size_t c = 0; c != p.size(); ++c) {
        if (row.part[c]) {
            near_probability(p[c], exact.probability(c), ulps, "masked_softmax");
            near_log_probability(l[c], exact.log_probability(c), ulps, "masked_log_softmax");
        }
    }
}

// The first n of a row of the valid length n, or of which a causal mask shows n, are a row of n.
template <class Real>
void check_prefix(const masked_case<Real>& mask, std::size_t r, const masked_row_case<Real>& row,
                  const std::vector<Real>& p) {
    if (mask.kind != mask_kind::lengths && mask.kind != mask_kind::causal) {
        return;
    }
    const std::size_t n = mask.kind == mask_kind::lengths ? mask.length_of(r) : mask.seen_of(r);
    placed<Real> first({row.x.begin(), row.x.begin() + static_cast<std::ptrdiff_t>(n)}, 2);
    smx::masked_softmax(first.row, smx::valid_lengths({n}), first.row, row.options);
    const std::vector<Real> expected(p.begin(), p.begin() + static_cast<std::ptrdiff_t>(n));
    require(same(first.taken(), expected), "a row of valid length n has the bits of a row of n");
}

// A bias of 0 and -inf is a mask of truth values.
template <class Real>
void check_truth_as_bias(const masked_row_case<Real>& row, const std::vector<Real>& p) {
    std::vector<Real> bias, found(row.x.size());
    for (const bool part : row.part) {
        bias.push_back(part ? Real(0) : -infinity<Real>);
    }
    smx::masked_softmax(row.x, bias, found, row.options);
    require(same(found, p), "a bias of 0 and -inf has the bits of truth values");
}

template <class Real>
void fuzz_masked(const batch_case<Real>& b, source& from) {
    using reals = std::vector<Real>;
    const masked_case<Real> mask(b, from);
    mask.with_mask([&](const auto& of_batch) {
        placed<Real> in(b.logits, b.offset), p(reals(b.logits.size(), Real(-77)), (b.offset * 7) % 16),
            l(reals(b.logits.size(), Real(-77)), 5);
        const auto call = [&] { smx::masked_softmax(in.row, of_batch, p.row, b.batch, mask.options); };
        if (mask.is_refused(false)) {
            refused(p, call, "a bad temperature is refused");
            return;
        }
        call();
        smx::masked_log_softmax(in.row, of_batch, l.row, b.batch, mask.options);
        require(same(in.taken(), b.logits), "the input is left as it was");
        smx::masked_softmax(in.row, of_batch, in.row, b.batch, mask.options);
        require(same(in.taken(), p.taken()), "in place is as out of place");
        for (std::size_t r = 0; r != b.rows(); ++r) {
            const masked_row_case<Real> row = mask.row(r);
            placed<Real> alone(row.x, 3), log_alone(row.x, b.offset);
            mask.with_mask_of(r, [&](const auto& of_row) {
                smx::masked_softmax(alone.row, of_row, alone.row, row.options);
                smx::masked_log_softmax(log_alone.row, of_row, log_alone.row, row.options);
            });
            const reals found = alone.taken(), log_found = log_alone.taken();
            require(same(found, b.row_of(p.taken(), r)), "a masked row in a batch is as the row alone");
            require(same(log_found, b.row_of(l.taken(), r)), "a masked row of logarithms, as well");
            if (b.is_sampled(r)) {
                check_masked(mask, row, found, log_found);
            }
            check_prefix(mask, r, row, found);
            if (mask.kind == mask_kind::truth && b.temperature > 0) {
                check_truth_as_bias(row, found);
            }
        }
    });
}

// Upstreams as the logits of another batch are; where nothing takes part, NaN.
template <class Real>
void check_masked_gradient(const batch_case<Real>& b, const masked_row_case<Real>& row,
                           const std::vector<Real>& y, const std::vector<Real>& u,
                           const std::vector<Real>& found, bool of_logarithms) {
    using wide = oracle::wide_t<Real>;
    using std::abs;
    using std::exp;
    upstream_sum<Real> all;
    std::vector<wide> p(y.size());
    for (std::size_t c = 0; c != y.size(); ++c) {
        const bool is_out = y[c] == (of_logarithms ? -infinity<Real> : Real(0));
        require(!is_out || found[c] == 0, "a masked gradient is 0 where nothing takes part");
        if (!is_out && std::isfinite(y[c])) {
            p[c] = of_logarithms ? wide(exp(wide(y[c]))) : wide(y[c]);
            all.add(of_logarithms ? wide(u[c]) : wide(p[c] * wide(u[c])));
        }
    }
    if (!is_judged_mask(b, row) || !(b.temperature > 1e-6 && b.temperature < 1e6)) {
        return;
    }
    const wide t = b.temperature, cap = row.options.softcap;
    const bool is_capped = row.options.softcap > 0;
    for (std::size_t c = 0; c != y.size(); ++c) {
        if (!normal<Real>(p[c])) {
            continue;
        }
        const wide v = is_capped ? wide(row.x[c]) / t / cap : wide(0), slope = oracle::sech2_of(v);
        const double more = !is_capped ? 0 : sizeof(Real) == sizeof(float) ? 1 : 8;
        const wide up = u[c], size = abs(up);
        // Divided first: the oracle of double has the range of double.
        const wide sum = all.sum / t, unit = all.unit() / t;
        const wide exact = (of_logarithms ? wide(up / t - p[c] * sum) : wide(p[c] * (up / t - sum))) * slope;
        const wide scale = (of_logarithms ? (std::max)(wide(size / t), wide(p[c] * unit))
                                          : wide(p[c] * (std::max)(wide(size / t), unit))) *
                           slope;
        if (normal<Real>(scale) && normal<Real>(slope)) {
            near(found[c], exact, scale, (of_logarithms ? 4 : 3) + more, "a masked gradient");
        }
    }
}

template <class Real>
void fuzz_masked_backward(const batch_case<Real>& b, source& from) {
    using reals = std::vector<Real>;
    const bool of_logarithms = from.below(2) != 0;
    const masked_case<Real> mask(b, from);
    const auto forward = [&](const auto&... a) {
        of_logarithms ? smx::masked_log_softmax(a...) : smx::masked_softmax(a...);
    };
    const auto backward = [&](const auto&... a) {
        of_logarithms ? smx::masked_log_softmax_backward(a...) : smx::masked_softmax_backward(a...);
    };
    mask.with_mask([&](const auto& of_batch) {
        placed<Real> in(b.logits, b.offset), y(reals(b.logits.size()), 3),
            gradient(reals(b.logits.size(), Real(-77)), (b.offset * 7) % 16);
        if (mask.is_refused(true)) {
            refused(
                gradient,
                [&] { backward(in.row, of_batch, y.row, y.row, gradient.row, b.batch, mask.options); },
                "a bad temperature is refused");
            return;
        }
        forward(in.row, of_batch, y.row, b.batch, mask.options);
        const reals outputs = y.taken();
        placed<Real> up(outputs, 1);
        for (std::size_t k = 0; k != outputs.size(); ++k) {
            const bool is_out = outputs[k] == (of_logarithms ? -infinity<Real> : Real(0));
            up.row[k] = is_out ? std::numeric_limits<Real>::quiet_NaN()
                               : static_cast<Real>(from.take<std::int8_t>()) / 16;
        }
        const reals upstream = up.taken();
        backward(in.row, of_batch, y.row, up.row, gradient.row, b.batch, mask.options);
        const reals found = gradient.taken();
        backward(in.row, of_batch, y.row, up.row, up.row, b.batch, mask.options);
        require(same(found, up.taken()), "a masked gradient in place on the upstream");
        for (std::size_t r = 0; r != b.rows(); ++r) {
            const masked_row_case<Real> row = mask.row(r);
            const reals own = b.row_of(outputs, r), own_up = b.row_of(upstream, r);
            placed<Real> alone(own, b.offset), x(row.x, 5), with(own_up, 2);
            mask.with_mask_of(r, [&](const auto& of_row) {
                backward(x.row, of_row, alone.row, with.row, alone.row, row.options);
            });
            require(same(alone.taken(), b.row_of(found, r)), "a masked gradient in a batch is as alone");
            if (b.is_sampled(r)) {
                check_masked_gradient(b, row, own, own_up, alone.taken(), of_logarithms);
            }
        }
    });
}

} // namespace fuzz

#endif
