#include <cstdlib>

#include "core/index.h"
#include "image/formats.h"

namespace commissure {

namespace {

constexpr std::size_t kFileHeader = 14;
constexpr std::uint32_t kUncompressed = 0, kMasks = 3;  // biCompression: BI_RGB, BI_BITFIELDS

std::uint32_t number(std::span<const std::byte> file, std::size_t at, std::size_t n_bytes) {
  std::uint32_t value = 0;
  for (std::size_t i = n_bytes; i > 0; --i) value = value << 8 | std::to_integer<std::uint32_t>(file[at + i - 1]);
  return value;
}

struct Layout {
  std::int64_t width = 0, height = 0;  // height below 0: rows from the top
  std::uint32_t bits = 0, pixels_at = 0;
  std::size_t red = 2, green = 1, blue = 0;  // bytes of a pixel
};

/// The byte of a pixel that a mask is.
Result<std::size_t> byte_of(std::uint32_t mask) {
  for (std::size_t i = 0; i < 4; ++i) {
    if (mask == std::uint32_t{0xFF} << (8 * i)) return i;
  }
  return Error(Code::kInvalidArgument,
               "the BMP file packs its colours by masks other than whole bytes; save it as PNG");
}

/// Source: BITMAPFILEHEADER, BITMAPCOREHEADER, BITMAPINFOHEADER and BITMAPV4HEADER of the Windows GDI.
Result<Layout> read_layout(std::span<const std::byte> file) {
  if (file.size() < kFileHeader + 12) return damaged("BMP", kEndsEarly);
  const std::uint32_t header = number(file, kFileHeader, 4);
  Layout layout{.pixels_at = number(file, 10, 4)};
  if (header == 12) {
    layout.width = number(file, 18, 2);
    layout.height = number(file, 20, 2);
    layout.bits = number(file, 24, 2);
  } else if (header >= 40 && header <= 124) {
    if (file.size() < kFileHeader + 40) return damaged("BMP", kEndsEarly);
    layout.width = static_cast<std::int32_t>(number(file, 18, 4));
    layout.height = static_cast<std::int32_t>(number(file, 22, 4));
    layout.bits = number(file, 28, 2);
    const std::uint32_t compression = number(file, 30, 4);
    const bool has_masks = compression == kMasks && layout.bits == 32;
    if (compression != kUncompressed && !has_masks) {
      return Error(Code::kInvalidArgument, "the BMP file is compressed; save it as PNG");
    }
    if (has_masks) {
      if (file.size() < kFileHeader + 52) return damaged("BMP", kEndsEarly);
      layout.red = TRY(byte_of(number(file, 54, 4)));
      layout.green = TRY(byte_of(number(file, 58, 4)));
      layout.blue = TRY(byte_of(number(file, 62, 4)));
    }
  } else {
    return damaged("BMP", "its header is of no known length");
  }
  if (layout.bits != 24 && layout.bits != 32) {
    return Error(Code::kInvalidArgument, "the BMP file has ", layout.bits,
                 " bits a pixel; 24 and 32 are read: save it as PNG");
  }
  return layout;
}

}  // namespace

Result<DecodedImage> decode_bmp(std::span<const std::byte> file, const ImageLimits& limits) {
  const Layout layout = TRY(read_layout(file));
  const std::int64_t height = std::abs(layout.height);
  TRY(check_size(layout.width, height, limits));
  const std::size_t pixel = layout.bits / 8;
  const std::size_t row_bytes = (to_size(layout.width) * pixel + 3) / 4 * 4;  // rows end at multiples of 4
  const std::size_t needed = row_bytes * to_size(height - 1) + to_size(layout.width) * pixel;
  if (layout.pixels_at > file.size() || needed > file.size() - layout.pixels_at) return damaged("BMP", kEndsEarly);
  Image image = TRY(empty_image(static_cast<int>(layout.width), static_cast<int>(height)));
  std::uint8_t* out = image.rgb.data();
  for (std::int64_t y = 0; y < height; ++y) {
    const std::int64_t row = layout.height < 0 ? y : height - 1 - y;
    const std::byte* in = file.data() + layout.pixels_at + to_size(row) * row_bytes;
    for (std::int64_t x = 0; x < layout.width; ++x, in += pixel) {
      for (const std::size_t colour : {layout.red, layout.green, layout.blue}) {
        *out++ = std::to_integer<std::uint8_t>(in[colour]);
      }
    }
  }
  return DecodedImage{std::move(image)};
}

}  // namespace commissure
