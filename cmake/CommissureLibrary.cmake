set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/unity_groups.py)

# Compiles a target's sources `size` at a time where COMMISSURE_UNITY is on: half the work, coarser rebuilds.
function(commissure_unity target size)
  if(NOT COMMISSURE_UNITY)
    return()
  endif()
  list(FILTER ARGN INCLUDE REGEX "[.]cc$")
  list(FILTER ARGN EXCLUDE REGEX "[.]pb[.]cc$|^${CMAKE_BINARY_DIR}")
  execute_process(
    COMMAND ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/cmake/unity_groups.py ${size} ${ARGN}
    WORKING_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR} OUTPUT_VARIABLE lines COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "[^\n]+" lines "${lines}")
  foreach(line ${lines})
    list(APPEND pairs ${line})
  endforeach()
  while(pairs)
    list(POP_FRONT pairs file group)
    set_source_files_properties(${file} PROPERTIES UNITY_GROUP ${target}_${group})
  endwhile()
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
endfunction()

# Rooms that wait for people, files and other programs, and tests: time to compile counts more than time to run.
set(COMMISSURE_COLD_ROOMS terminal deployment client local hub plan cloud doctor serve measure verify commands)
# Tests that calculate what they compare with, value by value.
set(COMMISSURE_COMPUTING_TESTS kernels weights text sample model stage step)
set(COMMISSURE_COLD_OPTIONS -O1)
if(COMMISSURE_SANITIZE AND NOT COMMISSURE_LIBFUZZER)
  # The optimiser takes half of the time of such a build, and pays only where much is calculated. (Templates are rendered
  # by recursion, to a depth that frames without it have no stack for.)
  set(COMMISSURE_COLD_OPTIONS -O0)
  list(APPEND COMMISSURE_COLD_ROOMS core net answer step grammar model synth stage wire engine api)
endif()

# What most sources include is parsed once for each set of options, not once a source: a quarter of a sanitizer build.
# Clang only, which checks that the options agree; GCC 12 gains less, and crashes where they do not. Beside unity only, so
# that the dev preset, which compiles every file by itself, finds an include that is missing.
function(commissure_precompiled_headers name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "OPTIONS;HEADERS;LIBRARIES")
  file(GENERATE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/${name}.cc CONTENT "")
  add_library(${name} OBJECT ${CMAKE_CURRENT_BINARY_DIR}/${name}.cc)
  target_compile_features(${name} PUBLIC cxx_std_20)
  target_compile_options(${name} PRIVATE ${arg_OPTIONS})
  target_link_libraries(${name} PRIVATE fmt::fmt nlohmann_json::nlohmann_json ${arg_LIBRARIES})
  target_precompile_headers(${name} PRIVATE <algorithm> <array> <atomic> <chrono> <cmath> <cstdint> <cstring> <deque> <filesystem>
    <fstream> <functional> <limits> <map> <memory> <mutex> <optional> <set> <span> <string> <string_view> <thread> <unordered_map>
    <utility> <variant> <vector> <fmt/format.h> <nlohmann/json.hpp> ${arg_HEADERS})
endfunction()
set(COMMISSURE_PRECOMPILES OFF)
if(COMMISSURE_UNITY AND CMAKE_CXX_COMPILER_ID STREQUAL Clang)
  set(COMMISSURE_PRECOMPILES ON)
  add_compile_options(-pthread)  # some packages ask for it, and what uses a precompiled header must agree with it
  commissure_precompiled_headers(commissure_headers_of_hot_rooms)
  commissure_precompiled_headers(commissure_headers_of_cold_rooms OPTIONS ${COMMISSURE_COLD_OPTIONS})
  if(BUILD_TESTING)
    commissure_precompiled_headers(commissure_headers_of_tests
      OPTIONS ${COMMISSURE_COLD_OPTIONS} HEADERS <gtest/gtest.h> LIBRARIES GTest::gtest)
    commissure_precompiled_headers(commissure_headers_of_computing_tests OPTIONS -O1 HEADERS <gtest/gtest.h> LIBRARIES GTest::gtest)
  endif()
endif()

