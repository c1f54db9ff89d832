#include "vision/find_vision.h"

#include <gtest/gtest.h>

#include "support/toy_model.h"
#include "support/vision_model.h"

namespace commissure::testing {
namespace {

class FindVisionTest : public ::testing::Test {
 protected:
  FindVisionTest()
      : vision_(vision_cases(std::string(COMMISSURE_SOURCE_DIR) + "/tests/golden/vision/gemma3.json")[0]) {}

  /// Of the model at `path`, whose d_model is 64.
  static Result<std::optional<FoundVision>> find(const std::string& path, const std::string& mmproj = "",
                                                 int d_text = 64) {
    const auto model = Checkpoint::open(path);
    EXPECT_TRUE(model.has_value()) << (model ? "" : model.error().message());
    return find_vision(**model, mmproj, d_text, ReadMode::kMap);
  }

  VisionCase vision_;
  TempFolder folder_;
};

TEST_F(FindVisionTest, AModelFolderHasItsOwn) {
  write_vision_safetensors(vision_, folder_);
  const auto found = *find(folder_.path());
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->mmproj, nullptr);
  EXPECT_GT(found->weight_bytes, 100'000u);
}

TEST_F(FindVisionTest, AFileBesideAGgufModelIsFound) {
  folder_.write("toy.gguf", vision_text_gguf(vision_));
  EXPECT_FALSE(find(folder_.path())->has_value()) << "text alone";
  folder_.write("toy-mmproj-f16.gguf", vision_mmproj(vision_, DType::kF16));
  for (const std::string& location : {folder_.path(), folder_.path("toy.gguf")}) {
    const auto found = *find(location);
    ASSERT_TRUE(found.has_value()) << location;
    EXPECT_EQ(found->mmproj->location(), folder_.path("toy-mmproj-f16.gguf"));
  }
}

TEST_F(FindVisionTest, WhatIsFoundAndDoesNotFitLeavesTextAlone) {
  folder_.write("toy.gguf", vision_text_gguf(vision_));
  vision_.mmproj["header"]["clip.projector_type"] = "pixtral";
  folder_.write("mmproj.gguf", vision_mmproj(vision_, DType::kF16));
  EXPECT_FALSE(find(folder_.path())->has_value());
  folder_.write("mmproj.gguf", "GGUF, but not quite");
  EXPECT_FALSE(find(folder_.path())->has_value());
}

TEST_F(FindVisionTest, WhatIsNamedAndDoesNotFitIsAnError) {
  const std::string text = folder_.write("toy.gguf", vision_text_gguf(vision_));
  const std::string mmproj = folder_.write("eyes.gguf", vision_mmproj(vision_, DType::kF16));
  EXPECT_TRUE(find(text, mmproj)->has_value());
  for (const auto& [file, d_text, part] : {std::tuple{mmproj, 128, "rows of 64 values"},
                                           {text, 64, "holds no image encoder"},
                                           {folder_.path("none.gguf"), 64, "none.gguf"}}) {
    const auto found = find(text, file, d_text);
    ASSERT_FALSE(found.has_value()) << file;
    EXPECT_NE(found.error().message().find(part), std::string::npos) << found.error().message();
  }
}

TEST_F(FindVisionTest, AnotherFamilyOfTheSameWidthTakesTextAlone) {
  const std::string text = folder_.write("toy.gguf", toy_gguf({.d_model = 64}));
  const std::string mmproj = folder_.write("mmproj.gguf", vision_mmproj(vision_, DType::kF16));
  EXPECT_FALSE(find(folder_.path())->has_value());
  const auto found = find(text, mmproj);
  ASSERT_FALSE(found.has_value());
  EXPECT_EQ(found.error().code(), Code::kUnimplemented);
  EXPECT_NE(found.error().message().find("made for Gemma 3"), std::string::npos) << found.error().message();
}

TEST_F(FindVisionTest, TensorsOfTypesWithoutFloatsAreRefusedByName) {
  const std::string text = folder_.write("toy.gguf", vision_text_gguf(vision_));
  std::string file = vision_mmproj(vision_, DType::kF32);
  // Behind a tensor's name: the number of its sides, each of them, and its type.
  const std::string name = "mm.input_projection.weight";
  const std::size_t type = file.rfind(name) + name.size() + 4 + 2 * 8;
  ASSERT_EQ(file[type], 0) << "F32";
  file[type] = 26;  // I32, of the same size
  const auto found = find(text, folder_.write("eyes.gguf", file));
  ASSERT_FALSE(found.has_value());
  EXPECT_NE(found.error().message().find(name + " is of type I32"), std::string::npos) << found.error().message();
}

}  // namespace
}  // namespace commissure::testing
