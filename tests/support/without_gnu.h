/* Included before all else: from here on the compiler does not say that it knows the extensions of GNU, and the library takes
   the way that it takes with MSVC. The standard headers, which cannot do without, come first. */
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <memory>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#undef __GNUC__
