#include "vision/vision_encoder.h"

#include <gtest/gtest.h>

#include "support/backend_testing.h"
#include "support/vision_model.h"

namespace commissure::testing {
namespace {

class VisionEncoderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    vision_ = vision_cases(std::string(COMMISSURE_SOURCE_DIR) + "/tests/golden/vision/gemma3.json")[1];
    checkpoint_ = *Checkpoint::open(folder_.write("mmproj.gguf", vision_mmproj(vision_, DType::kBF16)));
    spec_ = **read_vision_spec(*checkpoint_);
    backend_ = backend_for(available_isas().back());
    encoder_ = *VisionEncoder::create(*backend_, spec_, *load_vision_weights(*backend_, *checkpoint_, spec_, {}));
  }
  Image image(int number) const {
    return {spec_.image_size, spec_.image_size, vision_pixels(number, spec_.image_size)};
  }

  VisionCase vision_;
  TempFolder folder_;
  std::unique_ptr<Checkpoint> checkpoint_;
  VisionSpec spec_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<VisionEncoder> encoder_;
};

TEST_F(VisionEncoderTest, AnImageHasTheSameBitsAfterAnother) {
  const auto first = *encoder_->encode(image(0));
  const auto second = *encoder_->encode(image(1));
  EXPECT_EQ(first.size(), n_elements(spec_.most_rows(), spec_.d_text));
  EXPECT_NE(first, second);
  EXPECT_EQ(*encoder_->encode(image(0)), first);
}

TEST_F(VisionEncoderTest, PausesAfterEveryPieceAndStopsWhereItIsTold) {
  const int n_chunks = (spec_.most_patches() + VisionEncoder::kChunk - 1) / VisionEncoder::kChunk;
  ASSERT_EQ(n_chunks, 2);
  int n_pauses = 0;
  const auto rows = encoder_->encode(image(0), [&]() -> Status {
    ++n_pauses;
    return {};
  });
  EXPECT_EQ(n_pauses, 2 * spec_.n_layers * n_chunks);
  int n_left = 3;
  const auto stopped = encoder_->encode(image(0), [&]() -> Status {
    if (--n_left == 0) return Error(Code::kCancelled, "enough");
    return {};
  });
  ASSERT_FALSE(stopped.has_value());
  EXPECT_EQ(stopped.error().code(), Code::kCancelled);
  EXPECT_EQ(*encoder_->encode(image(0)), *rows);
}

TEST_F(VisionEncoderTest, WhatItNeedsIsKnownBefore) {
  EXPECT_GT(VisionEncoder::scratch_bytes(*backend_, spec_), 441u * 96 * 4);
  std::uint64_t n_bytes = 0;
  for (const TensorInfo& tensor : checkpoint_->tensors()) n_bytes += tensor.n_bytes;
  EXPECT_EQ(*vision_weight_bytes(*checkpoint_, spec_), n_bytes);
  std::uint64_t total = 0, last = 0;
  ASSERT_TRUE(load_vision_weights(*backend_, *checkpoint_, spec_, [&](std::uint64_t done, std::uint64_t all) {
                last = done;
                total = all;
                return true;
              }).has_value());
  EXPECT_EQ(last, total);
  EXPECT_EQ(total, n_bytes);
  const auto stopped =
      load_vision_weights(*backend_, *checkpoint_, spec_, [](std::uint64_t, std::uint64_t) { return false; });
  ASSERT_FALSE(stopped.has_value());
  EXPECT_EQ(stopped.error().code(), Code::kCancelled);
}

TEST_F(VisionEncoderTest, TheNamesOfAFeedForwardMayBeSwapped) {
  VisionCase swapped = vision_;
  for (auto& [name, gguf_name] : swapped.mmproj["names"].items()) {
    auto text = gguf_name.get<std::string>();
    const auto replace = [&](const std::string& from, const std::string& to) {
      const std::size_t at = text.find(from);
      if (at == std::string::npos) return false;
      text.replace(at, from.size(), to);
      return true;
    };
    if (!replace("ffn_up", "ffn_down")) replace("ffn_down", "ffn_up");
    gguf_name = text;
  }
  TempFolder folder;
  const auto checkpoint = *Checkpoint::open(folder.write("mmproj.gguf", vision_mmproj(swapped, DType::kBF16)));
  auto weights = load_vision_weights(*backend_, *checkpoint, spec_, {});
  ASSERT_TRUE(weights.has_value()) << weights.error().message();
  EXPECT_EQ(*(*VisionEncoder::create(*backend_, spec_, *std::move(weights)))->encode(image(0)),
            *encoder_->encode(image(0)));
}

}  // namespace
}  // namespace commissure::testing
