#include "weights/adapter_file.h"

#include <gtest/gtest.h>

#include <string>

#include "core/sha256.h"
#include "support/temp_folder.h"

namespace commissure {
namespace {

using testing::TempFolder;

TEST(AdapterFile, AnIdIsOfTheContentAlone) {
  const TempFolder a, b;
  for (const TempFolder* folder : {&a, &b}) {
    folder->write("adapter_config.json", "{}");
    folder->write("adapter_model.safetensors", "tensors");
    folder->write("README.md", folder->path());
  }
  const auto id = adapter_id(a.path());
  ASSERT_TRUE(id.has_value()) << id.error().message();
  EXPECT_EQ(*adapter_id(b.path() + "/"), *id);
  b.write("adapter_config.json", "{ }");
  EXPECT_NE(*adapter_id(b.path()), *id);
  b.write("adapter_config.json", "{}t");
  b.write("adapter_model.safetensors", "ensors");
  EXPECT_NE(*adapter_id(b.path()), *id) << "where a file ends is part of the content";
}

TEST(AdapterFile, AnIdIsTheFirstBytesOfTheHash) {
  const TempFolder folder;
  const std::string path = folder.write("a.gguf", "abc");
  Sha256 hash;
  hash.update(std::string_view("\3\0\0\0\0\0\0\0abc", 11));
  std::string hex = hash.finish().substr(0, 16), turned;
  for (int i = 14; i >= 0; i -= 2) turned += hex.substr(i, 2);
  EXPECT_EQ(fmt::format("{:016x}", adapter_id(path)->value), turned);
}

TEST(AdapterFile, WhatIsMissingIsNamed) {
  const TempFolder folder;
  folder.write("adapter_config.json", "{}");
  const auto id = adapter_id(folder.path());
  ASSERT_FALSE(id.has_value());
  EXPECT_EQ(id.error().code(), Code::kNotFound);
  EXPECT_NE(id.error().message().find("adapter_model.safetensors"), std::string::npos);
}

}  // namespace
}  // namespace commissure
