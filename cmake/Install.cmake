# The CMake package: find_package(klineagg) gives klineagg::core.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(package_directory "${CMAKE_INSTALL_LIBDIR}/cmake/klineagg")
install(TARGETS klineagg_core EXPORT klineagg ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(DIRECTORY cpp/include/klineagg DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
  FILES_MATCHING PATTERN "*.hpp" PATTERN "*.ipp")
install(EXPORT klineagg NAMESPACE klineagg:: FILE klineaggTargets.cmake
  DESTINATION "${package_directory}")
configure_package_config_file(cmake/klineaggConfig.cmake.in
  "${CMAKE_CURRENT_BINARY_DIR}/klineaggConfig.cmake" INSTALL_DESTINATION "${package_directory}")
write_basic_package_version_file("${CMAKE_CURRENT_BINARY_DIR}/klineaggConfigVersion.cmake"
  COMPATIBILITY SameMinorVersion)
install(FILES
  "${CMAKE_CURRENT_BINARY_DIR}/klineaggConfig.cmake"
  "${CMAKE_CURRENT_BINARY_DIR}/klineaggConfigVersion.cmake"
  DESTINATION "${package_directory}")
