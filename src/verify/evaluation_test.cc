#include "verify/evaluation.h"

#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "core/index.h"
#include "support/family_model.h"
#include "support/temp_folder.h"
#include "support/toy_model.h"

namespace commissure {
namespace {

constexpr const char* kTokenizer = R"({{"model": {{"type": "BPE", "vocab": {{"a": 0, "b": 1, "c": 9}}, "merges": []}},
    "added_tokens": [{{"id": 2, "content": "<s>", "special": true}}, {{"id": 3, "content": "</s>", "special": true}}],
    "post_processor": {{"type": "TemplateProcessing", "single": [{}], "pair": [],
      "special_tokens": {{"<s>": {{"id": "<s>", "ids": [2], "tokens": ["<s>"]}},
                          "</s>": {{"id": "</s>", "ids": [3], "tokens": ["</s>"]}}}}}}}})";
const std::string kBos = R"({"SpecialToken": {"id": "<s>", "type_id": 0}}, )";
const std::string kText = R"({"Sequence": {"id": "A", "type_id": 0}})";
const std::string kEos = R"(, {"SpecialToken": {"id": "</s>", "type_id": 0}})";

TEST(Evaluation, ScoresAsSoftmaxDoes) {
  const std::vector<float> logits = {0.0f, std::log(2.0f), std::log(5.0f)};
  const auto score = score_row(logits, 1);
  ASSERT_TRUE(score.has_value());
  EXPECT_NEAR(score->logprob, std::log(2.0 / 8.0), 1e-6);
  EXPECT_EQ(score->best, 2);
}

TEST(Evaluation, RowsWithoutNumbersAreAnError) {
  EXPECT_FALSE(score_row(std::vector<float>{0.0f, NAN}, 0).has_value());
  EXPECT_FALSE(score_row(std::vector<float>{0.0f, INFINITY}, 0).has_value());
}

TEST(Evaluation, TheDivergenceIsThatOfKullbackAndLeibler) {
  const std::vector<float> p = {std::log(0.5f), std::log(0.25f), std::log(0.25f)};
  const std::vector<float> q = {std::log(0.25f) + 3.0f, std::log(0.25f) + 3.0f, std::log(0.5f) + 3.0f};
  EXPECT_NEAR(divergence(p, q), 0.5 * std::log(2.0) + 0.25 * std::log(0.5), 1e-6);
  EXPECT_NEAR(divergence(p, p), 0.0, 1e-9);
  EXPECT_NE(divergence(p, q), divergence(q, p));
}

TEST(Evaluation, JsonTellsOfTheOtherModelOnlyWhereThereIsOne) {
  Evaluation found{.n_tokens = 4, .logprob = -8.0};
  EXPECT_NEAR(found.perplexity(), std::exp(2.0), 1e-9);
  EXPECT_FALSE(found.to_json().contains("mean_kl"));
  found.is_compared = true;
  found.logprob_against = -4.0;
  found.divergence = 2.0;
  found.n_same = 3;
  EXPECT_NEAR(found.to_json()["mean_kl"].get<double>(), 0.5, 1e-12);
  EXPECT_NEAR(found.to_json()["top1_agreement"].get<double>(), 0.75, 1e-12);
  EXPECT_NEAR(found.to_json()["perplexity_change"].get<double>(), std::exp(1.0) - 1, 1e-9);
}

/// Letters, and tokens before and behind a text; "c" is token 9.
std::unique_ptr<Tokenizer> tokenizer(const std::string& special) {
  const Json json = parse_json(fmt::format(kTokenizer, special)).value();
  auto made = Tokenizer::from_json(json, nullptr);
  EXPECT_TRUE(made.has_value()) << made.error().message();
  return std::move(*made);
}

std::vector<std::vector<int>> ids(const std::vector<std::vector<TokenId>>& windows) {
  std::vector<std::vector<int>> all;
  for (const std::vector<TokenId>& window : windows) {
    std::vector<int>& values = all.emplace_back();
    for (const TokenId token : window) values.push_back(token.value);
  }
  return all;
}

using Windows = std::vector<std::vector<int>>;

