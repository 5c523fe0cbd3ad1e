// Fuzzing cross_entropy: rows alone and in batches, with the gradient and without, under every option; targets out of range.
#ifndef SMX_TESTS_FUZZ_LOSSES_HPP
#define SMX_TESTS_FUZZ_LOSSES_HPP

#include "cases.hpp"

namespace fuzz {

template <class Real, class Target>
void check_loss(const batch_case<Real>& b, const std::vector<Real>& x, Real alone,
                const std::vector<Real>& gradient, const Target& target,
                const smx::cross_entropy_options<Real>& options) {
    using reals = std::vector<Real>;
    using wide = oracle::wide_t<Real>;
    require(std::isnan(alone) || alone >= 0, "a loss is not negative");
    const bool is_capped = options.softcap > 0; // what is infinite is at the cap then
    if (is_capped ? std::any_of(x.begin(), x.end(), is_nan<Real>) : !usual(x)) {
        require(std::isnan(alone), "the loss of a special row is NaN");
        return;
    }
    if (!b.judged(x) || std::find(x.begin(), x.end(), -infinity<Real>) != x.end()) {
        return;
    }
    const wide cap = options.softcap, epsilon = wide(std::numeric_limits<Real>::epsilon());
    std::vector<wide> capped(x.begin(), x.end()), slope(x.size(), wide(1));
    for (std::size_t c = 0; is_capped && c != x.size(); ++c) {
        capped[c] = cap * oracle::tanh_of(wide(wide(x[c]) / cap));
        slope[c] = oracle::sech2_of(wide(wide(x[c]) / cap));
    }
    const oracle::row<Real> exact(capped, b.temperature);
    const oracle::target_shares<Real> share(
        target, options.label_smoothing, reals(options.class_weights.begin(), options.class_weights.end()));
    const wide z = options.z_loss, larger = exact.logsumexp_scale();
    if (!(exact.loss(share, z) < wide(batch_case<Real>::smallest) / epsilon) &&
        !(larger * larger < wide(1e270))) {
        return; // the square of the oracle is out of its range
    }
    // logsumexp is promised in units of its larger part, and so are its square and what that adds to the gradient; it may be
    // twice that part.
    const bool plain =
        z == wide(0) && options.label_smoothing == 0 && std::is_same_v<Target, std::vector<int>>;
    const wide loss = exact.loss(share, z), of_parts = exact.loss(share) + z * larger * larger;
    const wide scale_of_loss = (std::max)(loss, of_parts);
    // What the error of the capped logits, which are doubles, makes of a result that moves by `moved` as they move by T, in its ulp.
    const auto of_cap = [&](const wide& moved, const wide& scale) {
        const wide error = wide(4 * std::numeric_limits<double>::epsilon()) * cap / wide(b.temperature);
        const double last_place =
            static_cast<double>(oracle::last_place<Real>(scale)); // the quotient may be infinite
        return is_capped ? static_cast<double>(error * moved) / last_place : 0.0;
    };
    // More than a little of it, and a gradient, or a loss near 0, which move exponentially, may be any.
    const bool is_steady =
        !is_capped || wide(4 * std::numeric_limits<double>::epsilon()) * cap < wide(b.temperature) / wide(16);
    const double of_capped_loss = of_cap(share.total + 2 * z * larger, scale_of_loss);
    const double ulps_of_square = static_cast<double>(10 * (z * larger * larger / scale_of_loss));
    normal<Real>(scale_of_loss)
        ? near(alone, loss, scale_of_loss, (plain ? 3 : 4) + ulps_of_square + of_capped_loss, "loss")
        : require(alone <= batch_case<Real>::smallest || !is_steady, "loss, below normal");
    for (std::size_t c = 0; c != x.size(); ++c) {
        const wide of_square = 2 * z * larger * exact.probability(c) / wide(b.temperature);
        const wide scale = (std::max)(exact.gradient_scale(c, share, z), of_square) * slope[c];
        const wide value = exact.gradient(c, share, z) * slope[c];
        if (is_steady && normal<Real>(exact.probability(c)) && normal<Real>(scale) && in_range<Real>(scale) &&
            normal<Real>(value)) {
            // Of a mixture: 1 - a, the share, the other terms, their product, the difference and two divisions are rounded.
            const double ulps = z != wide(0) ? 8 : plain ? 4 : 7;
            const double capped_ulps = is_capped ? 4 + of_cap(scale, scale) : 0;
            near(gradient[c], value, scale, ulps + capped_ulps, "gradient of a loss");
        }
    }
}

// Options of any kind; a class index per row, some of them ignored or one out of range, or a probability per logit.
template <class Real>
struct loss_case {
    using reals = std::vector<Real>;
    using wide = oracle::wide_t<Real>;

