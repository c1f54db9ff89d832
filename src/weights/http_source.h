#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "core/result.h"
#include "weights/byte_source.h"

namespace commissure {

/// Five failures in a row give up after 1.5 s of pauses.
inline constexpr std::chrono::milliseconds kFirstRetryPause{100};

/// An http(s) object read by ranges; a read that breaks is tried again a few times, from where it broke.
/// The object must not change while it is open: its size, and its ETag where it has one, are checked with every range.
///   first_pause  before the first retry; every further pause is twice as long
/// Errors: kUnavailable, kDeadlineExceeded; kNotFound, kPermissionDenied, kUnauthenticated by the server's status;
/// kFailedPrecondition, the server does not answer requests for ranges.
Result<std::unique_ptr<ByteSource>> open_http_source(const std::string& url,
                                                     std::chrono::milliseconds first_pause = kFirstRetryPause);

}  // namespace commissure
