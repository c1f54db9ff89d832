#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace commissure {

/// The command or flag that was probably meant by the first word of a command line that is none: "commissure ask" for
/// `askk`, "--model" for `--modle`. "" when no name is near.
std::string suggestion(const CLI::App& app, const std::vector<std::string>& arguments);

/// The nearest of `names`; "" when none is near enough to be meant.
std::string nearest(const std::string& word, const std::vector<std::string>& names);

}  // namespace commissure
