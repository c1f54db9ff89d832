# A package for Debian 12 and what follows from it: the program, its manual page and completions of three shells, both from the
# table that its command line is parsed by. `make package` builds it.
set(folder ${PROJECT_BINARY_DIR}/package)
set(pages ${folder}/commissure.1 ${folder}/commissure.bash ${folder}/_commissure ${folder}/commissure.fish)
add_custom_command(OUTPUT ${pages}
  COMMAND ${CMAKE_COMMAND} -E make_directory ${folder}
  COMMAND commissure_program manual > ${folder}/commissure.1
  COMMAND commissure_program completion bash > ${folder}/commissure.bash
  COMMAND commissure_program completion zsh > ${folder}/_commissure
  COMMAND commissure_program completion fish > ${folder}/commissure.fish
  DEPENDS commissure_program
  COMMENT "Manual page and completions" VERBATIM)
add_custom_target(package_files DEPENDS ${pages})

include(GNUInstallDirs)
install(TARGETS commissure_program RUNTIME)
install(FILES ${folder}/commissure.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${folder}/commissure.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME commissure)
install(FILES ${folder}/_commissure DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions)
install(FILES ${folder}/commissure.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/commissure RENAME copyright)
install(FILES ${PROJECT_SOURCE_DIR}/CHANGELOG.md ${PROJECT_BINARY_DIR}/bin/third_party_licences.txt
  DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/commissure)

install(FILES ${PROJECT_BINARY_DIR}/web/licences.txt DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/commissure RENAME web_page_licences.txt OPTIONAL)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME commissure)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_CONTACT "The authors of Commissure")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "serves one large language model from several small machines")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)  # names the libraries' packages
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS ca-certificates)
set(CPACK_STRIP_FILES ON)
include(CPack)
