#pragma once

#include <string>
#include <string_view>

#include "commands/command_doc.h"
#include "core/result.h"

namespace commissure {

/// A script by which a shell completes commands, flags and values of `program`.
///   shell  "bash", "zsh" or "fish"
/// Errors: kInvalidArgument, another shell.
Result<std::string> shell_completion(const CommandDoc& program, std::string_view shell);

}  // namespace commissure
