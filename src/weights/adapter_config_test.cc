#include "weights/adapter_config.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

namespace commissure {
namespace {

/// A configuration as PEFT writes it, with other members before its own.
std::string config(const std::string& members) {
  return R"({"peft_type":"LORA","task_type":"CAUSAL_LM",)" + members +
         R"("bias":"none","fan_in_fan_out":false,"modules_to_save":null,"target_modules":["q_proj","v_proj"],)"
         R"("init_lora_weights":true,"lora_dropout":0.05,"layers_to_transform":null,"loftq_config":{},"exclude_modules":null})";
}

AdapterConfig parsed(const std::string& members) {
  auto result = AdapterConfig::parse(config(members), "adapter_config.json");
  EXPECT_TRUE(result.has_value()) << result.error().message();
  return result.value_or(AdapterConfig());
}

Error refusal(const std::string& text) {
  const auto result = AdapterConfig::parse(text, "adapter_config.json");
  EXPECT_FALSE(result.has_value()) << text;
  return result ? Error(Code::kOk, "") : result.error();
}

bool fits(std::string_view pattern, std::string_view name) {
  const auto parsed = NamePattern::parse(pattern);
  EXPECT_TRUE(parsed.has_value()) << pattern;
  return parsed && parsed->fits(name);
}

constexpr std::string_view kModule = "model.layers.10.self_attn.q_proj";

TEST(AdapterConfig, TheScaleIsAlphaOverTheRankOrItsRoot) {
  EXPECT_EQ(parsed(R"("r":8,"lora_alpha":16,)").scale_of(kModule), 2.0f);
  EXPECT_EQ(parsed(R"("r":16,"lora_alpha":6.5,)").scale_of(kModule), 6.5f / 16.0f);
  EXPECT_EQ(parsed(R"("r":16,"lora_alpha":8,"use_rslora":true,)").scale_of(kModule), 2.0f);
  EXPECT_FALSE(parsed(R"("r":8,)").is_dora());
  EXPECT_EQ(parsed(R"("r":8,)").scale_of(kModule), 1.0f) << "PEFT's own default is 8";
  EXPECT_TRUE(parsed(R"("r":8,"use_dora":true,)").is_dora());
}

TEST(AdapterConfig, PatternsGiveModulesRanksAndAlphasOfTheirOwn) {
  const AdapterConfig config = parsed(
      R"("r":8,"lora_alpha":8,"rank_pattern":{"layers.10.self_attn.q_proj":32,"q_proj":4},"alpha_pattern":{"q_proj":64},)");
  EXPECT_EQ(config.rank_of(kModule), 32) << "the first that fits";
  EXPECT_EQ(config.scale_of(kModule), 2.0f);
  EXPECT_EQ(config.rank_of("model.layers.1.self_attn.q_proj"), 4);
  EXPECT_EQ(config.scale_of("model.layers.1.self_attn.q_proj"), 16.0f);
  EXPECT_EQ(config.rank_of("model.layers.1.self_attn.v_proj"), 8);
  EXPECT_EQ(config.scale_of("model.layers.1.self_attn.v_proj"), 1.0f);
}

TEST(NamePattern, FitsFromASegmentToTheEnd) {
  EXPECT_TRUE(fits("q_proj", kModule));
  EXPECT_TRUE(fits("self_attn.q_proj", kModule));
  EXPECT_TRUE(fits("model.layers.10.self_attn.q_proj", kModule));
  EXPECT_FALSE(fits("proj", kModule)) << "in the midst of a segment";
  EXPECT_FALSE(fits("self_attn", kModule)) << "not to the end";
  EXPECT_FALSE(fits("layers.1.self_attn.q_proj", kModule));
  EXPECT_FALSE(fits("x.model.layers.10.self_attn.q_proj", kModule));
}

TEST(NamePattern, KnowsThePartsOfExpressionsThatSuchPatternsHave) {
  EXPECT_TRUE(fits(R"(^model\.layers\.10\.self_attn\.q_proj$)", kModule));
  EXPECT_FALSE(fits("^q_proj", kModule));
  EXPECT_TRUE(fits(R"(.*\.q_proj)", kModule));
  EXPECT_TRUE(fits(R"(layers\.\d+\.self_attn.[0-9]?q_proj)", kModule));
  EXPECT_FALSE(fits(R"(layers\.\d\.self_attn.q_proj)", kModule));
  EXPECT_TRUE(fits("v_proj|q_proj", kModule));
  EXPECT_FALSE(fits("v_proj|k_proj", kModule));
  EXPECT_TRUE(fits("self.attn.q_proj", kModule)) << "a point is any character";
  EXPECT_FALSE(fits(R"(self\.attn.q_proj)", kModule));
  EXPECT_TRUE(fits(std::string(100, 'x') + "?" + "|.*", std::string(3000, 'a')));
  for (const char* other : {"(q|v)_proj", "[qv]_proj", R"(\w+_proj)", "q_proj{1}", "*q", "q**"}) {
    const auto pattern = NamePattern::parse(other);
    ASSERT_FALSE(pattern.has_value()) << other;
    EXPECT_EQ(pattern.error().code(), Code::kUnimplemented);
  }
  EXPECT_EQ(NamePattern::parse(std::string(600, 'a')).error().code(), Code::kInvalidArgument);
}

TEST(AdapterConfig, WhatDoesNotRunIsRefusedByName) {
  for (const auto& [members, named] :
       {std::pair{R"("r":8,"target_parameters":["mlp.experts.gate_up_proj"],)", "target_parameters"},
        {R"("r":8,"lora_bias":true,)", "lora_bias"},
        {R"("r":8,"layer_replication":[[0,4],[2,5]],)", "layer_replication"},
        {R"("r":8,"use_qalora":true,)", "use_qalora"},
        {R"("r":8,"trainable_token_indices":[1],)", "trainable_token_indices"},
        {R"("r":8,"alora_invocation_tokens":[1,2],)", "alora_invocation_tokens"},
        {R"("r":8,"arrow_config":{"top_k":3},)", "arrow_config"}}) {
    const Error error = refusal(config(members));
    EXPECT_EQ(error.code(), Code::kUnimplemented);
    EXPECT_NE(error.message().find(named), std::string::npos) << error.message();
  }
  for (const auto& [text, named] :
       {std::pair{R"({"peft_type":"IA3","r":8})", "IA3"},
        {R"({"r":8})", "peft_type"},
        {R"({"peft_type":"LORA","r":8,"bias":"all"})", "bias"},
        {R"({"peft_type":"LORA","r":8,"modules_to_save":["lm_head"]})", "modules_to_save"},
        {R"({"peft_type":"LORA","r":8,"fan_in_fan_out":true})", "fan_in_fan_out"},
        {R"({"peft_type":"LORA","r":8,"init_lora_weights":"pissa_niter_4"})", "pissa_niter_4"},
        {R"({"peft_type":"LORA","r":8,"init_lora_weights":"loftq"})", "loftq"}}) {
    const Error error = refusal(text);
    EXPECT_EQ(error.code(), Code::kUnimplemented);
    EXPECT_NE(error.message().find(named), std::string::npos) << error.message();
  }
}

TEST(AdapterConfig, AHostileFileIsRefused) {
  for (const std::string text :
       {"", "[]", R"({"peft_type":7,"r":8})", "null", "{", R"({"peft_type":"LORA"})", R"({"peft_type":"LORA","r":0})",
        R"({"peft_type":"LORA","r":-1})", R"({"peft_type":"LORA","r":257})", R"({"peft_type":"LORA","r":1e99})",
        R"({"peft_type":"LORA","r":18446744073709551615})", R"({"peft_type":"LORA","r":"8"})",
        R"({"peft_type":"LORA","r":8,"lora_alpha":"16"})", R"({"peft_type":"LORA","r":8,"lora_alpha":1e300})",
        R"({"peft_type":"LORA","r":8,"use_dora":1})", R"({"peft_type":"LORA","r":8,"rank_pattern":[]})",
        R"({"peft_type":"LORA","r":8,"rank_pattern":{"q_proj":300}})",
        R"({"peft_type":"LORA","r":8,"alpha_pattern":{"q_proj":null}})", R"({"peft_type":"LORA","r":8,"r":9})"}) {
    EXPECT_EQ(refusal(text).code(), text == R"({"peft_type":7,"r":8})" ? Code::kUnimplemented : Code::kInvalidArgument)
        << text;
  }
  std::string patterns = R"({"peft_type":"LORA","r":8,"rank_pattern":{)";
  for (int i = 0; i < 65; ++i) patterns += (i > 0 ? ",\"" : "\"") + std::to_string(i) + ".*\":4";
  EXPECT_NE(refusal(patterns + "}}").message().find("64"), std::string::npos);
}

}  // namespace
}  // namespace commissure
