#include <gif_lib.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>

#include "core/index.h"
#include "image/formats.h"

namespace commissure {

namespace {

struct Close {
  void operator()(GifFileType* gif) const { DGifCloseFile(gif, nullptr); }
};
using Gif = std::unique_ptr<GifFileType, Close>;

int give(GifFileType* gif, GifByteType* to, int n_bytes) {
  auto& rest = *static_cast<std::span<const std::byte>*>(gif->UserData);
  const std::size_t n = std::min(rest.size(), to_size(n_bytes));
  std::memcpy(to, rest.data(), n);
  rest = rest.subspan(n);
  return static_cast<int>(n);
}

Error error_of(const GifFileType& gif, std::span<const std::byte> rest) {
  if (rest.empty()) return damaged("GIF", kEndsEarly);
  const char* why = GifErrorString(gif.Error);
  return damaged("GIF", why != nullptr ? why : "its blocks make no sense");
}

/// The palette's entry that stands for no colour, where the extension block names one.
std::optional<int> transparent_of(int function, const GifByteType* block) {
  if (function != GRAPHICS_EXT_FUNC_CODE || block == nullptr || block[0] < 4 || (block[1] & 1) == 0)
    return std::nullopt;
  return block[4];
}

/// Reads up to the first frame's pixels; the entry that is transparent in it goes to `transparent`.
Status find_frame(GifFileType& gif, std::span<const std::byte>& rest, std::optional<int>& transparent) {
  for (;;) {
    GifRecordType type = UNDEFINED_RECORD_TYPE;
    if (DGifGetRecordType(&gif, &type) == GIF_ERROR) return error_of(gif, rest);
    if (type == TERMINATE_RECORD_TYPE) return damaged("GIF", "it has no frame");
    if (type == IMAGE_DESC_RECORD_TYPE) {
      if (DGifGetImageDesc(&gif) == GIF_ERROR) return error_of(gif, rest);
      return {};
    }
    int function = 0;
    GifByteType* block = nullptr;
    if (DGifGetExtension(&gif, &function, &block) == GIF_ERROR) return error_of(gif, rest);
    if (const auto entry = transparent_of(function, block)) transparent = entry;
    while (block != nullptr) {
      if (DGifGetExtensionNext(&gif, &block) == GIF_ERROR) return error_of(gif, rest);
    }
  }
}

/// Colours of palette entries; black beyond the palette's end, greys where there is none.
class Palette {
 public:
  explicit Palette(const ColorMapObject* map) : map_(map) {}

  void put(int entry, std::uint8_t* out) const {
    GifColorType colour = {};
    if (map_ == nullptr) {
      colour.Red = colour.Green = colour.Blue = static_cast<GifByteType>(entry);
    } else if (entry < map_->ColorCount) {
      colour = map_->Colors[entry];
    }
    out[0] = colour.Red;
    out[1] = colour.Green;
    out[2] = colour.Blue;
  }

 private:
  const ColorMapObject* map_;
};

/// The order in which rows of an interlaced frame stand in the file.
std::vector<int> row_order(int height, bool is_interlaced) {
  std::vector<int> order;
  if (!is_interlaced) {
    for (int y = 0; y < height; ++y) order.push_back(y);
    return order;
  }
  for (const auto& [first, step] : {std::pair(0, 8), {4, 8}, {2, 4}, {1, 2}}) {
    for (int y = first; y < height; y += step) order.push_back(y);
  }
  return order;
}

}  // namespace

Result<DecodedImage> decode_gif(std::span<const std::byte> file, const ImageLimits& limits) {
  std::span<const std::byte> rest = file;
  int problem = 0;
  const Gif gif(DGifOpen(&rest, &give, &problem));
  if (gif == nullptr) {
    const char* why = GifErrorString(problem);
    return damaged("GIF", rest.empty() ? kEndsEarly : why != nullptr ? why : "its header makes no sense");
  }
  std::optional<int> transparent;
  TRY(find_frame(*gif, rest, transparent));
  const GifImageDesc& frame = gif->Image;
  if (frame.Left < 0 || frame.Top < 0 || frame.Width < 1 || frame.Height < 1)
    return damaged("GIF", "its frame is empty");
  const int width = std::max(gif->SWidth, frame.Left + frame.Width);
  const int height = std::max(gif->SHeight, frame.Top + frame.Height);
  TRY(check_size(width, height, limits));
  DecodedImage result{.image = TRY(empty_image(width, height))};
  std::uint8_t* pixels = result.image.rgb.data();

  const Palette palette(frame.ColorMap != nullptr ? frame.ColorMap : gif->SColorMap);
  const bool is_covered = frame.Width == width && frame.Height == height;
  for (std::size_t i = 0; !is_covered && i < n_elements(width, height); ++i) {
    palette.put(transparent.value_or(0), pixels + i * 3);
  }
  std::vector<GifPixelType> line(to_size(frame.Width));
  for (const int y : row_order(frame.Height, frame.Interlace)) {
    if (DGifGetLine(gif.get(), line.data(), frame.Width) == GIF_ERROR) return error_of(*gif, rest);
    std::uint8_t* out = pixels + (n_elements(frame.Top + y, width) + to_size(frame.Left)) * 3;
    for (const GifPixelType entry : line) {
      palette.put(entry, out);
      out += 3;
    }
  }
  return result;
}

}  // namespace commissure
