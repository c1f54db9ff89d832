#pragma once

#include <string>
#include <vector>

#include "core/result.h"

namespace commissure {

/// The name of a model on a hub: "OWNER/REPO", or "OWNER/REPO:Q4_K_M" or "OWNER/REPO:NAME.gguf" for one of a
/// repository's GGUF files.
struct HubName {
  std::string repo;          ///< "OWNER/REPO"
  std::string quantisation;  ///< what stands behind the colon, in capitals; "" without one
};

/// Splits a name at its colon. Any text is a name.
HubName parse_hub_name(const std::string& name);

/// The quantisation that a GGUF file's path names: "Q4_K_M" of "BF16/gemma-3-27b-it-Q4_K_M-00001-of-00002.gguf". "" for
/// a path that names none, and for files that are no model.
std::string quantisation_of(const std::string& path);

/// The paths, among `paths`, of the file whose quantisation or name is `wanted`, or of all its parts in order.
/// Errors: kInvalidArgument, `wanted` is "" or the repository does not have it (the message lists what it has), or
/// several files have it.
Result<std::vector<std::string>> choose_quantisation(const std::string& repo, const std::vector<std::string>& paths,
                                                     const std::string& wanted);

}  // namespace commissure
