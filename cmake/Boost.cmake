# klineagg_boost: Boost's headers, from the system when they are there and good enough, else from
# the Python package boost-headers. Linking to it costs nothing where Boost is not used, so its
# absence is reported by KLINEAGG_BOOST_FOUND and stops only a target that needs it.
include(CheckCXXSourceCompiles)

set(boost_probe "
  #include <boost/lockfree/spsc_queue.hpp>
  int main() {
    boost::lockfree::spsc_queue<int, boost::lockfree::capacity<4>> queue;
    return queue.push(1) ? 0 : 1;
  }")

function(klineagg_probe_boost directory result)
  set(CMAKE_REQUIRED_FLAGS "-std=c++20")
  if(directory)
    set(CMAKE_REQUIRED_INCLUDES "${directory}")
  endif()
  check_cxx_source_compiles("${boost_probe}" ${result})
  set(${result} "${${result}}" PARENT_SCOPE)
endfunction()

add_library(klineagg_boost INTERFACE)
find_path(KLINEAGG_BOOST_SYSTEM_DIR boost/lockfree/spsc_queue.hpp
  HINTS "$ENV{BOOST_INCLUDEDIR}" "$ENV{BOOST_ROOT}" "$ENV{BOOST_ROOT}/include" "${BOOST_ROOT}")
if(KLINEAGG_BOOST_SYSTEM_DIR)
  klineagg_probe_boost("${KLINEAGG_BOOST_SYSTEM_DIR}" KLINEAGG_BOOST_SYSTEM_WORKS)
endif()

if(KLINEAGG_BOOST_SYSTEM_WORKS)
  set(boost_directory "${KLINEAGG_BOOST_SYSTEM_DIR}")
else()
  find_package(Python 3.10 QUIET COMPONENTS Interpreter)
  if(Python_Interpreter_FOUND)
    execute_process(
      COMMAND "${Python_EXECUTABLE}" -c "import boost_headers; print(boost_headers.get_include())"
      OUTPUT_VARIABLE boost_directory OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  endif()
  if(boost_directory)
    klineagg_probe_boost("${boost_directory}" KLINEAGG_BOOST_PACKAGE_WORKS)
    if(NOT KLINEAGG_BOOST_PACKAGE_WORKS)
      set(boost_directory "")
    endif()
  endif()
endif()

if(boost_directory)
  set(KLINEAGG_BOOST_FOUND ON)
  target_include_directories(klineagg_boost SYSTEM INTERFACE "${boost_directory}")
  message(STATUS "klineagg: Boost headers in ${boost_directory}")
else()
  set(KLINEAGG_BOOST_FOUND OFF)
  message(STATUS "klineagg: no Boost headers (install libboost-dev or `pip install boost-headers`)")
endif()
