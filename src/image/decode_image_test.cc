#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>

#include "image/exif.h"
#include "image/image.h"
#include "image/image_type.h"
#include "support/golden_files.h"

namespace commissure {
namespace {

const std::string kFolder = std::string(COMMISSURE_SOURCE_DIR) + "/tests/golden/image/";

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
    if (entry.path().extension() != ".json") all.push_back(entry.path().filename());
  }
  std::ranges::sort(all);
  return all;
}

std::span<const std::byte> bytes_of(std::string_view file) { return std::as_bytes(std::span(file)); }

std::string refusal_of(std::string_view file, const ImageLimits& limits = {}) {
  const auto image = decode_image(bytes_of(file), limits);
  if (image) return "";
  EXPECT_EQ(image.error().code(), Code::kInvalidArgument);
  return image.error().message();
}

/// `file` with `text` in place of what stands at `at`.
std::string with(std::string file, std::size_t at, std::string_view text) {
  return file.replace(at, text.size(), text);
}

TEST(DecodeImage, ToldByContentAlone) {
  const auto type_of = [](const char* name) { return image_type(bytes_of(testing::read_file(kFolder + name))); };
  EXPECT_EQ(type_of("jpeg_0.jpg"), "image/jpeg");
  EXPECT_EQ(type_of("png_rgb.png"), "image/png");
  EXPECT_EQ(type_of("webp_lossy.webp"), "image/webp");
  EXPECT_EQ(type_of("gif.gif"), "image/gif");
  EXPECT_EQ(type_of("bmp_24.bmp"), "image/bmp");
  EXPECT_EQ(type_of("cases.json"), "");
  EXPECT_EQ(image_type(bytes_of("BM")), "");
  EXPECT_NE(refusal_of("<svg></svg>").find("no JPEG, PNG, WebP, GIF or BMP"), std::string::npos);
  EXPECT_NE(refusal_of("").find("empty"), std::string::npos);
}

TEST(DecodeImage, FilesThatEndEarlyAreRefused) {
  for (const std::string& name : names()) {
    const std::string file = testing::read_file(kFolder + name);
    // What comes behind the first frame is not read.
    const std::size_t n_needed = name == "gif_animated.gif" ? file.size() / 2 : file.size() / 4 * 3;
    for (std::size_t n = 0; n < n_needed; ++n) {
      EXPECT_NE(refusal_of(file.substr(0, n)), "") << name << " cut to " << n << " bytes";
    }
  }
}

TEST(DecodeImage, DamagedFilesAreReadOrRefused) {
  for (const std::string& name : names()) {
    const std::string file = testing::read_file(kFolder + name);
    for (std::size_t at = 0; at < file.size(); at += 3) {
      for (const char byte : {'\xFF', static_cast<char>(file[at] ^ 1)}) {
        std::string damaged = file;
        damaged[at] = byte;
        const auto image = decode_image(bytes_of(damaged), {.max_pixels = 100'000});
        if (image) {
          EXPECT_EQ(image->rgb.size(), 3u * image->width * image->height);
        }
      }
    }
  }
}

TEST(DecodeImage, LimitsComeBeforePixels) {
  const std::string file = testing::read_file(kFolder + "png_rgb.png");  // 7 x 5
  EXPECT_NE(refusal_of(file, {.max_pixels = 34}).find("7 x 5 pixels, but may have at most 34"), std::string::npos);
  EXPECT_EQ(refusal_of(file, {.max_pixels = 35}), "");
  EXPECT_NE(refusal_of(file, {.max_bytes = file.size() - 1}).find("bytes, but may have at most"), std::string::npos);
  EXPECT_NE(refusal_of(testing::read_file(kFolder + "png_bits.png"), {.max_ratio = 3}).find("at most 3 times as long"),
            std::string::npos);
  // Sizes that a header alone claims: nothing of them is allocated.
  const std::string gif = testing::read_file(kFolder + "gif.gif");
  EXPECT_NE(refusal_of(with(gif, 6, "\xFF\xFF\xFF\xFF")).find("65535 x 65535"), std::string::npos);
  const std::string png = testing::read_file(kFolder + "png_turned.png");
  EXPECT_NE(refusal_of(with(png, png.find("eXIf") - 4, "\x10")).find("ends early"), std::string::npos);
  const std::string bmp = testing::read_file(kFolder + "bmp_24.bmp");
  EXPECT_NE(refusal_of(with(bmp, 18, "\xFF\xFF\xFF\x7F\xFF\xFF\xFF\x7F")).find("at most 40000000"), std::string::npos);
  EXPECT_NE(refusal_of(with(bmp, 18, std::string(8, '\0'))).find("empty"), std::string::npos);
  EXPECT_NE(refusal_of(with(bmp, 22, std::string("\0\0\0\x80", 4))).find("at most 40000000"), std::string::npos);
}

/// As a chunk of a PNG file ends. Source: PNG (third edition), annex D.
std::uint32_t checksum(std::string_view bytes) {
  std::uint32_t sum = ~0u;
  for (const char byte : bytes) {
    sum ^= static_cast<unsigned char>(byte);
    for (int i = 0; i < 8; ++i) sum = (sum >> 1) ^ ((sum & 1) != 0 ? 0xEDB88320u : 0);
  }
  return ~sum;
}

std::string big_endian(std::uint32_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift & 255);
  return bytes;
}

TEST(DecodeImage, LongTextsOfPngFilesArePassedOver) {
  const std::string png = testing::read_file(kFolder + "png_rgb.png");
  for (const char* name : {"iTXt", "tEXt", "zTXt", "iCCP", "abCd"}) {
    const std::string body = std::string(name) + "Comment" + std::string(5, '\0') + std::string(1'200'000, 'a');
    const auto n_bytes = static_cast<std::uint32_t>(body.size() - 4);
    const std::string chunk = big_endian(n_bytes) + body + big_endian(checksum(body));
    std::string before = png, behind = png;
    EXPECT_EQ(refusal_of(before.insert(33, chunk)), "") << name;  // behind the header
    EXPECT_EQ(refusal_of(behind.insert(png.size() - 12, chunk)), "") << name;
  }
}

TEST(DecodeImage, BmpFilesOfOtherKindsAreNamed) {
  const std::string bmp = testing::read_file(kFolder + "bmp_24.bmp");
  EXPECT_NE(refusal_of(with(bmp, 28, "\x08")).find("8 bits a pixel"), std::string::npos);
  EXPECT_NE(refusal_of(with(bmp, 30, "\x01")).find("compressed"), std::string::npos);
  EXPECT_NE(refusal_of(with(bmp, 14, "\x10")).find("header"), std::string::npos);
}

TEST(Exif, AnOrientationIsReadInBothByteOrders) {
  using namespace std::literals;
  constexpr auto kLittle = "II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"sv;
  constexpr auto kBig = "MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x08\0\0"sv;
  EXPECT_EQ(exif_orientation(bytes_of(kLittle)), 6);
  EXPECT_EQ(exif_orientation(bytes_of(kBig)), 8);
  EXPECT_EQ(exif_orientation(bytes_of("Exif\0\0"s.append(kBig))), 8);
  for (std::size_t n = 0; n < kBig.size() - 2; ++n) EXPECT_EQ(exif_orientation(bytes_of(kBig.substr(0, n))), 1);
  EXPECT_EQ(exif_orientation(bytes_of(with(std::string(kLittle), 18, "\x09"))), 1);
  EXPECT_EQ(exif_orientation(bytes_of(with(std::string(kLittle), 4, "\xFF\xFF\xFF\xFF"))), 1);
}

}  // namespace
}  // namespace commissure
