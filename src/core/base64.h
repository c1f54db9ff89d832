#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "core/result.h"

namespace commissure {

/// The bytes of a text in base64 (RFC 4648, section 4) with all of its padding and nothing else, no line breaks either.
/// Errors: kInvalidArgument, what is wrong and at which character.
Result<std::string> decode_base64(std::string_view text);

/// The text of bytes, with padding.
std::string encode_base64(std::span<const std::byte> bytes);

}  // namespace commissure
