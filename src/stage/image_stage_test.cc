#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "support/stage_fixture.h"

// Rows of an image keep the rules that hold for all rows: any cut, any chunk that leaves the image whole, and any
// company gives the same bits.

namespace commissure::testing {
namespace {

constexpr int kPrompt = 150, kImageAt = 40, kImageRows = 70;

std::vector<int> prompt() {
  std::vector<int> tokens;
  for (int i = 0; i < kPrompt; ++i)
    tokens.push_back(i >= kImageAt && i < kImageAt + kImageRows ? 0 : (i * 37 + 11) % 90);
  return tokens;
}

/// Rows [first, end) of the prompt as sequence `id`, each scored, with the whole table.
SequenceRows rows(int first, int end, const std::shared_ptr<const ImageRows>& image, std::uint64_t id = 1) {
  const std::vector<int> tokens = prompt();
  SequenceRows slice = rows_of(id, 0, {tokens.begin(), tokens.begin() + end}, static_cast<int>(3 * (id - 1)));
  slice.first_position = first;
  slice.tokens.erase(slice.tokens.begin(), slice.tokens.begin() + first);
  slice.params = SamplingParams{.n_logprobs = 3, .banned = {}};
  for (int i = first; i < end; ++i) slice.targets.push_back(TokenId(tokens[to_size((i + 1) % kPrompt)]));
  if (image != nullptr && first < kImageAt + kImageRows && end > kImageAt) {
    slice.images = {{kImageAt, kImageRows, image->see_each_other, image}};
  }
  return slice;
}

using Scores = std::vector<ScoredToken>;

std::vector<Scores> step(Chain& chain, std::vector<SequenceRows> slices) {
  const auto result = chain.step({.step = {}, .slices = std::move(slices), .released = {}});
  EXPECT_TRUE(result.has_value()) << (result ? "" : result.error().message());
  std::vector<Scores> scored;
  if (!result) return scored;
  for (const auto& sequence : result->results) scored.push_back(sequence.scored);
  return scored;
}

/// Scores of all rows, computed in steps that end at `ends`.
Scores run(Chain& chain, const std::shared_ptr<const ImageRows>& image, const std::vector<int>& ends = {kPrompt}) {
  Scores all;
  int first = 0;
  for (const int end : ends) {
    const auto scored = step(chain, {rows(first, end, image)});
    if (scored.empty()) return all;
    all.insert(all.end(), scored[0].begin(), scored[0].end());
    first = end;
  }
  return all;
}

class ImageStages : public ::testing::TestWithParam<std::string> {
 protected:
  Chain chain(const std::vector<int>& cuts) { return Chain(*backend_, file_.path(), cuts, options_, kv_type_); }

