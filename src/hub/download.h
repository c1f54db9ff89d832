#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "core/result.h"

namespace commissure {

struct DownloadRequest {
  std::string url;
  std::vector<std::pair<std::string, std::string>> headers;  ///< sent to the first host only
  std::filesystem::path target;
  std::uint64_t n_bytes = 0;  ///< expected; 0: unknown
  std::string sha256;         ///< hex; empty: not checked
};

/// Downloads a file into "TARGET.partial", from where an earlier try stopped (by range). Tries again a few times when
/// the connection breaks, checks size and SHA-256, then renames the file to its target. Shows progress with rate and
/// time left.
/// Errors: kNotFound (404), kPermissionDenied (401, 403, with what to do), kUnavailable, kDataLoss (wrong checksum; the
/// partial file is removed), kResourceExhausted (disk full; the partial file stays).
Status download(const DownloadRequest& request);

}  // namespace commissure
