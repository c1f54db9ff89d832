#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <iterator>
#include <limits>
#include <set>

#include "core/index.h"
#include "core/json.h"
#include "sample/sampler.h"

// Against Hugging Face transformers and llama.cpp; tools/golden/make_sampling_goldens.py and
// make_sampler_chain_goldens.py wrote the cases.
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
  params.n_prompt = item.value("n_prompt", 0);
  params.temperature = given.value("temperature", 1.0f);
  params.top_k = given.value("top_k", 0);
  params.top_p = given.value("top_p", 1.0f);
  params.min_p = given.value("min_p", 0.0f);
  params.typical_p = given.value("typical_p", 1.0f);
  params.repetition_penalty = given.value("repetition_penalty", 1.0f);
  params.top_n_sigma = given.value("top_n_sigma", 0.0f);
  params.xtc_probability = given.value("xtc_probability", 0.0f);
  params.xtc_threshold = given.value("xtc_threshold", 0.1f);
  if (const auto dry = given.find("dry"); dry != given.end()) {
    params.dry = {(*dry)["multiplier"], (*dry)["base"], (*dry)["allowed_length"], (*dry)["last_n"],
                  ids((*dry)["breakers"])};
  }
  if (const auto mirostat = given.find("mirostat"); mirostat != given.end()) {
    params.mirostat = {.is_on = true, .tau = (*mirostat)["tau"], .eta = (*mirostat)["eta"]};
  }
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
  for (const int token : kept) total += std::exp(scores[token]);
  params.processed_logprobs = true;
  params.n_logprobs = 20;
  Sampler sampler;
  SampleContext context{.position = std::ssize(history), .history = history, .mu = {}};
  const ScoredToken drawn = *sampler.sample(item["logits"].get<std::vector<float>>(), params, context);
  ASSERT_EQ(drawn.top.size(), std::min<std::size_t>(20, kept.size()));
  for (const TokenLogprob& entry : drawn.top) {
    EXPECT_TRUE(kept.contains(entry.token.value));
    EXPECT_NEAR(entry.logprob, scores[entry.token.value] - std::log(total), 1e-5);
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
    if (!after.is_null()) kept.insert(count_of(scores));
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

/// That each draw of a row keeps the same tokens and moves mu as far, when it falls on the same token. Which one it
/// falls on is the random numbers' business: a seed that leads there is looked for.
void expect_mirostat(const Json& item, SamplingParams params) {
  params.processed_logprobs = true;
  params.n_logprobs = 20;
  Sampler sampler;
  std::optional<float> mu;
  for (const Json& step : item["steps"]) {
    const auto logits = step["logits"].get<std::vector<float>>();
    const TokenId wanted(step["drawn"].get<std::int32_t>());
    SampleContext context;
    ScoredToken drawn;
    for (params.seed = 0; params.seed < 100'000; ++params.seed) {
      context = {.position = 0, .history = {}, .mu = mu};
      drawn = *sampler.sample(logits, params, context);
      if (drawn.chosen.token == wanted) break;
    }
    ASSERT_EQ(drawn.chosen.token, wanted) << "no seed draws it";
    std::set<int> kept;
    for (const TokenLogprob& entry : drawn.top) kept.insert(entry.token.value);
    EXPECT_EQ(kept, step["kept"].get<std::set<int>>());
    mu = context.mu;
    ASSERT_NEAR(mu.value(), step["mu"].get<float>(), 1e-4);
  }
}

/// The tokens that are left, all of which one answer lists.
void expect_listed(const Json& item, SamplingParams params) {
  params.processed_logprobs = true;
  params.n_logprobs = 20;
  const ScoredToken drawn = *Sampler().sample(item["logits"].get<std::vector<float>>(), params, 0);
  std::set<int> kept;
  for (const TokenLogprob& entry : drawn.top) kept.insert(entry.token.value);
  EXPECT_EQ(kept, item["kept"].get<std::set<int>>());
}

Json read_cases(const std::string& name) {
  std::ifstream file(std::string(COMMISSURE_SOURCE_DIR) + "/tests/golden/sampling/" + name);
  return parse_json(std::string(std::istreambuf_iterator<char>(file), {})).value();
}

TEST(SamplerGolden, TreatsLogitsAsLlamaCppDoes) {
  const Json cases = read_cases("llama_cases.json");
  ASSERT_GE(cases.size(), 100u);
  for (const Json& item : cases) {
    SCOPED_TRACE(dump_json(item["params"]) + " after " + dump_json(item["history"]));
    const SamplingParams params = params_of(item);
    ASSERT_TRUE(validate(params).has_value());
    if (item.contains("steps")) {
      expect_mirostat(item, params);
    } else if (item.contains("kept")) {
      expect_listed(item, params);
    } else {
      expect_logits(item, params, ids(item["history"]));
    }
  }
}

TEST(SamplerGolden, TreatsLogitsAsTransformersDoes) {
  const Json cases = read_cases("cases.json");
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
