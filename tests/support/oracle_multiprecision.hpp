// The oracles of double and long double: 113 and 168 bits of Boost.Multiprecision. Only the tests that judge
// these two types by the ulp include this.
#ifndef SMX_TESTS_SUPPORT_ORACLE_MULTIPRECISION_HPP
#define SMX_TESTS_SUPPORT_ORACLE_MULTIPRECISION_HPP

#include "support/oracle.hpp"

#include <boost/multiprecision/cpp_bin_float.hpp>

namespace oracle {

// Without expression templates: the oracle is written once, for them and for long double.
using binary113 = boost::multiprecision::number<boost::multiprecision::cpp_bin_float_quad::backend_type,
                                                boost::multiprecision::et_off>;
using binary168 = boost::multiprecision::number<boost::multiprecision::cpp_bin_float_50::backend_type,
                                                boost::multiprecision::et_off>;

template <>
struct wide_for<double> {
    using type = binary113;
};

template <>
struct wide_for<long double> {
    using type = binary168;
};

} // namespace oracle

#endif
