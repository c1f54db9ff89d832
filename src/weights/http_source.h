#pragma once

#include <memory>
#include <string>

#include "core/result.h"
#include "weights/byte_source.h"

namespace commissure {

/// An http(s) object read by ranges; a read that breaks is tried again a few times, from where it broke.
/// The object must not change while it is open: its size, and its ETag where it has one, are checked with every range.
/// Errors: kUnavailable, kDeadlineExceeded; kNotFound, kPermissionDenied, kUnauthenticated by the server's status;
/// kFailedPrecondition, the server does not do ranges.
Result<std::unique_ptr<ByteSource>> open_http_source(const std::string& url);

}  // namespace commissure
