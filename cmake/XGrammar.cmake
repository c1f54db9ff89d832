# XGrammar, which holds answers to grammars: the C++ core alone, as a static library. docs/decisions/014-xgrammar-holds-answers.md
# says why, and why its sources come from the Python package index.
option(COMMISSURE_GRAMMAR "Answers held to a grammar or JSON schema, by XGrammar" ON)
set(COMMISSURE_XGRAMMAR_SOURCE "" CACHE PATH "XGrammar's unpacked sources; empty: fetched once with pip, into the user's cache")
if(NOT COMMISSURE_GRAMMAR)
  return()
endif()
set(source ${COMMISSURE_XGRAMMAR_SOURCE})
if(NOT source)
  execute_process(
    COMMAND ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/cmake/fetch_source.py
            xgrammar 0.2.9 87b466bca2475e29bb0323abc62c6c33cbcbcff47e5fb800a3e2099ac9620b90
    OUTPUT_VARIABLE source OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE failed)
  if(failed)
    message(FATAL_ERROR "The sources of XGrammar 0.2.9 did not come from the Python package index (pip's words stand above). "
      "Connect and configure again; or unpack xgrammar-0.2.9.tar.gz somewhere and add -DCOMMISSURE_XGRAMMAR_SOURCE=FOLDER; "
      "or build without structured output: -DCOMMISSURE_GRAMMAR=OFF.")
  endif()
endif()

# Without the bindings, and without Lark and structural tags, which nothing here asks for (src/grammar/xgrammar_hooks.cc).
file(GLOB sources ${source}/cpp/*.cc ${source}/cpp/support/*.cc ${source}/cpp/converter_ext/*.cc)
# grammar_matcher.cc is a part of xgrammar_states.cc.
list(FILTER sources EXCLUDE REGEX "/(structural_tag|lark_converter|config|grammar_matcher)[.]cc$")
set(states ${PROJECT_SOURCE_DIR}/src/grammar/xgrammar_states.cc)
set_source_files_properties(${states} PROPERTIES INCLUDE_DIRECTORIES "${source};${PROJECT_SOURCE_DIR}/src")
add_library(commissure_xgrammar STATIC ${sources} ${states})
if(COMMISSURE_UNITY)
  # One name of minimax_m3.cc is another file's, too; xgrammar_states.cc sees what others may not.
  set_source_files_properties(${source}/cpp/converter_ext/minimax_m3.cc ${states} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  set_target_properties(commissure_xgrammar PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE BATCH UNITY_BUILD_BATCH_SIZE 8)
endif()
target_include_directories(commissure_xgrammar SYSTEM
  PUBLIC ${source}/include ${source}/3rdparty/dlpack/include ${source}/3rdparty/picojson PRIVATE ${source}/cpp)
target_include_directories(commissure_xgrammar SYSTEM INTERFACE ${source})
# Its warnings and errors come to src/grammar: what it would ignore is refused.
target_compile_definitions(commissure_xgrammar PUBLIC
  XGRAMMAR_ENABLE_CPPTRACE=0 XGRAMMAR_ENABLE_INTERNAL_CHECK=0 XGRAMMAR_LOG_CUSTOMIZE=1)
target_compile_options(commissure_xgrammar PRIVATE -w $<$<CONFIG:Release>:-O2>)
if(CMAKE_CXX_COMPILER_ID STREQUAL Clang)
  set_target_properties(commissure_xgrammar PROPERTIES CXX_STANDARD 17)  # libstdc++ 12's variant of C++20 refuses its types there
endif()
if(COMMISSURE_SANITIZE MATCHES undefined)
  target_compile_options(commissure_xgrammar PRIVATE -fno-sanitize=undefined)  # its own business; of addresses it is ours
endif()

# What is linked in has to be named wherever the program goes: deploy/collect_image.sh takes this file along.
set(licences "XGrammar 0.2.9, dlpack and picojson are part of this program.\n")
foreach(file LICENSE NOTICE 3rdparty/dlpack/LICENSE)
  file(READ ${source}/${file} text)
  string(APPEND licences "\n---- xgrammar-0.2.9/${file}\n\n${text}")
endforeach()
file(READ ${source}/3rdparty/picojson/picojson.h text LIMIT 8192)
string(FIND "${text}" "*/" end)
string(SUBSTRING "${text}" 0 ${end} text)
string(APPEND licences "\n---- xgrammar-0.2.9/3rdparty/picojson/picojson.h\n\n${text}*/\n")
file(WRITE ${PROJECT_BINARY_DIR}/bin/third_party_licences.txt "${licences}")
