// Catch2 2 and 3 by one name. Use what both have: no Approx, SKIP, BENCHMARK, Contains.
// The file that defines CATCH_CONFIG_MAIN gets the main function, from either.
#ifndef SMX_TESTS_SUPPORT_CATCH_HPP
#define SMX_TESTS_SUPPORT_CATCH_HPP

#if __has_include(<catch2/catch_test_macros.hpp>)
#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_floating_point.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#ifdef CATCH_CONFIG_MAIN
#include <catch2/catch_session.hpp>
int main(int argc, char** argv) { return Catch::Session().run(argc, argv); }
#endif
#else
#include <catch2/catch.hpp>
#endif

#endif
