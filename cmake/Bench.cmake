# Benchmarks of the core alone: one program for each file of cpp/bench.
file(GLOB bench_sources CONFIGURE_DEPENDS cpp/bench/*.cpp)
foreach(source IN LISTS bench_sources)
  get_filename_component(name "${source}" NAME_WE)
  add_executable(${name} "${source}")
  klineagg_compile_options(${name})
  target_link_libraries(${name} PRIVATE klineagg_core)
endforeach()
