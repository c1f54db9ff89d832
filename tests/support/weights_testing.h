#pragma once

#include <cstddef>
#include <string>

#include "core/result.h"
#include "weights/byte_source.h"

/// What the tests of sources share.
namespace commissure::testing {

/// `n` bytes that show where they come from.
inline std::string pattern(std::size_t n) {
  std::string bytes(n, '\0');
  for (std::size_t i = 0; i < n; ++i) bytes[i] = static_cast<char>(i * 31 + i / 251);
  return bytes;
}

/// What was read, or the error.
inline std::string text_of(const Result<ByteRange>& range) {
  if (!range) return range.error().to_string();
  return std::string(reinterpret_cast<const char*>(range->bytes.data()), range->bytes.size());
}

}  // namespace commissure::testing
