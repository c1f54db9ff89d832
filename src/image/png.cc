#include <array>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <vector>

#include <png.h>

#include "core/index.h"
#include "image/exif.h"
#include "image/formats.h"

namespace commissure {

namespace {

constexpr png_alloc_size_t kMostChunkBytes = 1 << 20;  // of a chunk that is no pixels, unpacked
constexpr png_uint_32 kMostSide = 1 << 20;             // how many pixels there may be is checked apart

/// Whether every chunk up to the last one is there: libpng allocates what a chunk's length says before it looks.
/// Source: PNG (third edition), section 5.3.
bool has_whole_chunks(std::span<const std::byte> file) {
  constexpr std::size_t kSignature = 8, kFrame = 12;  // of a chunk: its length, name and checksum
  std::size_t at = kSignature;
  while (file.size() >= at + kFrame) {
    std::size_t length = 0;
    for (std::size_t i = 0; i < 4; ++i) length = length << 8 | std::to_integer<std::size_t>(file[at + i]);
    if (length > file.size() - at - kFrame) return false;
    if (std::memcmp(&file[at + 4], "IEND", 4) == 0) return true;
    at += kFrame + length;
  }
  return false;
}

/// libpng's reader. The library jumps out of its calls on an error; every call stands in a function that `held` runs,
/// and such a function has nothing to destroy.
class PngReader {
 public:
  explicit PngReader(std::span<const std::byte> file) : rest_(file) {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, &PngReader::failed, [](png_structp, png_const_charp) {});
    if (png_ != nullptr) info_ = png_create_info_struct(png_);
  }
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  Status read_header() {
    if (info_ == nullptr) return Error(Code::kResourceExhausted, "no memory for a PNG image");
    const bool is_read = held([this] {
      png_set_read_fn(png_, this, &PngReader::give);
      png_set_user_limits(png_, kMostSide, kMostSide);
      png_set_chunk_malloc_max(png_, kMostChunkBytes);
      // Nobody reads what they hold, and it may be packed a thousand times.
      static constexpr std::array<png_byte, 25> kIgnored = {'i', 'C', 'C', 'P', 0,   'i', 'T', 'X', 't',
                                                            0,   't', 'E', 'X', 't', 0,   'z', 'T', 'X',
                                                            't', 0,   's', 'P', 'L', 'T', 0};
      png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, kIgnored.data(), kIgnored.size() / 5);
      png_read_info(png_, info_);
    });
    if (!is_read) return error();
    return {};
  }
  std::int64_t width() const { return png_get_image_width(png_, info_); }
  std::int64_t height() const { return png_get_image_height(png_, info_); }

  /// Three bytes a pixel into `rows`.
  Status read_rows(png_bytep* rows) {
    const bool is_read = held([&] {
      const png_byte type = png_get_color_type(png_, info_);
      if (type == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png_);
      if (type == PNG_COLOR_TYPE_GRAY) png_set_expand_gray_1_2_4_to_8(png_);
      if ((type & PNG_COLOR_MASK_COLOR) == 0) png_set_gray_to_rgb(png_);
      png_set_strip_16(png_);
      png_set_strip_alpha(png_);
      png_set_interlace_handling(png_);
      png_read_update_info(png_, info_);
      if (png_get_rowbytes(png_, info_) != static_cast<std::size_t>(width()) * 3)
        png_error(png_, "rows of another form");
      png_read_image(png_, rows);
      png_read_end(png_, info_);
    });
    if (!is_read) return error();
    return {};
  }

  /// After read_rows: its chunk may stand behind the pixels.
  int orientation() {
    png_uint_32 n_bytes = 0;
    png_bytep bytes = nullptr;
    if (png_get_eXIf_1(png_, info_, &n_bytes, &bytes) == 0) return 1;
    return exif_orientation(std::as_bytes(std::span(bytes, n_bytes)));
  }

 private:
  template <typename Step>
  bool held(const Step& step) {
    if (setjmp(jump_) != 0) return false;
    step();
    return true;
  }

  [[noreturn]] static void failed(png_structp png, png_const_charp why) {
    auto* self = static_cast<PngReader*>(png_get_error_ptr(png));
    std::snprintf(self->text_.data(), self->text_.size(), "%s", why);
    std::longjmp(self->jump_, 1);
  }
  static void give(png_structp png, png_bytep to, std::size_t n_bytes) {
    auto* self = static_cast<PngReader*>(png_get_io_ptr(png));
    if (n_bytes > self->rest_.size()) {
      self->ends_early_ = true;
      png_error(png, "ends early");
    }
    std::memcpy(to, self->rest_.data(), n_bytes);
    self->rest_ = self->rest_.subspan(n_bytes);
  }

  Error error() const { return damaged("PNG", ends_early_ ? kEndsEarly : std::string_view(text_.data())); }

  std::span<const std::byte> rest_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  std::jmp_buf jump_ = {};
  std::array<char, 128> text_ = {};
  bool ends_early_ = false;
};

}  // namespace

Result<DecodedImage> decode_png(std::span<const std::byte> file, const ImageLimits& limits) {
  if (!has_whole_chunks(file)) return damaged("PNG", kEndsEarly);
  PngReader reader(file);
  TRY(reader.read_header());
  TRY(check_size(reader.width(), reader.height(), limits));
  DecodedImage result{.image = TRY(empty_image(static_cast<int>(reader.width()), static_cast<int>(reader.height())))};
  std::vector<png_bytep> rows;
  for (int y = 0; y < result.image.height; ++y) {
    rows.push_back(result.image.rgb.data() + n_elements(y, result.image.width, 3));
  }
  TRY(reader.read_rows(rows.data()));
  result.orientation = reader.orientation();
  return result;
}

}  // namespace commissure
