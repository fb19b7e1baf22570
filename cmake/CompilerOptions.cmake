# How every target is compiled.
include(CheckCXXCompilerFlag)
include(CheckIPOSupported)

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
# There are no modules to look for, and looking costs a pass over every file.
set(CMAKE_CXX_SCAN_FOR_MODULES OFF)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
# clang-tidy and editors read it.
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

# Plain -O0 makes the exact sums so slow that long tests would be left out of debug builds.
set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g")

if(KLINEAGG_NATIVE)
  check_cxx_compiler_flag(-march=native KLINEAGG_HAS_MARCH_NATIVE)
  if(KLINEAGG_HAS_MARCH_NATIVE)
    add_compile_options(-march=native)
  else()
    add_compile_options(-mcpu=native)
  endif()
endif()

if(KLINEAGG_SANITIZE)
  add_compile_options(-fsanitize=${KLINEAGG_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${KLINEAGG_SANITIZE})
  # Without this UBSan prints its finding and the test passes all the same.
  if(KLINEAGG_SANITIZE MATCHES "undefined")
    add_compile_options(-fno-sanitize-recover=all)
  endif()
endif()

if(KLINEAGG_LTO AND NOT KLINEAGG_SANITIZE)
  check_ipo_supported(RESULT ipo_works OUTPUT ipo_reason LANGUAGES CXX)
  if(ipo_works)
    set(CMAKE_INTERPROCEDURAL_OPTIMIZATION ON)
  else()
    message(STATUS "klineagg: no link-time optimisation: ${ipo_reason}")
  endif()
endif()

function(klineagg_compile_options target)
  target_compile_features(${target} PUBLIC cxx_std_20)
  # PUBLIC, because inline functions of the headers add products: a fused multiply-add in a
  # user's own code would round once instead of twice, and sums would no longer be exact.
  target_compile_options(${target} PUBLIC -ffp-contract=off)
  target_compile_options(${target} PRIVATE
    -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow
    $<$<CONFIG:Debug>:-D_GLIBCXX_ASSERTIONS>)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    # Sees overlaps in any concatenation of strings (GCC bug 105651, mended in 13).
    target_compile_options(${target} PRIVATE -Wno-restrict)
  endif()
  if(KLINEAGG_SANITIZE)
    # GCC takes what a sanitizer adds for uninitialised variables, in its own library too.
    target_compile_options(${target} PRIVATE
      $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
  elseif(KLINEAGG_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
endfunction()

function(klineagg_tidy target)
  if(NOT KLINEAGG_TIDY)
    return()
  endif()
  find_program(KLINEAGG_CLANG_TIDY NAMES clang-tidy-16 clang-tidy REQUIRED)
  set_target_properties(${target} PROPERTIES
    CXX_CLANG_TIDY "${KLINEAGG_CLANG_TIDY};--quiet;--warnings-as-errors=*")
endfunction()
