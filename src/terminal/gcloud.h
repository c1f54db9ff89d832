#pragma once

#include <string>
#include <vector>

#include "terminal/program_call.h"

namespace commissure {

/// `gcloud` with these arguments and nothing interactive.
ProgramCall gcloud(std::vector<std::string> arguments);

/// Google's own words in gcloud's output: the message without prefixes, hints about tokens and line breaks.
std::string google_words(const ProgramAnswer& answer);

/// The last line of a build's own output that looks like a cause; Cloud Build's own last words say only which step.
std::string last_build_line(const std::string& output);

}  // namespace commissure
