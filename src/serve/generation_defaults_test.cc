#include "serve/generation_defaults.h"

#include <gtest/gtest.h>

namespace commissure {
namespace {

/// As a file has it.
AdvisedDefaults advice(const char* generation_config, const char* config = "null") {
  return defaults_of_config(*parse_json(generation_config), *parse_json(config));
}

std::vector<TokenId> ids(std::initializer_list<int> values) {
  std::vector<TokenId> tokens;
  for (const int value : values) tokens.emplace_back(value);
  return tokens;
}

TEST(GenerationDefaults, EndTokensComeFromConfigWhereGenerationConfigNamesNone) {
  const char* config = R"({"eos_token_id": [2, 7]})";
  EXPECT_EQ(advice("null", config).values.end_tokens, ids({2, 7}));
  EXPECT_EQ(advice(R"({"temperature": 0.5})", config).values.end_tokens, ids({2, 7}));
  EXPECT_EQ(advice(R"({"eos_token_id": 9})", config).values.end_tokens, ids({9}));
  EXPECT_EQ(advice("null", R"({"eos_token_id": 3})").values.end_tokens, ids({3}));
  EXPECT_EQ(advice(R"({"eos_token_id": [200002, 199999, 200012]})", R"({"eos_token_id": 200002})").values.end_tokens,
            ids({200002, 199999, 200012}))
      << "gpt-oss";
}

TEST(GenerationDefaults, EndTokensOfAModelWithPicturesStandInItsTextConfig) {
  EXPECT_EQ(advice("null", R"({"text_config": {"eos_token_id": [1, 106]}})").values.end_tokens, ids({1, 106}));
}

TEST(GenerationDefaults, WhatIsNoTokenIdIsPassedOver) {
  EXPECT_EQ(advice("null", R"({"eos_token_id": [-1, "x", 4.5, 5, 1e19, 18446744073709551615]})").values.end_tokens,
            ids({5}));
  EXPECT_TRUE(advice("null").values.end_tokens.empty());
  EXPECT_TRUE(advice("null", R"({"text_config": "none"})").values.end_tokens.empty());
}

TEST(GenerationDefaults, GreedyWhereItDoesNotSample) {
  const AdvisedDefaults advised = advice(R"({"do_sample": false, "temperature": 0.7})");
  EXPECT_EQ(advised.values.temperature, 0.0f);
  EXPECT_TRUE(advised.any);
}

TEST(GenerationDefaults, SayWhoseTheyAre) {
  EXPECT_EQ(advice(R"({"top_k": 5})").values.source, "generation_config.json");
  EXPECT_EQ(advice(R"({"eos_token_id": 5})").values.source, "") << "end tokens are no advice about drawing";
  EXPECT_FALSE(advice(R"({"eos_token_id": 5, "temperature": -1})").any) << "nor is what cannot be followed";
  Metadata metadata;
  metadata.set("general.sampling.temp", 0.75);
  EXPECT_EQ(defaults_of_gguf(metadata).values.source, "GGUF header");
}

TEST(GenerationDefaults, AValueOutOfRangeIsLeftOutWithAWarningThatNamesIt) {
  const AdvisedDefaults advised = advice(R"({"temperature": -1, "top_p": 1.5, "top_k": 1.5, "min_p": 0.1})");
  EXPECT_FALSE(advised.values.temperature || advised.values.top_p || advised.values.top_k);
  EXPECT_EQ(advised.values.min_p, 0.1f);
  ASSERT_EQ(advised.warnings.size(), 3u);
  EXPECT_NE(advised.warnings[0].find("generation_config.json: temperature is -1"), std::string::npos)
      << advised.warnings[0];
  EXPECT_NE(advised.warnings[2].find("top_k is 1.5"), std::string::npos) << advised.warnings[2];
}

TEST(GenerationDefaults, ReadsWhatLlamaCppWritesIntoAGguf) {
  Metadata metadata;
  metadata.set("general.sampling.temp", 0.75);
  metadata.set("general.sampling.top_k", std::int64_t{1});
  metadata.set("general.sampling.top_p", 0.5);
  metadata.set("general.sampling.penalty_repeat", 1.25);
  metadata.set("general.sampling.xtc_probability", 0.5);
  metadata.set("general.sampling.mirostat", std::int64_t{2});
  metadata.set("general.sampling.mirostat_tau", 4.0);
  const AdvisedDefaults advised = defaults_of_gguf(metadata);
  EXPECT_EQ(advised.values.temperature, 0.75f);
  EXPECT_EQ(advised.values.top_k, 1);
  EXPECT_EQ(advised.values.top_p, 0.5f);
  EXPECT_EQ(advised.values.repetition_penalty, 1.25f);
  EXPECT_EQ(advised.values.xtc_probability, 0.5f);
  ASSERT_TRUE(advised.values.mirostat);
  EXPECT_EQ(advised.values.mirostat->tau, 4.0f);
  EXPECT_TRUE(advised.any && advised.warnings.empty());
  metadata.set("general.sampling.penalty_last_n", std::int64_t{0});
  EXPECT_FALSE(defaults_of_gguf(metadata).values.repetition_penalty);
  EXPECT_FALSE(defaults_of_gguf(Metadata()).any);
}

}  // namespace
}  // namespace commissure
