#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <limits>
#include <set>

#include "core/json.h"
#include "sample/sampler.h"

// Against Hugging Face transformers; tools/golden/make_sampling_goldens.py wrote the cases.
namespace commissure {
namespace {

std::vector<TokenId> ids(const Json& list) {
  std::vector<TokenId> tokens;
  for (const Json& id : list) tokens.emplace_back(id.get<std::int32_t>());
  return tokens;
}

SamplingParams params_of(const Json& item) {
  const Json& given = item["params"];
  SamplingParams params;
  params.n_prompt = item["n_prompt"];
  params.temperature = given.value("temperature", 1.0f);
  params.top_k = given.value("top_k", 0);
  params.top_p = given.value("top_p", 1.0f);
  params.min_p = given.value("min_p", 0.0f);
  params.typical_p = given.value("typical_p", 1.0f);
  params.repetition_penalty = given.value("repetition_penalty", 1.0f);
  params.min_tokens = given.value("min_tokens", 0);
  params.end_tokens = ids(given.value("end_tokens", Json::array()));
  for (const Json& entry : given.value("logit_bias", Json::array())) {
    params.logit_bias.push_back({TokenId(entry[0].get<std::int32_t>()), entry[1].get<float>()});
  }
  for (const Json& bad : given.value("bad_sequences", Json::array())) params.bad_sequences.push_back(ids(bad));
  return params;
}

void expect_logits(const Json& item, const SamplingParams& params, const std::vector<TokenId>& history) {
  auto logits = item["logits"].get<std::vector<float>>();
  LogitAdjuster().apply(params, history, std::ssize(history), logits);
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const Json& after = item["logits_after"][i];
    const float wanted = after.is_null() ? -std::numeric_limits<float>::infinity() : after.get<float>();
    EXPECT_FLOAT_EQ(logits[i], wanted) << "token " << i;
  }
}

void expect_kept(const Json& item, const SamplingParams& params) {
  const auto logits = item["logits"].get<std::vector<float>>();
  Sampler sampler;
  std::set<int> drawn;
  for (int position = 0; position < 20000; ++position) {
    drawn.insert(sampler.sample(logits, params, position)->chosen.token.value);
  }
  EXPECT_EQ(drawn, item["kept"].get<std::set<int>>());
}

TEST(SamplerGolden, TreatsLogitsAsTransformersDoes) {
  std::ifstream file(std::string(COMMISSURE_SOURCE_DIR) + "/tests/golden/sampling/cases.json");
  const Json cases = parse_json(std::string(std::istreambuf_iterator<char>(file), {})).value();
  ASSERT_GE(cases.size(), 60u);
  for (const Json& item : cases) {
    SCOPED_TRACE(dump_json(item["params"]));
    const SamplingParams params = params_of(item);
    ASSERT_TRUE(validate(params).has_value());
    if (item.contains("kept")) {
      expect_kept(item, params);
    } else {
      expect_logits(item, params, ids(item["history"]));
    }
  }
}

}  // namespace
}  // namespace commissure
