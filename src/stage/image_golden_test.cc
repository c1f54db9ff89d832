// Prompts with images against transformers in float32 (tests/golden/vision), through chains of one, two and three
// stages.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "support/stage_fixture.h"
#include "support/vision_model.h"

namespace commissure::testing {
namespace {

const std::vector<VisionCase>& cases() {
  static const auto all = all_vision_cases(COMMISSURE_SOURCE_DIR);
  return all;
}

/// An image's rows as transformers' encoder made them.
std::shared_ptr<const ImageRows> rows_of_image(const VisionCase& vision, int image) {
  const std::vector<float>& features = vision.features[to_size(image)];
  const int d_model = vision.config["text_config"]["hidden_size"].get<int>();
  auto rows = std::make_shared<ImageRows>(ImageRows{.key = std::to_string(image),
                                                    .n_rows = count_of(features) / d_model,
                                                    .d_model = d_model,
                                                    .see_each_other = vision.see_each_other,
                                                    .values = {}});
  for (const float value : features) rows->values.push_back(to_bf16(value));
  return rows;
}

/// Every token of the prompt but the first, scored; and the token that a greedy draw takes behind it.
struct Scored {
  std::vector<ScoredToken> tokens;
  int next = -1;
};

Scored score(const VisionCase& vision, const VisionPrompt& prompt, const std::string& path, const std::string& isa,
             const std::vector<int>& cuts) {
  const auto backend = cpu_backend(isa);
  Chain chain(*backend, path, cuts, {.model_name = "toy", .max_rows = 300, .n_kv_blocks = 8}, KvType::kBF16,
              Precision::kExact);
  SequenceRows rows = rows_of(1, 0, prompt.ids, 0);
  rows.params = SamplingParams{.temperature = 0.0f, .n_logprobs = 1, .banned = {}};
  rows.sample = true;
  for (std::size_t i = 1; i < prompt.ids.size(); ++i) rows.targets.push_back(TokenId(prompt.ids[i]));
  rows.targets.push_back(TokenId(0));
  for (const VisionPlace& place : prompt.images) {
    const auto image = rows_of_image(vision, place.image);
    rows.images.push_back({place.first_position, image->n_rows, image->see_each_other, image});
  }
  const auto result = chain.step({.step = {}, .slices = {rows}, .released = {}});
  if (!result) {
    ADD_FAILURE() << result.error().message();
    return {};
  }
  Scored scored = {result->results[0].scored, result->results[0].sampled->chosen.token.value};
  scored.tokens.pop_back();  // the stand-in behind the last one
  return scored;
}

double mean_delta(const VisionPrompt& prompt, const Scored& scored) {
  if (scored.tokens.size() != prompt.logprobs.size()) return INFINITY;
  double sum = 0.0;
  for (std::size_t i = 0; i < scored.tokens.size(); ++i) {
    sum += std::abs(static_cast<double>(scored.tokens[i].chosen.logprob) - prompt.logprobs[i]);
  }
  return sum / static_cast<double>(scored.tokens.size());
}

class ImageGolden : public ::testing::TestWithParam<std::size_t> {
 protected:
  ImageGolden() {
    write_vision_safetensors(vision(), folder_);
    paths_.push_back(folder_.path());
    if (!vision().gguf.is_null()) paths_.push_back(gguf_folder_.write("text.gguf", vision_text_gguf(vision())));
  }
  const VisionCase& vision() const { return cases()[GetParam()]; }

  TempFolder folder_, gguf_folder_;
  std::vector<std::string> paths_;
};

TEST_P(ImageGolden, TheReferenceIsWithinAThousandth) {
  for (const VisionPrompt& prompt : vision().prompts) {
    for (const std::string& path : paths_) {
      const Scored scored = score(vision(), prompt, path, "reference", {1, 2});
      EXPECT_LE(mean_delta(prompt, scored), 0.001) << prompt.images.size() << " images";
      EXPECT_EQ(scored.next, prompt.greedy[0]) << prompt.images.size() << " images";
    }
  }
}

TEST_P(ImageGolden, ExactKernelsAreWithinTwoHundredths) {
  for (const std::string& isa : available_isas()) {
    for (const VisionPrompt& prompt : vision().prompts) {
      EXPECT_LE(mean_delta(prompt, score(vision(), prompt, folder_.path(), isa, {})), 0.02) << isa;
    }
  }
}

TEST_P(ImageGolden, AnotherPictureIsFarther) {
  VisionCase other = vision();
  for (std::vector<float>& features : other.features) std::ranges::reverse(features);
  for (const VisionPrompt& prompt : vision().prompts) {
    if (prompt.images.empty()) continue;
    EXPECT_GT(mean_delta(prompt, score(other, prompt, folder_.path(), "reference", {})), 0.002);
  }
}

TEST_P(ImageGolden, WhatRowsOfAnImageSeeIsTold) {
  VisionCase other = vision();
  other.see_each_other = !vision().see_each_other;
  const VisionPrompt& prompt = vision().prompts[1];
  const double delta = mean_delta(prompt, score(other, prompt, folder_.path(), "reference", {}));
  // A model whose images look back alone says so itself, whatever the rows say.
  if (vision().see_each_other) {
    EXPECT_GT(delta, 0.002);
  } else {
    EXPECT_LE(delta, 0.001);
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, ImageGolden, ::testing::Range<std::size_t>(0, cases().size()));

}  // namespace
}  // namespace commissure::testing
