#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "core/result.h"
#include "image/image.h"

// One reader for each kind of file, each around a library that is seen in its source alone. They take files whose first
// bytes say the kind and whose length is within the limits.
namespace commissure {

/// An image as its file has it, and how a camera was held: EXIF's orientation, 1 to 8; 1: as it is.
struct DecodedImage {
  Image image;
  int orientation = 1;
};

/// Errors of all: kInvalidArgument, the file is damaged, of a kind within the format that is not read, or its pixels
/// are beyond the limits; kResourceExhausted, no memory.
Result<DecodedImage> decode_bmp(std::span<const std::byte> file, const ImageLimits& limits);
Result<DecodedImage> decode_gif(std::span<const std::byte> file, const ImageLimits& limits);
Result<DecodedImage> decode_jpeg(std::span<const std::byte> file, const ImageLimits& limits);
Result<DecodedImage> decode_png(std::span<const std::byte> file, const ImageLimits& limits);
Result<DecodedImage> decode_webp(std::span<const std::byte> file, const ImageLimits& limits);

/// Errors: kInvalidArgument, an image of this size is empty or beyond the limits (both numbers).
Status check_size(std::int64_t width, std::int64_t height, const ImageLimits& limits);

/// A black image of a size that was checked. Errors: kResourceExhausted, no memory.
Result<Image> empty_image(int width, int height);

/// "the JPEG file is damaged: <why>"
Error damaged(std::string_view kind, std::string_view why);

inline constexpr std::string_view kEndsEarly = "it ends early; send it again, whole";

}  // namespace commissure
