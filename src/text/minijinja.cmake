# The Rust part of this folder: a static library that cargo builds. Cargo fetches the crates that Cargo.lock
# names when they are first built, never at configure time.
find_program(COMMISSURE_CARGO cargo PATHS /usr/bin NO_DEFAULT_PATH)
find_program(COMMISSURE_CARGO cargo REQUIRED)
get_filename_component(cargo_folder ${COMMISSURE_CARGO} DIRECTORY)
find_program(COMMISSURE_RUSTC rustc PATHS ${cargo_folder} NO_DEFAULT_PATH REQUIRED)

set(crate ${CMAKE_CURRENT_SOURCE_DIR}/minijinja)
set(cargo_output ${PROJECT_SOURCE_DIR}/build/cargo)  # one for all presets: Rust's part is the same in each
set(minijinja_library ${cargo_output}/release/libcommissure_text.a)
add_custom_command(
  OUTPUT ${minijinja_library}
  COMMAND ${CMAKE_COMMAND} -E env RUSTC=${COMMISSURE_RUSTC} ${COMMISSURE_CARGO} build --release --locked --quiet
          --manifest-path ${crate}/Cargo.toml --target-dir ${cargo_output}
  COMMAND ${CMAKE_COMMAND} -E touch ${minijinja_library}
  DEPENDS ${crate}/Cargo.toml ${crate}/Cargo.lock ${crate}/src/environment.rs ${crate}/src/json.rs
          ${crate}/src/lib.rs ${crate}/src/time.rs
  COMMENT "Building the chat template engine (cargo)"
  VERBATIM)
add_custom_target(commissure_minijinja_build DEPENDS ${minijinja_library})
add_library(commissure_minijinja STATIC IMPORTED GLOBAL)
set_target_properties(commissure_minijinja PROPERTIES
  IMPORTED_LOCATION ${minijinja_library}
  INTERFACE_LINK_LIBRARIES "Threads::Threads;${CMAKE_DL_LIBS};m")
add_dependencies(commissure_minijinja commissure_minijinja_build)
