#pragma once

#include <cstdint>

#include "core/result.h"
#include "weights/byte_source.h"

namespace commissure {

/// Whether [offset, offset + n_bytes) lies inside the source.
/// Errors: kOutOfRange, with all numbers.
inline Status check_range(const ByteSource& source, std::uint64_t offset, std::uint64_t n_bytes) {
  const std::uint64_t size = source.size();
  if (offset <= size && n_bytes <= size - offset) return {};
  return Error(Code::kOutOfRange, source.name(), ": ", n_bytes, " bytes at ", offset, " are past its end (", size,
               " bytes)");
}

}  // namespace commissure
