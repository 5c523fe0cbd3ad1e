// Exact results of masked_softmax and masked_log_softmax, in arithmetic wider than the result. Beside oracle.hpp, and as that
// nothing of the library.
#ifndef SMX_TESTS_SUPPORT_ORACLE_MASKED_HPP
#define SMX_TESTS_SUPPORT_ORACLE_MASKED_HPP

#include "support/oracle.hpp"

#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

namespace oracle {

// A row as it is given: x, part (which take part), bias (0 where there is none), and options with temperature, softcap, sink. What
// takes part is finite.
template <class Real>
class masked_row {
public:
    using wide = wide_t<Real>;

    template <class Case>
    explicit masked_row(const Case& row) {
        using std::exp;
        const wide t(row.options.temperature), cap(row.options.softcap), sink(row.options.sink);
        const bool has_sink = row.options.sink > -std::numeric_limits<Real>::infinity();
        std::size_t top = 0;
        for (std::size_t c = 0; c != row.x.size(); ++c) {
            wide v = row.part[c] ? wide(wide(row.x[c]) / t) : wide(0);
            v = row.options.softcap > 0 ? wide(cap * tanh_of(wide(v / cap))) : v;
            z_.push_back(wide(v + (row.part[c] ? wide(row.bias[c]) : wide(0))));
            if (row.part[c] && (!any_ || z_[c] > z_[top])) {
                top = c;
                any_ = true;
            }
        }
        if (!any_) {
            return;
        }
        const bool sink_leads = has_sink && sink > z_[top];
        top_ = sink_leads ? sink : z_[top];
        others_ = has_sink && !sink_leads ? wide(exp(wide(sink - top_))) : wide(0);
        for (std::size_t c = 0; c != row.x.size(); ++c) {
            if (row.part[c] && (sink_leads || c != top)) {
                others_ += exp(wide(z_[c] - top_));
            }
        }
    }

    wide probability(std::size_t c) const {
        using std::exp;
        return exp(wide(z_[c] - top_)) / (1 + others_);
    }
    wide log_probability(std::size_t c) const { return z_[c] - top_ - log1p_of(others_); }

private:
    std::vector<wide> z_;
    bool any_ = false;
    wide top_ = 0, others_ = 0;
};

} // namespace oracle

#endif
