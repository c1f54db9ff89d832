#pragma once

#include <cstdint>
#include <string>

#include "core/result.h"
#include "weights/byte_source.h"

namespace commissure {

/// A small file, http(s) or Cloud Storage object as text.
/// Errors: kNotFound; kInvalidArgument, larger than `max_bytes`; as open_byte_source.
Result<std::string> read_whole(const std::string& location, std::uint64_t max_bytes);
/// The same of a source that is open.
Result<std::string> read_whole(ByteSource& source, std::uint64_t max_bytes);

}  // namespace commissure
