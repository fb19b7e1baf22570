# The fuzzers: one program for each cpp/fuzz/fuzz_x.cpp, with libFuzzer, ASan and UBSan.
if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  message(FATAL_ERROR "The fuzzers need Clang with libFuzzer; the compiler is ${CMAKE_CXX_COMPILER_ID}")
endif()

file(GLOB fuzz_sources CONFIGURE_DEPENDS cpp/fuzz/fuzz_*.cpp)
# The core has to report its coverage to the fuzzer too, else the fuzzer searches blindly.
target_compile_options(klineagg_core PRIVATE -fsanitize=fuzzer-no-link)
foreach(source IN LISTS fuzz_sources)
  get_filename_component(name "${source}" NAME_WE)
  add_executable(${name} "${source}")
  klineagg_compile_options(${name})
  target_include_directories(${name} PRIVATE cpp/fuzz)
  target_compile_options(${name} PRIVATE -fsanitize=fuzzer)
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  target_link_libraries(${name} PRIVATE klineagg_core)
endforeach()
