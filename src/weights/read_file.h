#pragma once

#include <cstdint>
#include <string>

#include "core/result.h"

namespace commissure {

/// A small file, http(s) or Cloud Storage object as text.
/// Errors: kNotFound; kInvalidArgument, larger than `max_bytes`; as open_byte_source.
Result<std::string> read_whole(const std::string& location, std::uint64_t max_bytes);

}  // namespace commissure
