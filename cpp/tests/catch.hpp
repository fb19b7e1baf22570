// Catch2, version 2 or 3, whichever the system has. Tests include this file alone and are
// written in the words that both know, plus ContainsSubstring, version 3's clearer name.
#pragma once

#if __has_include(<catch2/catch_test_macros.hpp>)

#include <catch2/catch_approx.hpp>
#include <catch2/catch_template_test_macros.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators_all.hpp>
#include <catch2/matchers/catch_matchers_all.hpp>

// Version 2 has this name in its prefix only.
using Catch::Approx;

#elif __has_include(<catch2/catch.hpp>)

#include <catch2/catch.hpp>

#include <string>

namespace Catch::Matchers {

inline auto ContainsSubstring(const std::string& text) { return Contains(text); }

}  // namespace Catch::Matchers

#else
#error "Catch2 is needed for the C++ tests: on Debian or Ubuntu `apt-get install catch2`"
#endif
