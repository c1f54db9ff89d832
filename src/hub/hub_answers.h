#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "core/result.h"

namespace commissure {

/// A file of a repository, as the hub lists it.
struct HubFile {
  std::string path;  ///< a safe one, below the repository
  std::uint64_t n_bytes = 0;
  std::string sha256;  ///< large files only; the hub knows no SHA-256 of the others
};

/// Whether a name from the hub may become a file's below a folder of this machine: relative, without "." and ".." and
/// empty names between its slashes, each as short as file systems take it, and without control characters.
bool is_safe_path(std::string_view path);

/// The files of the hub's answer to /api/models/REPO/tree/COMMIT, but for those with names too long for file systems.
/// Errors: kDataLoss, no list, or a path in it that is unsafe for another reason.
Result<std::vector<HubFile>> read_file_list(std::string_view repo, const Json& tree);

/// The commit of the hub's answer to /api/models/REPO/revision/NAME, which becomes part of URLs. Errors: kDataLoss,
/// none there, or no plain word.
Result<std::string> read_commit(std::string_view repo, const Json& info);

}  // namespace commissure