  const StageOptions options_{.model_name = "toy", .max_rows = 320, .n_kv_blocks = 12};
  const ToyModel model_{.is_gemma = true, .n_layers = 3, .matrices = DType::kQ8_0};
  const ToyFile file_{model_};
  const std::unique_ptr<Backend> backend_ = cpu_backend(GetParam());
  const std::shared_ptr<const ImageRows> image_ = random_image(kImageRows, model_.d_model, 1);  // shared: as in a step
  KvType kv_type_ = KvType::kBF16;
};

TEST_P(ImageStages, AnyCutAndAnyChunkThatLeavesTheImageWholeGivesTheSameBits) {
  for (const KvType kv : {KvType::kBF16, KvType::kInt8}) {
    kv_type_ = kv;
    Chain whole = chain({});
    const Scores expected = run(whole, image_);
    ASSERT_EQ(expected.size(), to_size(kPrompt));
    Chain three = chain({1, 2});
    EXPECT_EQ(run(three, image_), expected);
    if (GetParam() == "emulated") continue;  // which takes a thousand times as long
    for (const std::vector<int>& ends : {std::vector<int>{40, 110, 150}, {17, 128, 150}, {110, 111, 150}}) {
      EXPECT_EQ(run(three, image_, ends), expected) << ends[0];
    }
  }
}

TEST_P(ImageStages, RowsBehindCachedOnesOfTheSameImageHaveTheSameBits) {
  Chain chain_of = chain({1});
  const Scores expected = run(chain_of, image_);
  // The blocks hold the first 64 rows already: 24 of the image's.
  const auto again = step(chain_of, {rows(64, kPrompt, image_)});
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(again[0], Scores(expected.begin() + 64, expected.end()));
}

TEST_P(ImageStages, ARowDoesNotDependOnItsNeighbours) {
  if (GetParam() == "emulated") GTEST_SKIP() << "attention's own test has it";
  Chain chain_of = chain({1});
  const Scores expected = run(chain_of, image_);
  const auto other = random_image(kImageRows, model_.d_model, 2);
  const auto together = step(chain_of, {rows(0, 90, nullptr, 2), rows(0, kPrompt, image_, 1), rows(0, 60, nullptr, 3)});
  ASSERT_EQ(together.size(), 3u);
  EXPECT_EQ(together[1], expected);
  const auto of_two = step(chain_of, {rows(0, kPrompt, other, 4), rows(0, kPrompt, image_, 1)});
  ASSERT_EQ(of_two.size(), 2u);
  EXPECT_EQ(of_two[1], expected);
  EXPECT_NE(of_two[0], expected) << "another image";
}

TEST_P(ImageStages, TextBeforeAnImageDoesNotSeeItAndTheImageSeesItsOwnEnd) {
  if (GetParam() == "emulated") GTEST_SKIP() << "attention's own test has it";
  Chain chain_of = chain({1});
  const Scores expected = run(chain_of, image_);
  auto changed = std::make_shared<ImageRows>(*image_);
  for (std::size_t i = changed->values.size() - to_size(model_.d_model); i < changed->values.size(); ++i) {
    changed->values[i] = to_bf16(-to_float(changed->values[i]));
  }
  const Scores other_end = run(chain_of, changed);
  ASSERT_EQ(other_end.size(), expected.size());
  EXPECT_TRUE(std::equal(expected.begin(), expected.begin() + kImageAt, other_end.begin()));
  EXPECT_NE(expected[to_size(kImageAt)], other_end[to_size(kImageAt)]) << "its first row sees its last one";
  auto as_text = std::make_shared<ImageRows>(*changed);
  as_text->see_each_other = false;
  const Scores causal = run(chain_of, as_text);
  as_text = std::make_shared<ImageRows>(*image_);
  as_text->see_each_other = false;
  const Scores causal_before = run(chain_of, as_text);
  EXPECT_EQ(causal[to_size(kImageAt)], causal_before[to_size(kImageAt)]) << "rows that see only what is before them";
}

TEST_P(ImageStages, RowsThatAreEmbeddedTokensGiveTheBitsOfTheTokens) {
  if (GetParam() == "emulated") GTEST_SKIP() << "the operations' own tests have it";
  const ToyFile file({.is_gemma = true, .n_layers = 3, .matrices = DType::kF32});
  Chain chain_of(*backend_, file.path(), {1}, options_);
  const auto tensor = chain_of.checkpoint(0).require("token_embd.weight");
  ASSERT_TRUE(tensor.has_value());
  const auto bytes = chain_of.checkpoint(0).load(**tensor);
  ASSERT_TRUE(bytes.has_value());
  const auto* table = reinterpret_cast<const float*>(bytes->bytes.data());
  const auto spec = read_decoder_spec(chain_of.checkpoint(0));
  ASSERT_TRUE(spec.has_value());
  auto as_rows = std::make_shared<ImageRows>(
      ImageRows{.key = "", .n_rows = kImageRows, .d_model = spec->d_model, .see_each_other = false, .values = {}});
  for (int row = 0; row < kImageRows; ++row) {
    for (int i = 0; i < spec->d_model; ++i) as_rows->values.push_back(to_bf16(table[i] * spec->embedding_scale));
  }
  EXPECT_EQ(run(chain_of, as_rows), run(chain_of, nullptr)) << "all of the image's tokens are 0";
}

TEST_P(ImageStages, WhatDoesNotFitFailsTheStepByNameAndTheNextOneServes) {
  Chain chain_of = chain({1});
  const auto problem = [&](const SequenceRows& slice) {
    const auto result = chain_of.step({.step = {}, .slices = {slice}, .released = {}});
    return result ? std::string() : result.error().message();
  };
  SequenceRows slice = rows(0, kPrompt, image_);
  slice.images[0].rows = nullptr;
  EXPECT_NE(problem(slice).find("the image at position 40 has no rows"), std::string::npos) << problem(slice);
  slice = rows(0, kPrompt, random_image(kImageRows, model_.d_model / 2, 1));
  EXPECT_NE(problem(slice).find("the model takes [70, 64]"), std::string::npos) << problem(slice);
  slice = rows(0, 100, image_);
  EXPECT_NE(problem(slice).find("rows end at 100 in the midst of an image that ends at 110"), std::string::npos)
      << problem(slice);
  slice = rows(0, kPrompt, image_);
  slice.images.push_back(slice.images[0]);
  EXPECT_NE(problem(slice).find("an image of 70 rows at 40, after 110"), std::string::npos) << problem(slice);
  EXPECT_EQ(problem(rows(0, kPrompt, image_)), "");
}

INSTANTIATE_TEST_SUITE_P(Isas, ImageStages, ::testing::ValuesIn(all_isas()),
                         [](const auto& made) { return made.param; });

}  // namespace
}  // namespace commissure::testing
