#include <gtest/gtest.h>

#include <cmath>
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

/// That the sampler gives every token of `kept` its share of exp(scores), and lists no other one.
void expect_shares(const Json& item, SamplingParams params, const std::vector<TokenId>& history,
                   const std::vector<double>& scores, const std::set<int>& kept) {
  double total = 0.0;
  for (const int token : kept) total += std::exp(scores[static_cast<std::size_t>(token)]);
  params.processed_logprobs = true;
  params.n_logprobs = 20;
  Sampler sampler;
  SampleContext context{.position = std::ssize(history), .history = history, .mu = {}};
  const ScoredToken drawn = *sampler.sample(item["logits"].get<std::vector<float>>(), params, context);
  ASSERT_EQ(drawn.top.size(), std::min<std::size_t>(20, kept.size()));
  for (const TokenLogprob& entry : drawn.top) {
    EXPECT_TRUE(kept.contains(entry.token.value));
    EXPECT_NEAR(entry.logprob, scores[static_cast<std::size_t>(entry.token.value)] - std::log(total), 1e-5);
    if (entry.token == drawn.chosen.token) {
      EXPECT_EQ(entry, drawn.chosen);
    }
  }
}

/// At temperature 0 the shares are those of the adjusted logits.
void expect_greedy_shares(const Json& item, SamplingParams params, const std::vector<TokenId>& history) {
  std::vector<double> scores;
  std::set<int> kept;
  for (const Json& after : item["logits_after"]) {
    if (!after.is_null()) kept.insert(static_cast<int>(scores.size()));
    scores.push_back(after.is_null() ? 0.0 : after.get<double>());
  }
  params.temperature = 0;
  expect_shares(item, params, history, scores, kept);
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
  const auto kept = item["kept"].get<std::set<int>>();
  EXPECT_EQ(drawn, kept);
  std::vector<double> scores;
  for (const float logit : logits) scores.push_back(double{logit} / double{params.temperature});
  expect_shares(item, params, {}, scores, kept);
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
      expect_greedy_shares(item, params, ids(item["history"]));
    }
  }
}

}  // namespace
}  // namespace commissure
