# The device sources as C++ on fibers, behind a fake driver: for tests only, never in the program. Warnings of unknown
# pragmas are CUDA's unroll; no contraction, as in the machine code. ThreadSanitizer does not know these fibers.
if(COMMISSURE_SANITIZE AND NOT COMMISSURE_SANITIZE_ALL)
  return()
endif()
if(NOT BUILD_TESTING OR NOT CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64" OR COMMISSURE_SANITIZE MATCHES thread)
  return()
endif()
include(CheckCXXSourceRuns)
check_cxx_source_runs("int main() { return __builtin_cpu_supports(\"avx\") && __builtin_cpu_supports(\"fma\") ? 0 : 1; }" COMMISSURE_CPU_HAS_FMA)
if(NOT COMMISSURE_CPU_HAS_FMA)
  message(STATUS "The tests that emulate GPU kernels are left out: this CPU has no FMA")
  return()
endif()
set(device ${CMAKE_CURRENT_SOURCE_DIR}/cuda/device)
set(emulated ${CMAKE_CURRENT_SOURCE_DIR}/cuda/emulated)
set(kernels ${device}/attention.cu ${device}/check.cu ${device}/pack.cu ${device}/products.cu ${device}/rows.cu)
set(device_options
  "-xc++;-Wno-unknown-pragmas;$<$<CXX_COMPILER_ID:Clang>:-Wno-pass-failed>;-O2;-ffp-contract=off;-mfma;-include${emulated}/words.h")
set_source_files_properties(${kernels} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS "${device_options}")
if(COMMISSURE_SANITIZE)  # these two have most instances: minutes to compile otherwise
  set_source_files_properties(${device}/attention.cu ${device}/products.cu PROPERTIES COMPILE_OPTIONS "${device_options};-O1")
endif()
add_library(commissure_cuda_emulated OBJECT ${kernels} ${emulated}/fake_driver.cc ${emulated}/fiber.cc ${emulated}/machine.cc
  ${emulated}/registry.cc)
target_include_directories(commissure_cuda_emulated PUBLIC ${PROJECT_SOURCE_DIR}/src)
target_link_libraries(commissure_cuda_emulated PUBLIC commissure::kernels commissure::core PRIVATE commissure::warnings)
target_compile_options(commissure_cuda_emulated PRIVATE -O2)
if(COMMISSURE_SANITIZE MATCHES address AND CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  # Looking for uses of locals after return maps and unmaps a stack for each CUDA thread: fifty times the time.
  target_compile_options(commissure_cuda_emulated PRIVATE -fsanitize-address-use-after-return=never)
endif()

set(tests cuda/emulated/machine_test.cc cuda/emulated/cuda_products_test.cc cuda/emulated/cuda_rows_test.cc cuda/emulated/cuda_attention_test.cc
  cuda/emulated/cuda_backend_test.cc)
add_executable(cuda_test ${tests})
target_include_directories(cuda_test PRIVATE ${PROJECT_SOURCE_DIR}/tests)
target_link_libraries(cuda_test PRIVATE commissure_cuda_emulated commissure::warnings GTest::gtest_main)
target_compile_options(cuda_test PRIVATE -O1)
commissure_discover_tests(cuda_test cuda 240)
