#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "core/result.h"

namespace commissure {

/// One file to download.
struct DownloadRequest {
  std::string url;
  std::vector<std::pair<std::string, std::string>> headers;  ///< sent to the URL's own host, not after a redirect
  std::filesystem::path target;                              ///< the file, once it is whole
  std::uint64_t n_bytes = 0;                                 ///< size of the file; 0: unknown
  std::string sha256;                                        ///< of the file, in hex; empty: not checked
};

/// Downloads a file into "TARGET.partial", beginning where an earlier try stopped, and renames it to its target once
/// size and SHA-256 are right. A connection that breaks is tried again a few times. Shows progress with rate and time
/// left on standard error.
/// Errors: kNotFound, HTTP 404; kPermissionDenied, HTTP 401 or 403 (the message says what to do); kUnavailable, no
/// connection, or it broke too often; kDataLoss, the checksum is wrong, and the partial file is removed;
/// kResourceExhausted, the disk is full, and the partial file stays for the next try.
Status download(const DownloadRequest& request);

}  // namespace commissure
