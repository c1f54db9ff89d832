#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace commissure {

/// The kind of an image file by its first bytes, as a MIME type: "image/png"; "" for one that decode_image cannot read.
std::string_view image_type(std::span<const std::byte> file);

}  // namespace commissure
