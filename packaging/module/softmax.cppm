// The library as a module: import softmax; gives the names below, without the macros. Compile it once, with the flags
// of the program, and with softmax.hpp on the include path.
module;
#include <softmax.hpp>

export module softmax;

export namespace smx {
using smx::causal;
using smx::cross_entropy;
using smx::cross_entropy_options;
using smx::cross_entropy_per_row;
using smx::distillation_options;
using smx::executor;
using smx::kl_divergence;
using smx::log_softmax;
using smx::log_softmax_backward;
using smx::logsumexp;
using smx::masked_log_softmax;
using smx::masked_log_softmax_backward;
using smx::masked_options;
using smx::masked_softmax;
using smx::masked_softmax_backward;
using smx::online_normalizer;
using smx::reduction;
using smx::shape;
using smx::softmax;
using smx::softmax_backward;
using smx::strided_view;
using smx::temperature_for;
using smx::temperatures_for;
using smx::valid_lengths;
} // namespace smx
