#include <array>
#include <cstring>
#include <string>
#include <utility>

#include "core/index.h"
#include "image/formats.h"
#include "image/image_type.h"

namespace commissure {

namespace {

struct Kind {
  std::string_view type;
  std::string_view first;     // bytes
  std::string_view at_eight;  // bytes from the ninth on
  Result<DecodedImage> (*decode)(std::span<const std::byte>, const ImageLimits&);
};

constexpr std::array<Kind, 6> kKinds = {{{"image/jpeg", "\xFF\xD8\xFF", "", decode_jpeg},
                                         {"image/png", "\x89PNG\r\n\x1A\n", "", decode_png},
                                         {"image/webp", "RIFF", "WEBP", decode_webp},
                                         {"image/gif", "GIF87a", "", decode_gif},
                                         {"image/gif", "GIF89a", "", decode_gif},
                                         {"image/bmp", "BM", "", decode_bmp}}};

const Kind* kind_of(std::span<const std::byte> file) {
  const std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  for (const Kind& kind : kKinds) {
    const bool is_long = text.size() >= 8 + kind.at_eight.size();
    if (is_long && text.starts_with(kind.first) && text.substr(8).starts_with(kind.at_eight)) return &kind;
  }
  return nullptr;
}

/// Where the pixel that comes to (x, y) stands in the file.
struct Place {
  int x, y;
};

/// What PIL's ImageOps.exif_transpose does; `width` and `height` are the file's.
Place source_of(int orientation, int x, int y, int width, int height) {
  switch (orientation) {
    case 2: return {width - 1 - x, y};
    case 3: return {width - 1 - x, height - 1 - y};
    case 4: return {x, height - 1 - y};
    case 5: return {y, x};
    case 6: return {y, height - 1 - x};
    case 7: return {width - 1 - y, height - 1 - x};
    case 8: return {width - 1 - y, x};
    default: return {x, y};
  }
}

Result<Image> upright(DecodedImage decoded) {
  const Image& from = decoded.image;
  if (decoded.orientation == 1) return std::move(decoded.image);
  const bool is_turned = decoded.orientation >= 5;
  Image image = TRY(empty_image(is_turned ? from.height : from.width, is_turned ? from.width : from.height));
  std::uint8_t* out = image.rgb.data();
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x, out += 3) {
      const Place place = source_of(decoded.orientation, x, y, from.width, from.height);
      std::memcpy(out, &from.rgb[(to_size(place.y) * to_size(from.width) + to_size(place.x)) * 3], 3);
    }
  }
  return image;
}

}  // namespace

std::string_view image_type(std::span<const std::byte> file) {
  const Kind* kind = kind_of(file);
  return kind != nullptr ? kind->type : "";
}

Result<Image> decode_image(std::span<const std::byte> file, const ImageLimits& limits) {
  if (file.empty()) return Error(Code::kInvalidArgument, "the image file is empty");
  if (file.size() > limits.max_bytes) {
    return Error(Code::kInvalidArgument, "the image file has ", file.size(), " bytes, but may have at most ",
                 limits.max_bytes, "; make it smaller");
  }
  const Kind* kind = kind_of(file);
  if (kind == nullptr) {
    return Error(Code::kInvalidArgument,
                 "the file is no JPEG, PNG, WebP, GIF or BMP image; convert it to one of these");
  }
  return upright(TRY(kind->decode(file, limits)));
}

}  // namespace commissure
