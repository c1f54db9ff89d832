#pragma once

#include <string>
#include <vector>

#include "core/result.h"

namespace commissure {

/// "OWNER/REPO", or "OWNER/REPO:Q4_K_M" or "OWNER/REPO:NAME.gguf" for one of a repository's GGUF files.
struct HubName {
  std::string repo;
  std::string quantisation;  ///< in capitals; "" without
};

HubName parse_hub_name(const std::string& name);

/// "Q4_K_M" of "BF16/gemma-3-27b-it-Q4_K_M-00001-of-00002.gguf"; "" for a file that names none, and for what is no
/// model.
std::string quantisation_of(const std::string& path);

/// The paths of one quantisation or of the file of that name, in order: a file, or all parts of a split one. Errors:
/// kInvalidArgument, `wanted` is
/// "" or not there (the message lists those that are), or several files have it.
Result<std::vector<std::string>> choose_quantisation(const std::string& repo, const std::vector<std::string>& paths,
                                                     const std::string& wanted);

}  // namespace commissure
