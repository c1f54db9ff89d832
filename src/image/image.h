#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/result.h"

namespace commissure {

/// A picture in memory: 8-bit RGB, rows from the top, [height, width, 3].
struct Image {
  int width = 0;
  int height = 0;
  std::vector<std::uint8_t> rgb;
};

/// What an image file may hold; looked at before its pixels are decoded.
struct ImageLimits {
  std::size_t max_bytes = std::size_t{20} << 20;  ///< of the file
  std::int64_t max_pixels = 40'000'000;
  int max_ratio = 200;  ///< of the longer side to the shorter one
};

/// Reads a JPEG, PNG, WebP, GIF (its first frame) or BMP file, told by its content; turned as its EXIF orientation
/// says, without transparency (the colours under it stay, as PIL's convert("RGB") leaves them).
/// Errors: kInvalidArgument, naming what is wrong: of no such kind, damaged, or beyond a limit (both numbers).
Result<Image> decode_image(std::span<const std::byte> file, const ImageLimits& limits);

enum class ResizeFilter { kBilinear, kBicubic };

/// The image in another size, antialiased: every byte as PIL's Image.resize with the same filter.
///   width, height  at least 1
Image resize(const Image& image, int width, int height, ResizeFilter filter);

}  // namespace commissure
