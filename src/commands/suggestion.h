#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace commissure {

/// The command or flag that somebody meant by the first word of a command line that is neither: "commissure ask" for
/// `askk`, "--model" for `--modle`. "" when nothing is near.
std::string suggestion(const CLI::App& app, const std::vector<std::string>& arguments);

/// Letters to put in, take out, change or swap with their neighbour until `a` is `b`.
int edit_distance(std::string_view a, std::string_view b);

/// The nearest of `names`; "" when none is near enough to be meant.
std::string nearest(const std::string& word, const std::vector<std::string>& names);

}  // namespace commissure
