#pragma once

#include <memory>
#include <string>

#include "core/result.h"
#include "weights/byte_source.h"
#include "weights/cloud_access.h"

namespace commissure {

/// gs://BUCKET/OBJECT, read in parallel parts. The generation found at the opening is the one that is read: an object
/// that is replaced meanwhile is an error, never a mixture. A read of the whole object is checked against its CRC-32C.
/// Errors: kInvalidArgument, no such location, or empty; kNotFound, kPermissionDenied, kUnauthenticated with the cure;
/// kUnavailable; kDataLoss.
Result<std::unique_ptr<ByteSource>> open_cloud_source(const std::string& location,
                                                      CloudOptions options = CloudOptions::from_environment());

}  // namespace commissure
