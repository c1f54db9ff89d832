#include "serve/served_images.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/vision_model.h"

namespace commissure::testing {
namespace {

/// Pixels as a BMP file: 24 bits, blue first, rows from below; `comment` bytes behind change the file alone.
std::string bmp(const Image& image, const std::string& comment = "") {
  const auto& [width, height, rgb] = image;
  const auto bytes = [](std::uint64_t value, int n) {
    std::string text;
    for (int i = 0; i < n; ++i) text += static_cast<char>(value >> (8 * i));
    return text;
  };
  std::string pixels;
  for (int y = height - 1; y >= 0; --y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 2; c >= 0; --c) pixels += static_cast<char>(rgb[static_cast<std::size_t>(3 * (y * width + x) + c)]);
    }
    pixels.append(static_cast<std::size_t>(width % 4), '\0');
  }
  return "BM" + bytes(static_cast<std::uint32_t>(54 + pixels.size()), 4) + bytes(0, 4) + bytes(54, 4) + bytes(40, 4) +
         bytes(static_cast<std::uint32_t>(width), 4) + bytes(static_cast<std::uint32_t>(height), 4) + bytes(1, 2) +
         bytes(24, 2) + bytes(0, 4) + bytes(static_cast<std::uint32_t>(pixels.size()), 4) + bytes(2835, 4) +
         bytes(2835, 4) + bytes(0, 8) + pixels + comment;
}

constexpr const char* kTokenizer = R"({"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []},
    "added_tokens": [{"id": 2, "content": "<image_soft_token>", "special": true},
                     {"id": 3, "content": "<pad>", "special": true}]})";

class ServedImagesTest : public ::testing::Test {
 protected:
  ServedImagesTest()
      : vision_(all_vision_cases(COMMISSURE_SOURCE_DIR)[0]),
        tokenizer_(*Tokenizer::from_json(*parse_json(kTokenizer), nullptr)) {}

  /// Writes the model and opens its eyes.
  std::shared_ptr<ServedImages> open(const std::string& lease = "") {
    write_vision_safetensors(vision_, folder_, DType::kBF16);
    model_ = *Checkpoint::open(folder_.path());
    auto found = find_vision(*model_, "", 64, ReadMode::kMap);
    EXPECT_TRUE(found.has_value() && found->has_value());
    auto images = ServedImages::create(
        *std::move(*found), *model_, image_marks(*model_, *tokenizer_, 208, VisionFamily::kGemma3),
        {.cpu = {.n_threads = 2, .pin = false, .isa = ""}, .lease = lease, .see_each_other = vision_.see_each_other});
    EXPECT_TRUE(images.has_value());
    return *images;
  }
  std::string file(int image, const std::string& comment = "") const {
    return bmp(vision_.images[static_cast<std::size_t>(image)], comment);
  }
  static auto encode(ImageEncoder& encoder, const std::string& file) {
    return encoder.encode(std::as_bytes(std::span(file)));
  }

  /// Of rows from transformers' of an image.
  double distance(const ImageRows& rows, int image) const {
    const std::vector<float>& expected = vision_.features[static_cast<std::size_t>(image)];
    if (rows.values.size() != expected.size()) return INFINITY;
    double difference = 0.0, whole = 0.0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      difference += std::pow(to_float(rows.values[i]) - expected[i], 2);
      whole += std::pow(expected[i], 2);
    }
    return std::sqrt(difference / whole);
  }

  VisionCase vision_;
  std::unique_ptr<Tokenizer> tokenizer_;
  TempFolder folder_;
  std::unique_ptr<Checkpoint> model_;
};

TEST_F(ServedImagesTest, AFileBecomesTheRowsOfTransformers) {
  const auto images = open();
  images->begin_load();
  for (int image = 0; image < 3; ++image) {
    const auto rows = encode(*images, file(image));
    ASSERT_TRUE(rows.has_value()) << rows.error().message();
    EXPECT_EQ((*rows)->n_rows, 16);
    EXPECT_EQ((*rows)->d_model, 64);
    EXPECT_TRUE((*rows)->see_each_other);
    EXPECT_LE(distance(**rows, image), 3.0 / 512.0) << "two layers, and the rows as bf16";
  }
}

TEST_F(ServedImagesTest, ImagesOfGemma4KeepTheirShape) {
  vision_ = all_vision_cases(COMMISSURE_SOURCE_DIR)[2];
  // As large as the images are, so that they need no resizing: 4 x 4 rows of 12 pixels.
  folder_.write("processor_config.json", R"({"image_processor": {"max_soft_tokens": 16, "resample": 3}})");
  const auto images = open();
  const auto rows = encode(*images, file(2));
  ASSERT_TRUE(rows.has_value()) << rows.error().message();
  EXPECT_EQ((*rows)->n_rows, 16);
  EXPECT_FALSE((*rows)->see_each_other);
  EXPECT_LE(distance(**rows, 2), 3.0 / 512.0);
  const auto black = [&](int width, int height) {
    const auto made = encode(*images, bmp({width, height, std::vector<std::uint8_t>(3 * 24 * 72)}));
    EXPECT_TRUE(made.has_value());
    return *made;
  };
  const auto wide = black(72, 24), high = black(24, 72);
  EXPECT_EQ(wide->n_rows, 12) << "6 x 2";
  EXPECT_EQ(high->n_rows, 12);
  EXPECT_NE(wide->key, high->key) << "the same bytes in another shape";
}

