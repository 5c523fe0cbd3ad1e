// The kernels of float and double, in the one unit that defines SMX_INSTANTIATE_KERNELS.
#include <softmax.hpp>
