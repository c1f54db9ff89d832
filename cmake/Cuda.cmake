# GPU kernels (docs/decisions/013): compiled to machine code by NVRTC 12.9.86, which tools/fetch_nvrtc.sh keeps in the
# user's cache, and embedded in the program.
#   COMMISSURE_CUDA   auto: when the compiler is in the cache, else one line that says how to fetch it; on: fetches it
#                     where it is missing, and ends where that fails; off
set(COMMISSURE_CUDA auto CACHE STRING "GPU kernels: on, off or auto")
set(COMMISSURE_CUDA_ARCHS sm_80 sm_89 sm_90 sm_120)
set(COMMISSURE_CUDA_SOURCES attention check pack products rows)

function(commissure_find_nvrtc found)
  set(${found} "" PARENT_SCOPE)
  set(script ${PROJECT_SOURCE_DIR}/tools/fetch_nvrtc.sh)
  set(mode --where)
  if(COMMISSURE_CUDA STREQUAL on)
    set(mode --fetch)
    if(NOT EXISTS ${script})
      message(FATAL_ERROR "COMMISSURE_CUDA=on needs tools/fetch_nvrtc.sh, which is not here; auto and off do without")
    endif()
  elseif(NOT EXISTS ${script})
    return()  # the image's build: it has no kernels for GPUs yet
  endif()
  execute_process(COMMAND ${script} ${mode}
    OUTPUT_VARIABLE library OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_VARIABLE why ERROR_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE failed)
  if(failed AND mode STREQUAL --fetch)
    message(FATAL_ERROR "COMMISSURE_CUDA=on: ${why}")
  elseif(failed)
    message(STATUS "Built without kernels for GPUs: ${why}")
    return()
  endif()
  set(${found} "${library}" PARENT_SCOPE)
endfunction()

# Adds the machine code, or an empty table, to a target.
function(commissure_embed_cuda target)
  set(device ${PROJECT_SOURCE_DIR}/src/kernels/cuda/device)
  set(out ${CMAKE_CURRENT_BINARY_DIR}/cuda)
  file(MAKE_DIRECTORY ${out})
  set(library "")
  if(NOT COMMISSURE_CUDA STREQUAL off)
    commissure_find_nvrtc(library)
  endif()
  set(table "${out}/cubins.cc")
  set(text "#include \"kernels/cuda/cubins.h\"\nnamespace commissure::cuda {\nstd::span<const Cubin> cubins() {\n")
  if(NOT library)
    file(CONFIGURE OUTPUT ${table} CONTENT "${text}return {};\n}\n}\n")
    target_sources(${target} PRIVATE ${table})
    return()
  endif()

  add_executable(commissure_cubin ${PROJECT_SOURCE_DIR}/tools/cubin.cc)
  target_link_libraries(commissure_cubin PRIVATE ${CMAKE_DL_LIBS})
  file(GLOB headers ${device}/*.h ${device}/*.cuh)
  set(assembler "")
  set(declarations "")
  set(rows "")
  foreach(source ${COMMISSURE_CUDA_SOURCES})
    foreach(arch ${COMMISSURE_CUDA_ARCHS})
      set(cubin ${out}/${source}.${arch}.cubin)
      list(APPEND all ${cubin}.z)
      set(name ${source}_${arch})
      string(APPEND assembler "asm(\".section .rodata\\n.balign 64\\n.globl commissure_${name}\\ncommissure_${name}:\\n"
        ".incbin \\\"${cubin}.z\\\"\\n.globl commissure_${name}_end\\ncommissure_${name}_end:\\n.text\\n\");\n")
      string(APPEND declarations "extern \"C\" const unsigned char commissure_${name}[], commissure_${name}_end[];\n")
      string(REPLACE "sm_" "" number ${arch})
      string(APPEND rows "{${number}, commissure_${name}, commissure_${name}_end},\n")
      add_custom_command(OUTPUT ${cubin}.z ${out}/${source}.${arch}.resources
        COMMAND commissure_cubin ${library} ${PROJECT_SOURCE_DIR}/src ${out} ${arch} ${device}/${source}.cu
        COMMAND ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/tools/compress_cubins.py ${cubin}
        DEPENDS commissure_cubin ${PROJECT_SOURCE_DIR}/tools/compress_cubins.py ${device}/${source}.cu ${headers}
        COMMENT "GPU kernels: ${source}.cu for ${arch}" VERBATIM)
      list(APPEND resources ${out}/${source}.${arch}.resources)
    endforeach()
  endforeach()
  file(CONFIGURE OUTPUT ${table} CONTENT
    "${declarations}${assembler}${text}static const Cubin kCubins[] = {\n${rows}};\nreturn kCubins;\n}\n}\n")
  set_source_files_properties(${table} PROPERTIES OBJECT_DEPENDS "${all}" SKIP_UNITY_BUILD_INCLUSION ON)
  target_sources(${target} PRIVATE ${table})
  if(BUILD_TESTING)
    add_test(NAME lint.cuda_resources COMMAND ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/tests/lint/cuda_resources_test.py ${resources})
    set_tests_properties(lint.cuda_resources PROPERTIES LABELS lint)
  endif()
endfunction()
