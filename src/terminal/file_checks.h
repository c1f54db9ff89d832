#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "core/result.h"

namespace commissure {

/// Errors: kResourceExhausted, naming the folder, what is needed and what is free.
Status check_free_space(const std::filesystem::path& folder, std::uint64_t needed);

/// Checks size and SHA-256 (hex; empty: not checked). Errors: kDataLoss with both values; kNotFound.
Status check_file(const std::filesystem::path& file, std::uint64_t n_bytes, const std::string& sha256);

/// Atomic within one file system. Errors: as the system says.
Status rename_file(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace commissure