# The tests of a gtest executable as CTest's. Under a sanitizer they are two, halves of the executable's: a process for each
# test would cost more than most tests.
function(commissure_discover_tests target prefix timeout)
  if(NOT COMMISSURE_SANITIZE)
    gtest_discover_tests(${target} TEST_PREFIX "${prefix}." DISCOVERY_TIMEOUT 60 PROPERTIES LABELS unit TIMEOUT ${timeout})
    return()
  endif()
  foreach(half 0 1)
    add_test(NAME ${prefix}.${target}_${half} COMMAND ${target} --gtest_brief=1)
    set_tests_properties(${prefix}.${target}_${half} PROPERTIES LABELS unit TIMEOUT 1800
      ENVIRONMENT "GTEST_TOTAL_SHARDS=2;GTEST_SHARD_INDEX=${half}")
  endforeach()
endfunction()

# Tests of a room that compare numbers for long and would take minutes where all is instrumented: a sanitizer's suite has
# them only where all is asked for.
option(COMMISSURE_SANITIZE_ALL "Under a sanitizer, too: long comparisons of numbers, GPU kernels by emulation" OFF)
function(commissure_leave_to_release folder)
  if(NOT TARGET ${folder}_test OR NOT COMMISSURE_SANITIZE OR COMMISSURE_SANITIZE_ALL)
    return()
  endif()
  list(JOIN ARGN ":" filter)
  set_property(TEST ${folder}.${folder}_test_0 ${folder}.${folder}_test_1 APPEND PROPERTY ENVIRONMENT "GTEST_FILTER=-${filter}")
endfunction()

# commissure_library(sched SOURCES scheduler.cc HEADERS scheduler.h TESTS scheduler_test.cc DEPENDS core step
#                    PUBLIC_LIBRARIES fmt::fmt PRIVATE_LIBRARIES gRPC::grpc++)
# One static library and one gtest executable per folder; DEPENDS repeats the folder's line in src/LAYERS.
function(commissure_library folder)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" ""
    "SOURCES;HEADERS;TESTS;DEPENDS;PUBLIC_LIBRARIES;PRIVATE_LIBRARIES;TEST_LIBRARIES")
  set(target commissure_${folder})
  list(TRANSFORM arg_DEPENDS PREPEND commissure::)
  add_library(${target} STATIC ${arg_SOURCES})
  add_library(commissure::${folder} ALIAS ${target})
  target_sources(${target} PUBLIC FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR}/src FILES ${arg_HEADERS})
  target_compile_features(${target} PUBLIC cxx_std_20)
  commissure_unity(${target} 16 ${arg_SOURCES})
  set(headers commissure_headers_of_hot_rooms)
  if(folder IN_LIST COMMISSURE_COLD_ROOMS)
    target_compile_options(${target} PRIVATE ${COMMISSURE_COLD_OPTIONS})
    set(headers commissure_headers_of_cold_rooms)
  endif()
  if(COMMISSURE_PRECOMPILES)
    target_precompile_headers(${target} REUSE_FROM ${headers})
  endif()
  target_link_libraries(${target}
    PUBLIC ${arg_DEPENDS} ${arg_PUBLIC_LIBRARIES}
    PRIVATE ${arg_PRIVATE_LIBRARIES} commissure::warnings)
  if(BUILD_TESTING AND arg_TESTS)
    add_executable(${folder}_test ${arg_TESTS})
    target_include_directories(${folder}_test PRIVATE ${PROJECT_SOURCE_DIR}/tests)
    target_link_libraries(${folder}_test PRIVATE ${target} ${arg_TEST_LIBRARIES} commissure::warnings GTest::gtest_main)
    # A third of the time of a build from nothing goes to tests: they need little optimiser, and their headers are read once.
    set(test_options ${COMMISSURE_COLD_OPTIONS})
    set(headers commissure_headers_of_tests)
    if(folder IN_LIST COMMISSURE_COMPUTING_TESTS)
      set(test_options -O1)
      set(headers commissure_headers_of_computing_tests)
    endif()
    if(COMMISSURE_PRECOMPILES)
      target_precompile_headers(${folder}_test REUSE_FROM ${headers})
    endif()
    target_compile_options(${folder}_test PRIVATE ${test_options})
    commissure_unity(${folder}_test 16 ${arg_TESTS})
    target_compile_definitions(${folder}_test PRIVATE COMMISSURE_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
    commissure_discover_tests(${folder}_test ${folder} 120)
  endif()
endfunction()
