#include <gtest/gtest.h>

#include <cstdlib>

#include "core/json.h"
#include "image/image.h"
#include "support/golden_files.h"

namespace commissure {
namespace {

const std::string kFolder = std::string(COMMISSURE_SOURCE_DIR) + "/tests/golden/image/";

Json cases_with(const char* member) {
  auto all = parse_json(testing::read_file(kFolder + "cases.json"));
  EXPECT_TRUE(all.has_value()) << (all ? "" : all.error().message());
  Json found = Json::array();
  for (Json& one : *all) {
    if (one.contains(member)) found.push_back(std::move(one));
  }
  EXPECT_GT(found.size(), 10u);
  return found;
}

Image image_of(const Json& json) {
  Image image{.width = json["width"].get<int>(), .height = json["height"].get<int>(), .rgb = {}};
  const auto hex = json["rgb"].get<std::string>();
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    image.rgb.push_back(static_cast<std::uint8_t>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return image;
}

int largest_difference(const Image& a, const Image& b) {
  if (a.width != b.width || a.height != b.height || a.rgb.size() != b.rgb.size()) return 1000;
  int largest = 0;
  for (std::size_t i = 0; i < a.rgb.size(); ++i) largest = std::max(largest, std::abs(int{a.rgb[i]} - int{b.rgb[i]}));
  return largest;
}

TEST(ImageGolden, FilesAreReadAsPillowReadsThem) {
  for (const Json& one : cases_with("file")) {
    const auto name = one["file"].get<std::string>();
    const std::string file = testing::read_file(kFolder + name);
    const auto image = decode_image(std::as_bytes(std::span(file)), {});
    ASSERT_TRUE(image.has_value()) << name << ": " << image.error().message();
    EXPECT_LE(largest_difference(*image, image_of(one)), one["tolerance"].get<int>()) << name;
  }
}

TEST(ImageGolden, ResizingGivesEveryByteOfPillows) {
  for (const Json& one : cases_with("filter")) {
    const bool is_cubic = one["filter"] == "bicubic";
    const Image wanted = image_of(one["to"]);
    const Image image = resize(image_of(one["from"]), wanted.width, wanted.height,
                               is_cubic ? ResizeFilter::kBicubic : ResizeFilter::kBilinear);
    EXPECT_EQ(image.rgb, wanted.rgb) << one["filter"] << " to " << wanted.width << " x " << wanted.height;
    const Image other = resize(image_of(one["from"]), wanted.width, wanted.height,
                               is_cubic ? ResizeFilter::kBilinear : ResizeFilter::kBicubic);
    if (one["from"]["width"] != 1) {
      EXPECT_NE(other.rgb, wanted.rgb);
    }
  }
}

}  // namespace
}  // namespace commissure
