// The header twice in one unit, the second time among code that has used it.
#include <softmax.hpp>
inline double logsumexp_of_zero_and_zero() { return smx::logsumexp({0.0, 0.0}); }
#include <softmax.hpp>

int main() { return logsumexp_of_zero_and_zero() > 0.69 && logsumexp_of_zero_and_zero() < 0.70 ? 0 : 1; }
