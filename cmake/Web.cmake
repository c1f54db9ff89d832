# The web page (web/): built by Next.js from the lock file, packed, and embedded in the program.
#   COMMISSURE_WEB   auto: where Node.js (tools/fetch_node.sh) and the packages can be had, else a line that says why not;
#                    on: ends where that fails; off
set(COMMISSURE_WEB auto CACHE STRING "The web page: on, off or auto")
string(TOLOWER "${COMMISSURE_WEB}" COMMISSURE_WEB)
if(NOT COMMISSURE_WEB MATCHES "^(on|off|auto)$")
  message(FATAL_ERROR "COMMISSURE_WEB must be on, off or auto, not \"${COMMISSURE_WEB}\"")
endif()

# The folder of node and npm; empty: no page.
function(commissure_find_node found)
  set(${found} "" PARENT_SCOPE)
  set(script ${PROJECT_SOURCE_DIR}/tools/fetch_node.sh)
  if(COMMISSURE_WEB STREQUAL off OR (COMMISSURE_WEB STREQUAL auto AND NOT EXISTS ${PROJECT_SOURCE_DIR}/web))
    return()
  endif()
  execute_process(COMMAND ${script} --fetch
    OUTPUT_VARIABLE folder OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_VARIABLE why ERROR_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE failed)
  if(failed AND COMMISSURE_WEB STREQUAL on)
    message(FATAL_ERROR "COMMISSURE_WEB=on: ${why}")
  elseif(failed)
    message(STATUS "Built without the web page: ${why}")
    return()
  endif()
  set(${found} "${folder}" PARENT_SCOPE)
endfunction()

# Adds the page's files, or an empty table, to a target.
function(commissure_embed_page target)
  commissure_find_node(node)
  set(out ${PROJECT_BINARY_DIR}/web)
  set(table ${out}/page_table.cc)
  if(NOT node)
    file(CONFIGURE OUTPUT ${table} CONTENT
      "#include \"page/page_files.h\"\nnamespace commissure {\nstd::span<const PageFile> page_files() { return {}; }\n}\n")
    target_sources(${target} PRIVATE ${table})
    return()
  endif()
  # Built in a copy, so that nothing is written beside the sources.
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/web/src/* ${PROJECT_SOURCE_DIR}/web/public/*)
  file(GLOB settings CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/web/*.json ${PROJECT_SOURCE_DIR}/web/*.mjs ${PROJECT_SOURCE_DIR}/web/*.ts)
  add_custom_command(OUTPUT ${table} ${out}/licences.txt
    COMMAND ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/tools/build_web.py ${node} ${PROJECT_SOURCE_DIR}/web ${out} ${COMMISSURE_WEB}
    DEPENDS ${PROJECT_SOURCE_DIR}/tools/build_web.py ${PROJECT_SOURCE_DIR}/web/.npmrc ${sources} ${settings}
    COMMENT "The web page" VERBATIM)
  set_source_files_properties(${table} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON SKIP_PRECOMPILE_HEADERS ON)
  target_sources(${target} PRIVATE ${table})
endfunction()
