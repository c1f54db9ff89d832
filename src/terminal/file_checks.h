#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "core/result.h"

namespace commissure {

/// Checks that the file system of `folder` has `needed` bytes free. Errors: kResourceExhausted, naming the folder and
/// both numbers.
Status check_free_space(const std::filesystem::path& folder, std::uint64_t needed);

/// Checks a file's size and SHA-256 (in hex; empty: not checked). Errors: kDataLoss, one of them is wrong (the message
/// has both values); kNotFound, there is no such file.
Status check_file(const std::filesystem::path& file, std::uint64_t n_bytes, const std::string& sha256);

/// Renames a file over any file of the new name, in one step within one file system. Errors: as the system says.
Status rename_file(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace commissure