TEST_F(ServedImagesTest, EqualFilesAndEqualPixelsAreEncodedOnce) {
  const auto images = open();
  const auto first = *encode(*images, file(0));
  EXPECT_EQ(*encode(*images, file(0)), first) << "the very same rows";
  EXPECT_EQ(*encode(*images, file(0, "another file")), first);
  const auto other = *encode(*images, file(1));
  EXPECT_NE(other->key, first->key);
  EXPECT_NE(other->values, first->values);
}

TEST_F(ServedImagesTest, AnotherEncoderMakesOtherKeys) {
  const std::string key = (*encode(*open(), file(0)))->key;
  EXPECT_EQ((*encode(*open(), file(0)))->key, key);
  vision_.config["initializer_range"] = 0.5;  // another model, by its config.json
  EXPECT_NE((*encode(*open(), file(0)))->key, key);
}

TEST_F(ServedImagesTest, WhatIsNoImageIsRefusedBeforeWeightsAreRead) {
  const auto images = open();
  for (const std::string& text : {std::string(), std::string("BM"), file(0).substr(0, 1000), std::string(4096, 'x')}) {
    const auto rows = encode(*images, text);
    ASSERT_FALSE(rows.has_value());
    EXPECT_EQ(rows.error().code(), Code::kInvalidArgument) << rows.error().message();
  }
}

TEST_F(ServedImagesTest, WeightsThatCannotBeLoadedAreNoFaultOfTheRequest) {
  write_vision_safetensors(vision_, folder_, DType::kBF16);
  model_ = *Checkpoint::open(folder_.path());
  auto found = *find_vision(*model_, "", 64, ReadMode::kMap);
  ASSERT_TRUE(found.has_value());
  found->spec.d_ff += 2;
  const auto images =
      *ServedImages::create(*std::move(found), *model_, image_marks(*model_, *tokenizer_, 208, VisionFamily::kGemma3),
                            {.cpu = {.n_threads = 1, .pin = false, .isa = ""}, .lease = ""});
  for (int i = 0; i < 2; ++i) {
    const auto rows = encode(*images, file(0));
    ASSERT_FALSE(rows.has_value());
    EXPECT_EQ(rows.error().code(), Code::kUnavailable);
    EXPECT_NE(rows.error().message().find("could not be loaded"), std::string::npos) << rows.error().message();
    EXPECT_EQ(rows.error().message().find(folder_.path()), std::string::npos) << "clients learn no paths";
  }
}

TEST_F(ServedImagesTest, TakesTurnsByTheLeaseAndStopsWhereTheServerDoes) {
  const std::string path = folder_.path("lease");
  const auto images = open(path);
  const auto rows = encode(*images, file(0));
  ASSERT_TRUE(rows.has_value()) << rows.error().message();
  const auto lease = *CoreLease::open(path);
  EXPECT_TRUE(lease->acquire().has_value()) << "it gave the lease back";
  images->stop();
  const auto stopped = encode(*images, file(1));
  ASSERT_FALSE(stopped.has_value());
  EXPECT_EQ(stopped.error().code(), Code::kUnavailable);
}

TEST_F(ServedImagesTest, TheTokenOfARowIsTheFilesOwnWhereTheModelHasIt) {
  open();
  EXPECT_EQ(image_marks(*model_, *tokenizer_, 208, VisionFamily::kGemma3).token, TokenId(205)) << "image_token_index";
  EXPECT_EQ(image_marks(*model_, *tokenizer_, 205, VisionFamily::kGemma3).token, TokenId(0))
      << "pad_token_id of text_config";
  const auto gguf = *Checkpoint::open(folder_.write("text.gguf", vision_text_gguf(vision_)));
  EXPECT_EQ(image_marks(*gguf, *tokenizer_, 208, VisionFamily::kGemma3).token, TokenId(2)) << "by its name";
  EXPECT_EQ(image_marks(*gguf, *tokenizer_, 2, VisionFamily::kGemma3).token, TokenId(0)) << "padding";
  const ImageMarks marks = image_marks(*gguf, *tokenizer_, 208, VisionFamily::kGemma3);
  EXPECT_EQ(marks.mark, "<start_of_image>");
  EXPECT_EQ(marks.before, "\n\n<start_of_image>");
  EXPECT_EQ(marks.after, "<end_of_image>\n\n");
  const ImageMarks gemma4 = image_marks(*model_, *tokenizer_, 208, VisionFamily::kGemma4);
  EXPECT_EQ(gemma4.mark, "<|image|>");
  EXPECT_EQ(gemma4.before, "<|image>");
  EXPECT_EQ(gemma4.after, "<image|>");
}

TEST(ImageRows, HaveToFitAStepAndTheWindow) {
  EXPECT_TRUE(check_image_rows(256, 1024, 512, 64).has_value());
  EXPECT_TRUE(check_image_rows(256, 256, 320, 64).has_value());
  EXPECT_TRUE(check_image_rows(256, 0, 320, 64).has_value());
  const Status step = check_image_rows(256, 1024, 319, 64);
  ASSERT_FALSE(step.has_value());
  EXPECT_NE(step.error().message().find("--max-num-batched-tokens is 319, must be at least 320"), std::string::npos);
  const Status window = check_image_rows(256, 255, 512, 64);
  ASSERT_FALSE(window.has_value());
  EXPECT_NE(window.error().message().find("windows of 255"), std::string::npos);
}

}  // namespace
}  // namespace commissure::testing
