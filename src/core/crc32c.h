#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace commissure {

/// CRC-32C (Castagnoli) of `bytes`; `before` is the sum of what came before them. Finds accidents, not attacks.
/// Source: RFC 3720, appendix B.4.
std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t before = 0);

/// The same without the processor's own instruction: the slow twin.
std::uint32_t crc32c_by_table(std::span<const std::byte> bytes, std::uint32_t before = 0);

}  // namespace commissure