    loss_case(const batch_case<Real>& of, source& from) : b(of) {
        const std::size_t n = b.batch.classes;
        const auto how = from.take<std::uint8_t>();
        is_of_indices = (how & 8) == 0;
        options.temperature = b.temperature;
        if ((how & 1) != 0) {
            options.label_smoothing = static_cast<double>(from.take<std::uint8_t>()) / 255;
        }
        if ((how & 2) != 0) {
            options.z_loss = static_cast<double>(from.take<std::uint8_t>()) / 1024;
        }
        if ((how & 48) == 48) {
            options.softcap = static_cast<double>(1 + from.below(255)) / 4;
        }
        for (std::size_t c = 0; (how & 4) != 0 && c != n; ++c) {
            const auto byte = from.take<std::uint8_t>();
            weights.push_back(byte < 32 ? Real(0) : static_cast<Real>(byte) / 64);
        }
        options.class_weights = weights;
        if ((how & 64) != 0) {
            options.ignore_index = (how & 128) != 0 ? -100 : 0;
        }
        is_of_indices ? take_targets(from) : take_probabilities(from);
    }

    bool is_wrong(std::size_t row) const {
        const std::ptrdiff_t target = targets[row];
        return target != options.ignore_index &&
               (target < 0 || target >= static_cast<std::ptrdiff_t>(b.batch.classes));
    }
    bool is_ignored(std::size_t row) const { return is_of_indices && targets[row] == options.ignore_index; }
    // What the mean divides by.
    wide weight() const {
        wide sum = 0;
        for (std::size_t r = 0; r != b.rows(); ++r) {
            const bool is_weighted = is_of_indices && !weights.empty();
            sum += is_ignored(r) ? wide(0) : wide(is_weighted ? weights[std::size_t(targets[r])] : Real(1));
        }
        return sum;
    }

    // f(targets) with those of the batch, or of one row.
    template <class F>
    void with_targets(F f) const {
        is_of_indices ? f(targets) : f(placed<Real>(probabilities, 1).row);
    }
    template <class F>
    void with_target_of(std::size_t row, F f) const {
        is_of_indices ? f(targets[row]) : f(placed<Real>(b.row_of(probabilities, row), b.offset).row);
    }

