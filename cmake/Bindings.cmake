# The Python module klineagg._core: the only target that knows of pybind11.
find_package(Python 3.10 COMPONENTS Interpreter Development.Module)
if(NOT Python_Development.Module_FOUND)
  message(FATAL_ERROR
    "klineagg needs Python >= 3.10 and its headers (Python.h). Found: ${Python_EXECUTABLE} "
    "${Python_VERSION}. On Debian or Ubuntu: apt-get install python3-dev")
endif()
if(NOT DEFINED SKBUILD AND NOT pybind11_DIR)
  execute_process(
    COMMAND "${Python_EXECUTABLE}" -m pybind11 --cmakedir
    OUTPUT_VARIABLE pybind11_DIR OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
find_package(pybind11 3.0 CONFIG REQUIRED)

# The list of categories is the list of files: a new register_x.cpp needs no other edit.
file(GLOB register_sources CONFIGURE_DEPENDS cpp/bindings/register_*.cpp)
set(categories "")
foreach(source IN LISTS register_sources)
  get_filename_component(stem "${source}" NAME_WE)
  string(REGEX REPLACE "^register_" "" category "${stem}")
  list(APPEND categories "${category}")
endforeach()
# Types come before the functions that take them: pybind11 writes a type's Python name into a
# signature only when it knows it already.
foreach(category IN ITEMS interval symbols errors)
  if(category IN_LIST categories)
    list(REMOVE_ITEM categories "${category}")
    list(PREPEND categories "${category}")
  endif()
endforeach()

set(KLINEAGG_REGISTER_DECLARATIONS "")
set(KLINEAGG_REGISTER_CALLS "")
foreach(category IN LISTS categories)
  string(APPEND KLINEAGG_REGISTER_DECLARATIONS "void register_${category}(pybind11::module_& module);\n")
  string(APPEND KLINEAGG_REGISTER_CALLS "    register_${category}(module);\n")
endforeach()
set(generated "${CMAKE_CURRENT_BINARY_DIR}/bindings")
configure_file("${CMAKE_CURRENT_SOURCE_DIR}/cmake/register.hpp.in" "${generated}/register.hpp" @ONLY)

file(GLOB binding_sources CONFIGURE_DEPENDS cpp/bindings/*.cpp)
pybind11_add_module(_core MODULE ${binding_sources})
klineagg_compile_options(_core)
klineagg_tidy(_core)
target_include_directories(_core PRIVATE cpp/bindings "${generated}")
target_link_libraries(_core PRIVATE klineagg_core)
target_compile_definitions(_core PRIVATE KLINEAGG_VERSION="${KLINEAGG_VERSION}")
if(DEFINED SKBUILD)
  install(TARGETS _core DESTINATION klineagg)
endif()
