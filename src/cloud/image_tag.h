#pragma once

#include <filesystem>
#include <string>

#include "core/result.h"
#include "deployment/cloud_spec.h"

namespace commissure {

/// Ten hex digits over all files that the image is built from; the image's tag changes with any of them.
/// Errors: kNotFound, `root` is not the root of the source tree.
Result<std::string> source_digest(const std::filesystem::path& root);

/// Ten hex digits over what baked weights are: files and their sums, or the place and revision they come from.
std::string weights_digest(const CloudWeights& weights);

/// The source tree that this program was built in, or the working directory. Errors: kNotFound, neither is one.
Result<std::filesystem::path> find_source_tree();

}  // namespace commissure
