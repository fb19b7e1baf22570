# The C++ tests: one program, each test case a test of CTest.
find_package(Catch2 QUIET)
if(NOT Catch2_FOUND)
  message(FATAL_ERROR
    "Catch2 (version 2 or 3) is needed for the C++ tests. On Debian or Ubuntu: "
    "apt-get install catch2; on macOS: brew install catch2")
endif()

file(GLOB test_sources CONFIGURE_DEPENDS cpp/tests/*_test.cpp cpp/tests/*/*_test.cpp)
if(NOT KLINEAGG_BOOST_FOUND)
  list(FILTER test_sources EXCLUDE REGEX "/boost_test\\.cpp$")
endif()
add_executable(klineagg_tests ${test_sources})
klineagg_compile_options(klineagg_tests)
target_include_directories(klineagg_tests PRIVATE cpp/tests)
target_link_libraries(klineagg_tests PRIVATE klineagg_core klineagg_boost)
if(TARGET Catch2::Catch2WithMain)
  target_link_libraries(klineagg_tests PRIVATE Catch2::Catch2WithMain)
else()
  # Version 2 as a header alone.
  target_sources(klineagg_tests PRIVATE cpp/tests/main.cpp)
  set_source_files_properties(cpp/tests/main.cpp PROPERTIES COMPILE_OPTIONS "-w")
  target_link_libraries(klineagg_tests PRIVATE Catch2::Catch2)
endif()

include(Catch)
catch_discover_tests(klineagg_tests PROPERTIES TIMEOUT 600)
