#include <array>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <string>

#include <jpeglib.h>

#include <jerror.h>

#include "core/index.h"
#include "image/exif.h"
#include "image/formats.h"

namespace commissure {

namespace {

constexpr int kMostScans = 200;  // of a progressive file; each costs a walk over all of it. Real ones have about 10
constexpr int kExif = JPEG_APP0 + 1;

/// libjpeg-turbo's decoder. The library jumps out of its calls on an error; every call stands in a function that
/// `held` runs, and such a function has nothing to destroy.
class JpegDecoder {
 public:
  explicit JpegDecoder(std::span<const std::byte> file) {
    info_.err = jpeg_std_error(&errors_.base);
    errors_.base.error_exit = [](j_common_ptr info) {
      auto* errors = reinterpret_cast<Errors*>(info->err);
      if (errors->text[0] == '\0') info->err->format_message(info, errors->text.data());
      std::longjmp(errors->jump, 1);
    };
    errors_.base.emit_message = [](j_common_ptr info, int level) {
      if (level < 0 && info->err->msg_code == JWRN_JPEG_EOF) reinterpret_cast<Errors*>(info->err)->ends_early = true;
    };
    errors_.base.output_message = [](j_common_ptr) {};
    progress_.progress_monitor = [](j_common_ptr info) {
      auto* errors = reinterpret_cast<Errors*>(info->err);
      if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number <= kMostScans && !errors->ends_early) return;
      if (!errors->ends_early) std::snprintf(errors->text.data(), errors->text.size(), "it has too many scans");
      std::longjmp(errors->jump, 1);
    };
    is_open_ = held([&] {
      jpeg_create_decompress(&info_);
      info_.progress = &progress_;
      jpeg_save_markers(&info_, kExif, 0xFFFF);
      jpeg_mem_src(&info_, reinterpret_cast<const unsigned char*>(file.data()), file.size());
    });
  }
  ~JpegDecoder() { jpeg_destroy_decompress(&info_); }
  JpegDecoder(const JpegDecoder&) = delete;
  JpegDecoder& operator=(const JpegDecoder&) = delete;

  Status read_header() {
    if (!is_open_ || !held([&] { jpeg_read_header(&info_, TRUE); })) return error();
    if (info_.num_components != 1 && info_.num_components != 3 && info_.num_components != 4) {
      return Error(Code::kInvalidArgument, "the JPEG file has ", info_.num_components,
                   " colour components; 1, 3 and 4 are read");
    }
    info_.out_color_space = info_.num_components == 4 ? JCS_CMYK : JCS_RGB;
    return {};
  }
  std::int64_t width() const { return info_.image_width; }
  std::int64_t height() const { return info_.image_height; }
  bool is_cmyk() const { return info_.num_components == 4; }

  int orientation() const {
    for (auto* marker = info_.marker_list; marker != nullptr; marker = marker->next) {
      const auto bytes = std::as_bytes(std::span(marker->data, marker->data_length));
      if (marker->marker == kExif && bytes.size() > 6 && std::memcmp(bytes.data(), "Exif\0", 6) == 0) {
        return exif_orientation(bytes);
      }
    }
    return 1;
  }

  /// Hands every row to `take(row, y)`, which may not throw; `row` has room for one of them.
  template <typename Take>
  Status read_rows(std::uint8_t* row, const Take& take) {
    const bool is_whole = held([&] {
      jpeg_start_decompress(&info_);
      while (info_.output_scanline < info_.output_height) {
        const auto y = static_cast<int>(info_.output_scanline);
        if (jpeg_read_scanlines(&info_, &row, 1) == 1) take(row, y);
      }
    });
    if (!is_whole || errors_.ends_early) return error();
    return {};
  }

 private:
  struct Errors {
    jpeg_error_mgr base = {};  // first: the library hands out its address
    std::jmp_buf jump = {};
    std::array<char, JMSG_LENGTH_MAX> text = {};
    bool ends_early = false;
  };

  template <typename Step>
  bool held(const Step& step) {
    if (setjmp(errors_.jump) != 0) return false;
    step();
    return true;
  }

  Error error() const {
    if (errors_.ends_early) return damaged("JPEG", kEndsEarly);
    if (errors_.base.msg_code == JERR_OUT_OF_MEMORY)
      return Error(Code::kResourceExhausted, "no memory for a JPEG image");
    return damaged("JPEG", errors_.text.data());
  }

  jpeg_decompress_struct info_ = {};
  jpeg_progress_mgr progress_ = {};
  Errors errors_;
  bool is_open_ = false;
};

/// Inks as Adobe writes them, 255 for none, to colours as PIL has them.
void take_cmyk(const std::uint8_t* in, int width, std::uint8_t* out) {
  for (int x = 0; x < width; ++x, in += 4) {
    for (int i = 0; i < 3; ++i) {
      const int ink = 255 - in[i], paper = in[3], product = ink * paper + 128;
      *out++ = static_cast<std::uint8_t>(paper - (((product >> 8) + product) >> 8));
    }
  }
}

}  // namespace

Result<DecodedImage> decode_jpeg(std::span<const std::byte> file, const ImageLimits& limits) {
  JpegDecoder decoder(file);
  TRY(decoder.read_header());
  TRY(check_size(decoder.width(), decoder.height(), limits));
  DecodedImage result{.image = TRY(empty_image(static_cast<int>(decoder.width()), static_cast<int>(decoder.height()))),
                      .orientation = decoder.orientation()};
  const int width = result.image.width;
  std::vector<std::uint8_t> row(n_elements(width, 4));
  std::uint8_t* pixels = result.image.rgb.data();
  const bool is_cmyk = decoder.is_cmyk();
  TRY(decoder.read_rows(row.data(), [&](const std::uint8_t* from, int y) {
    std::uint8_t* to = pixels + n_elements(y, width, 3);
    is_cmyk ? take_cmyk(from, width, to) : static_cast<void>(std::memcpy(to, from, n_elements(width, 3)));
  }));
  return result;
}

}  // namespace commissure
