// Catch2's own main, for a version 2 that was installed as a header alone.
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