TEST(Windows, EachBeginsAsATextDoes) {
  EXPECT_EQ(ids(windows_of(*tokenizer(kText), "ababa", 2).value()), (Windows{{0, 1}, {0, 1}}));
  EXPECT_EQ(ids(windows_of(*tokenizer(kBos + kText), "ababa", 3).value()), (Windows{{2, 0, 1}, {2, 0, 1}, {2, 0}}));
  EXPECT_EQ(ids(windows_of(*tokenizer(kBos + kText + kEos), "ababa", 3).value()),
            (Windows{{2, 0, 1}, {2, 0, 1}, {2, 0}}))
      << "the end of a text is none of a window";
  EXPECT_EQ(ids(windows_of(*tokenizer(kBos + kText), "", 3).value()), Windows());
}

TEST(Windows, WithoutRoomForATextAreAnError) {
  for (const int context : {0, 1, 2}) {
    const auto windows = windows_of(*tokenizer(kBos + kBos + kText), "ab", context);
    ASSERT_FALSE(windows.has_value()) << context;
    EXPECT_EQ(windows.error().code(), Code::kInvalidArgument);
  }
  EXPECT_EQ(ids(windows_of(*tokenizer(kBos + kBos + kText), "ab", 3).value()), (Windows{{2, 2, 0}, {2, 2, 1}}));
}

TEST(WindowModel, ComputesWhatTransformersComputesForEveryFamily) {
  for (const testing::FamilyCase& family :
       testing::family_cases(std::string(COMMISSURE_SOURCE_DIR) + "/tests/golden/families")) {
    const testing::TempFolder folder;
    testing::write_family_safetensors(family, folder);
    folder.write("tokenizer.json", fmt::format(kTokenizer, kBos + kText));
    const int n = count_of(family.ids) - 1;
    auto model = WindowModel::load({"toy", folder.path(), {}}, "",
                                   {.context = n + 1, .quant = {}, .isa = "reference", .n_threads = 2});
    ASSERT_TRUE(model.has_value()) << family.name << ": " << model.error().message();
    std::vector<TokenId> window;
    for (const int id : family.ids) window.emplace_back(id);
    ASSERT_TRUE((*model)->run(window).has_value()) << family.name;
    double delta = 0;
    for (int row = 0; row < n; ++row) {
      const auto logits = (*model)->logits(row, 1);
      ASSERT_TRUE(logits.has_value());
      delta += std::abs(score_row(*logits, family.ids[row + 1])->logprob - family.logprobs[row]) / n;
    }
    EXPECT_LE(delta, 0.001) << family.name;
  }
}

TEST(Evaluation, ATokenThatTheModelLacksIsAnError) {
  const testing::TempFolder folder;
  const testing::ToyModel toy{.n_layers = 1, .n_vocab = 4};
  folder.write("config.json", testing::toy_config(toy));
  folder.write("model.safetensors", testing::toy_safetensors(toy));
  folder.write("tokenizer.json", fmt::format(kTokenizer, kBos + kText));
  auto model =
      WindowModel::load({"toy", folder.path(), {}}, "", {.context = 16, .quant = {}, .isa = {}, .n_threads = 1});
  ASSERT_TRUE(model.has_value()) << model.error().message();
  const auto scored = [&](const char* text) {
    return evaluate(**model, nullptr, windows_of((*model)->tokenizer(), text, 16).value(), [](std::int64_t) {});
  };
  const auto known = scored("abba");
  ASSERT_TRUE(known.has_value()) << known.error().message();
  EXPECT_EQ(known->n_tokens, 4);
  EXPECT_LT(known->logprob, 0);
  for (const char* text : {"abc", "cab"}) {
    const auto unknown = scored(text);
    ASSERT_FALSE(unknown.has_value()) << text;
    EXPECT_EQ(unknown.error().code(), Code::kInvalidArgument);
    EXPECT_NE(unknown.error().message().find("token 9, the model 4"), std::string::npos) << unknown.error().message();
  }
  EXPECT_FALSE((*model)->run(std::vector<TokenId>{TokenId(0), TokenId(-1)}).has_value());
}

}  // namespace
}  // namespace commissure
