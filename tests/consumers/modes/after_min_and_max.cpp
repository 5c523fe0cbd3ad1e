// The header after one that leaves the macros min and max behind, as <windows.h> does.
#include "as_windows.h"

#include <softmax.hpp>

#if !defined(min) || !defined(max)
#error "a standard header has undefined the macros: include it in as_windows.h"
#endif

int main() {
    const double p[] = {0.0, 0.0};
    double q[2];
    smx::softmax(p, q);
    smx::log_softmax(p, q, 2);
    smx::cross_entropy(p, 1, q);
    return q[0] == 0.5 && q[1] == -0.5 ? 0 : 1;
}
