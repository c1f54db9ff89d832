#pragma once

#include <string>

#include "commands/command_doc.h"

namespace commissure {

/// A manual page, section 1, as man(1) formats it: of the whole program, with every command and its flags.
///   version  as --version prints it
std::string manual_page(const CommandDoc& program, const std::string& version);

}  // namespace commissure
