#include "commands/image_part.h"

#include <gtest/gtest.h>

#include <fstream>

#include "core/base64.h"
#include "support/golden_files.h"
#include "support/temp_folder.h"

namespace commissure {
namespace {

const std::string kFolder = std::string(COMMISSURE_SOURCE_DIR) + "/tests/golden/image/";

TEST(ImagePart, IsADataUrlOfTheFilesKind) {
  const std::string bytes = testing::read_file(kFolder + "webp_lossy.webp");
  const auto part = image_part(kFolder + "webp_lossy.webp");
  ASSERT_TRUE(part.has_value());
  EXPECT_EQ((*part)["type"], "image_url");
  EXPECT_EQ((*part)["image_url"]["url"], "data:image/webp;base64," + encode_base64(std::as_bytes(std::span(bytes))));
}

TEST(ImagePart, WhatIsNoImageIsToldBeforeItIsSent) {
  EXPECT_NE(image_part(kFolder + "cases.json").error().message().find("is no JPEG, PNG, WebP, GIF or BMP image"),
            std::string::npos);
  EXPECT_NE(image_part(kFolder + "none.png").error().message().find("cannot read the image"), std::string::npos);
  EXPECT_FALSE(image_part(kFolder).has_value()) << "a folder";
}

TEST(UserMessage, ItsImagesComeFirst) {
  EXPECT_EQ(user_message("a", Json::array())["content"], "a");
  const Json message = user_message("a", Json::array({Json{{"type", "image_url"}}}));
  EXPECT_EQ(message["content"].size(), 2u);
  EXPECT_EQ(message["content"][1]["text"], "a");
}

}  // namespace
}  // namespace commissure
