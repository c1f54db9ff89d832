#pragma once

#include <string>
#include <vector>

#include "terminal/program_call.h"

namespace commissure {

/// A call of `gcloud` with these arguments, told never to ask a person.
ProgramCall gcloud(std::vector<std::string> arguments);

/// The message from Google in what gcloud printed: without gcloud's prefixes, its hints about tokens and line breaks.
std::string google_words(const ProgramAnswer& answer);

/// The last line of a build's log that looks like the cause of its failure; the last line of all only says which step
/// of Cloud Build failed.
std::string last_build_line(const std::string& output);

}  // namespace commissure