    const batch_case<Real>& b;
    smx::cross_entropy_options<Real> options;
    bool is_of_indices;
    reals weights, probabilities;
    std::vector<int> targets;
    std::size_t wrong_row = 0; // of a target that may be out of range

private:
    void take_targets(source& from) {
        const int n = static_cast<int>(b.batch.classes);
        for (std::size_t r = 0; r != b.rows(); ++r) {
            const auto byte = from.take<std::uint8_t>();
            targets.push_back(byte < 32 && options.ignore_index == -100 ? -100 : byte % (std::max)(n, 1));
        }
        const auto what = from.below(32);
        if (what < 4) {
            constexpr int most = (std::numeric_limits<int>::max)();
            wrong_row = from.below(b.rows());
            targets[wrong_row] = what == 0 ? -1 : what == 1 ? n : what == 2 ? most : -most;
        }
    }
    void take_probabilities(source& from) {
        for (std::size_t k = 0; k != b.logits.size(); ++k) {
            probabilities.push_back(static_cast<Real>(from.take<std::uint8_t>()) / 256);
        }
    }
};

// What the rows of a batch get, in one call or each alone.
template <class Real>
struct losses_of_rows {
    explicit losses_of_rows(const batch_case<Real>& b)
        : losses(b.rows(), Real(-77)),
          logsumexps(b.rows(), Real(-77)),
          gradient(b.logits.size(), Real(-77)) {}
    std::vector<Real> losses, logsumexps, gradient;
};

template <class Real>
losses_of_rows<Real> check_losses_alone(const loss_case<Real>& of) {
    using reals = std::vector<Real>;
    const batch_case<Real>& b = of.b;
    const std::size_t n = b.batch.classes;
    losses_of_rows<Real> all(b);
    for (std::size_t r = 0; r != b.rows(); ++r) {
        const reals x = b.row_of(b.logits, r);
        placed<Real> in(x, b.offset), out(reals(n, Real(-77)), (b.offset * 5) % 16);
        auto options = of.options;
        options.logsumexps = std::span<Real>(all.logsumexps).subspan(r, 1);
        of.with_target_of(r, [&](const auto& target) {
            all.losses[r] = smx::cross_entropy(in.row, target, out.row, options);
            const Real alone = smx::cross_entropy(in.row, target, of.options);
            require(same(alone, all.losses[r]), "the loss without its gradient is the loss with it");
        });
        const reals gradient = out.taken();
        for (std::size_t c = 0; c != n; ++c) {
            all.gradient[b.place(r, c)] = gradient[c];
        }
        if (of.is_ignored(r)) {
            require(same(all.losses[r], Real(0)) && same(gradient, reals(n)),
                    "an ignored row counts for nothing");
        } else if (!b.is_sampled(r)) {
            continue;
        } else if (of.is_of_indices) {
            const auto target = oracle::one_hot(n, static_cast<std::size_t>(of.targets[r]));
            check_loss(b, x, all.losses[r], gradient, target, of.options);
        } else {
            check_loss(b, x, all.losses[r], gradient, b.row_of(of.probabilities, r), of.options);
        }
    }
    return all;
}

// The sum and the mean of the losses of rows.
template <class Real>
void check_reduced(const loss_case<Real>& of, const std::vector<Real>& losses, Real sum, Real mean) {
    using wide = oracle::wide_t<Real>;
    const wide weight = of.weight();
    const bool counts = !(weight == wide(0));
    require(counts || mean == 0, "the mean is 0 where nothing counts");
    if (std::any_of(losses.begin(), losses.end(), is_nan<Real>)) {
        require(std::isnan(sum) && (!counts || std::isnan(mean)),
                "a loss that is NaN is not lost in a batch");
        return;
    }
    if (std::find(losses.begin(), losses.end(), infinity<Real>) != losses.end()) {
        require(sum == infinity<Real>, "an infinite loss is not lost in a batch");
        return; // the mean may be a number, where it is of float
    }
    wide exact_sum = 0, exact_mean = 0;
    for (const Real loss : losses) {
        exact_sum += wide(loss);
        exact_mean += counts ? wide(loss) / weight : wide(0);
    }
    // Losses below the normal numbers are rounded to what is there.
    const wide least = wide(256) * wide(batch_case<Real>::smallest);
    near(sum, exact_sum, (std::max)(exact_sum, least), 1.6, "the sum of losses");
    near(mean, exact_mean, (std::max)(exact_mean, least), 1.6, "the mean of losses");
}

// The gradient of a mean, by that of the sum: where no terms cancel that are rounded before they are divided.
template <class Real>
void check_gradient_of_mean(const loss_case<Real>& of, const losses_of_rows<Real>& all,
                            const std::vector<Real>& found) {
    using wide = oracle::wide_t<Real>;
    using std::abs;
    const batch_case<Real>& b = of.b;
    const wide weight = of.weight();
    if (weight == wide(0)) {
        require(same(found, std::vector<Real>(found.size())), "no gradient where nothing counts");
        return;
    }
    if (!of.is_of_indices || of.options.label_smoothing != 0) {
        return;
    }
    for (std::size_t k = 0; k != found.size(); ++k) {
        const std::size_t row = k / (b.batch.classes * b.batch.inner) * b.batch.inner + k % b.batch.inner;
        const bool is_target = b.place(row, static_cast<std::size_t>((std::max)(of.targets[row], 0))) == k;
        const bool may_cancel = of.options.z_loss != 0 && (is_target || !(all.logsumexps[row] >= 0));
        const Real of_sum = all.gradient[k];
        const wide exact = wide(of_sum) / weight,
                   probability = abs(wide(of_sum)) * wide(b.temperature) / wide(4);
        if (!may_cancel && std::isfinite(of_sum) && normal<Real>(exact) && normal<Real>(probability)) {
            near(found[k], exact, exact, 8, "the gradient of a mean");
        }
    }
}

// A batch in one call, out of place and in place, has what the rows have alone.
template <class Real, class Targets>
void check_loss_batch(const loss_case<Real>& of, const losses_of_rows<Real>& alone, const Targets& targets) {
    using reals = std::vector<Real>;
    const batch_case<Real>& b = of.b;
    losses_of_rows<Real> found(b);
    placed<Real> in(b.logits, b.offset), out(found.gradient, (b.offset * 7) % 16), losses(found.losses, 1);
    auto options = of.options;
    options.logsumexps = found.logsumexps;
    smx::cross_entropy_per_row(in.row, targets, losses.row, out.row, b.batch, options);
    require(same(in.taken(), b.logits), "the input is left as it was");
    require(same(losses.taken(), alone.losses), "a loss in a batch is as alone");
    require(same(out.taken(), alone.gradient), "the gradient of a loss in a batch is as alone");
    require(same(found.logsumexps, alone.logsumexps), "the logsumexp of a loss in a batch is as alone");
    placed<Real> only(reals(b.rows(), Real(-77)), 2);
    smx::cross_entropy_per_row(in.row, targets, only.row, b.batch, of.options);
    require(same(only.taken(), alone.losses), "a loss without its gradient in a batch is as alone");

    options = of.options;
    options.reduce = smx::reduction::sum;
    const Real sum = smx::cross_entropy(in.row, targets, b.batch, options);
    placed<Real> logits(b.logits, b.offset);
    require(same(sum, smx::cross_entropy(logits.row, targets, logits.row, b.batch, options)),
            "the sum of losses without their gradient is the sum with it");
    require(same(logits.taken(), alone.gradient), "the gradient of a loss in place");
    options.reduce = smx::reduction::mean;
    const Real mean = smx::cross_entropy(in.row, targets, b.batch, options);
    require(same(mean, smx::cross_entropy(in.row, targets, out.row, b.batch, options)),
            "the mean of losses without their gradient is the mean with it");
    check_reduced(of, alone.losses, sum, mean);
    check_gradient_of_mean(of, alone, out.taken());
}

template <class Real>
void refuse_losses(const loss_case<Real>& of) {
    const batch_case<Real>& b = of.b;
    const bool is_empty = b.batch.classes == 0;
    const losses_of_rows<Real> none(b);
    placed<Real> in(b.logits, b.offset), out(none.gradient, 3), losses(none.losses, 1),
        logsumexps(none.logsumexps, 2), gradient(std::vector<Real>(b.batch.classes, Real(-77)), 5);
    auto options = of.options;
    options.logsumexps = logsumexps.row;
    const auto refuse = [&](const auto& untouched, auto call) {
        is_empty ? refused(untouched, call, "empty rows are refused")
                 : refused<std::out_of_range>(untouched, call, "a target out of range is refused");
    };
    of.with_targets([&](const auto& targets) {
        const auto call = [&] {
            smx::cross_entropy_per_row(in.row, targets, losses.row, out.row, b.batch, options);
        };
        refuse(losses, call);
        refuse(logsumexps, call);
        refuse(out, [&] { smx::cross_entropy(in.row, targets, out.row, b.batch, of.options); });
    });
    of.with_target_of(of.wrong_row, [&](const auto& target) {
        const std::vector<Real> x = b.row_of(b.logits, of.wrong_row);
        refuse(gradient, [&] { smx::cross_entropy(x, target, gradient.row, of.options); });
    });
}

template <class Real>
void fuzz_cross_entropy(const batch_case<Real>& b, source& from) {
    const loss_case<Real> of(b, from);
    if (b.batch.classes == 0 || (of.is_of_indices && of.is_wrong(of.wrong_row))) {
        refuse_losses(of);
        return;
    }
    const losses_of_rows<Real> alone = check_losses_alone(of);
    of.with_targets([&](const auto& targets) { check_loss_batch(of, alone, targets); });
    if (!of.is_of_indices) {
        placed<Real> in(b.logits, 2), shared(of.probabilities, b.offset);
        auto options = of.options;
        options.reduce = smx::reduction::sum;
        smx::cross_entropy(in.row, shared.row, shared.row, b.batch, options);
        require(same(shared.taken(), alone.gradient), "the gradient of a loss in place on its target");
    }
}

} // namespace fuzz

#endif
