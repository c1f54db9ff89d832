// Every family against transformers in float32 (tests/golden/families), through chains of one, two and three stages.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "model/tensor_names.h"
#include "support/family_model.h"
#include "support/stage_fixture.h"

namespace commissure::testing {
namespace {

const std::vector<FamilyCase>& cases() {
  static const auto all = family_cases(std::string(COMMISSURE_SOURCE_DIR) + "/tests/golden/families");
  return all;
}

/// The files of a case in one format.
class FamilyFiles {
 public:
  enum Form { kSafetensors, kGguf, kGgufQ8 };
  FamilyFiles(const FamilyCase& family, Form form) {
    if (form == kSafetensors) {
      write_family_safetensors(family, folder_);
      path_ = folder_.path();
    } else {
      path_ = folder_.write("toy.gguf", family_gguf(family, form == kGguf ? DType::kF32 : DType::kQ8_0));
    }
  }
  const std::string& path() const { return path_; }

 private:
  TempFolder folder_;
  std::string path_;
};

struct Setting {
  std::string isa = "reference";
  Precision precision = Precision::kExact;
  std::vector<int> cuts = {};
  int chunk = 200;
  KvType kv_type = KvType::kBF16;
};

/// Every token of the case scored after those before it, with the likeliest one.
std::vector<ScoredToken> scores(const FamilyCase& family, const std::string& path, const Setting& setting) {
  const auto backend = cpu_backend(setting.isa);
  const StageOptions options = {.model_name = "toy", .max_rows = 200, .n_kv_blocks = 8};
  Chain chain(*backend, path, setting.cuts, options, setting.kv_type, setting.precision);
  std::vector<ScoredToken> all;
  const int n = count_of(family.ids) - 1;
  for (int first = 0; first < n; first += setting.chunk) {
    const int end = std::min(n, first + setting.chunk);
    SequenceRows rows = rows_of(1, first, {family.ids.begin() + first, family.ids.begin() + end}, 0);
    rows.params = SamplingParams{.n_logprobs = 1, .banned = {}};
    for (int i = first; i < end; ++i) rows.targets.push_back(TokenId(family.ids[i + 1]));
    const auto result = chain.step({.step = {}, .slices = {rows}, .released = {}});
    if (!result) {
      ADD_FAILURE() << result.error().message();
      return {};
    }
    const auto& scored = result->results[0].scored;
    all.insert(all.end(), scored.begin(), scored.end());
  }
  return all;
}

struct Distance {
  double mean_delta = 0.0;  ///< |log-probability - transformers'|
  double agreement = 0.0;   ///< share of positions with the same likeliest token
};

Distance distance(const FamilyCase& family, const std::vector<ScoredToken>& scored) {
  Distance result;
  const auto n = static_cast<double>(family.logprobs.size());
  if (scored.size() != family.logprobs.size()) return {.mean_delta = INFINITY};
  for (std::size_t i = 0; i < scored.size(); ++i) {
    result.mean_delta += std::abs(static_cast<double>(scored[i].chosen.logprob) - family.logprobs[i]) / n;
    result.agreement += scored[i].top.at(0).token.value == family.top1[i] ? 1.0 / n : 0.0;
  }
  return result;
}

/// Two and three stages; where layers share keys and values, also with all that share behind the cut or parted by it.
std::vector<std::vector<int>> cuts_of(const FamilyCase& family) {
  if (family.config["num_hidden_layers"] < 7) return {{1}, {1, 2}};
  return {{1}, {3, 5}, {4, 6}};
}

std::vector<FamilyFiles::Form> forms_of(const FamilyCase& family) {
  if (family.gguf.is_null()) return {FamilyFiles::kSafetensors};
  return {FamilyFiles::kSafetensors, FamilyFiles::kGguf};
}

class FamilyGolden : public ::testing::TestWithParam<std::size_t> {
 protected:
  const FamilyCase& family() const { return cases()[GetParam()]; }
};

TEST_P(FamilyGolden, TheReferenceIsWithinAThousandth) {
  for (const FamilyFiles::Form form : forms_of(family())) {
    const FamilyFiles files(family(), form);
    const Distance found = distance(family(), scores(family(), files.path(), {.cuts = cuts_of(family())[1]}));
    EXPECT_LE(found.mean_delta, 0.001) << "form " << form;
    EXPECT_GE(found.agreement, 0.95) << "form " << form;
    RecordProperty("mean_delta_" + std::to_string(form), std::to_string(found.mean_delta));
  }
}

TEST_P(FamilyGolden, ExactKernelsAreWithinTwoHundredths) {
  for (const std::string& isa : available_isas()) {
    for (const FamilyFiles::Form form : forms_of(family())) {
      const FamilyFiles files(family(), form);
      EXPECT_LE(distance(family(), scores(family(), files.path(), {.isa = isa})).mean_delta, 0.02) << isa;
    }
  }
}

TEST_P(FamilyGolden, AnyCutAndChunkGivesTheSameBits) {
  const FamilyFiles files(family(), family().gguf.is_null() ? FamilyFiles::kSafetensors : FamilyFiles::kGgufQ8);
  for (const std::string& isa : available_isas()) {
    const auto whole = scores(family(), files.path(), {.isa = isa, .precision = Precision::kFast});
    ASSERT_EQ(whole.size(), family().logprobs.size());
    for (const std::vector<int>& cuts : cuts_of(family())) {
      const Setting setting = {.isa = isa, .precision = Precision::kFast, .cuts = cuts, .chunk = 37};
      EXPECT_EQ(scores(family(), files.path(), setting), whole) << isa << ", " << cuts.size() + 1 << " stages";
    }
    // Int8 keeps what a boundary carries in bf16, so it must have been rounded without one, too.
    Setting small = {.isa = isa, .precision = Precision::kFast, .kv_type = KvType::kInt8};
    const auto small_whole = scores(family(), files.path(), small);
    small.cuts = cuts_of(family()).back();
    EXPECT_EQ(scores(family(), files.path(), small), small_whole) << isa << ", int8";
  }
}

TEST_P(FamilyGolden, AStageReadsItsOwnLayersAlone) {
  const StageOptions options = {.model_name = "toy", .max_rows = 200, .n_kv_blocks = 8};
  for (const FamilyFiles::Form form : forms_of(family())) {
    const FamilyFiles files(family(), form);
    const auto backend = cpu_backend("reference");
    Chain chain(*backend, files.path(), {1, 2}, options);
    SequenceRows rows = rows_of(1, 0, {1, 2, 3}, 0);
    rows.params = SamplingParams{.banned = {}};
    ASSERT_TRUE(chain.step({.step = {}, .slices = {rows}, .released = {}}).has_value());  // loads the stages
    const auto spec = read_decoder_spec(*open_checkpoint(files.path()));
    ASSERT_TRUE(spec.has_value());
    std::uint64_t total = 0;
    // Rows of this table lie over the layers of all stages: it counts as read, of which a mapped file reads the rows
    // that are looked up.
    const auto table = table_tensor(chain.checkpoint(0), *spec, {0, spec->n_layers(), true, true});
    const std::uint64_t table_bytes = *table ? (*table)->n_bytes : 0;
    for (std::size_t i = 0; i < chain.n_stages(); ++i) {
      const StageInfo info = chain.stage(i).info();
      EXPECT_LE(info.source_bytes_read, info.weight_bytes + table_bytes + chain.checkpoint(i).header_bytes())
          << "stage " << i;
      total += info.weight_bytes;
    }
    std::uint64_t all = 0;
    for (const TensorInfo& tensor : chain.checkpoint(0).tensors()) {
      const bool is_twice = spec->tied_head && tensor.name == head_name(*spec);
      const bool is_everywhere =
          tensor.name.find("per_layer_proj") != std::string::npos && tensor.name.ends_with("_norm.weight");
      if (tensor.name.starts_with("rope_f")) continue;
      all += tensor.n_bytes * (is_everywhere ? chain.n_stages() : is_twice ? 2 : 1);
    }
    EXPECT_EQ(total, all) << "every tensor once, a tied head on both ends";
  }
}

TEST_P(FamilyGolden, AChangeOfAnyKindOfTensorIsSeen) {
  FamilyCase changed = family();
  for (const char* part : {"embed_tokens",
                           "lm_head",
                           "q_proj.weight",
                           "k_proj.weight",
                           "v_proj.weight",
                           "o_proj.weight",
                           "q_proj.bias",
                           "k_proj.bias",
                           "v_proj.bias",
                           "o_proj.bias",
                           "q_norm",
                           "k_norm",
                           "gate_proj",
                           "up_proj",
                           "down_proj",
                           "input_layernorm",
                           "post_attention_layernorm",
                           "model.norm",
                           "qkv_proj",
                           "pre_feedforward_layernorm",
                           "post_feedforward_layernorm",
                           "mlp.gate.weight",
                           "experts.3.down_proj",
                           "shared_expert.",
                           "shared_expert_gate",
                           "self_attn.sinks",
                           "mlp.router.weight",
                           "mlp.router.bias",
                           "experts.gate_up_proj_bias",
                           "experts.down_proj_bias",
                           "_blocks",
                           "_scales",
                           "router.proj",
                           "router.scale",
                           "per_expert_scale",
                           "experts.gate_up_proj",
                           "experts.down_proj",
                           "post_feedforward_layernorm_1",
                           "post_feedforward_layernorm_2",
                           "pre_feedforward_layernorm_2",
                           "layer_scalar",
                           "embed_tokens_per_layer",
                           "per_layer_model_projection",
                           "per_layer_projection_norm",
                           "per_layer_input_gate",
                           "per_layer_projection.weight",
                           "post_per_layer_input_norm",
                           "in_proj_qkv",
                           "in_proj_z",
                           "in_proj_a",
                           "in_proj_b",
                           "A_log",
                           "dt_bias",
                           "conv1d",
                           "linear_attn.norm",
                           "out_proj"}) {
    const std::string shapes = dump_json(family().shapes);
    if (shapes.find(part) == std::string::npos) continue;
    changed.altered = part;
    const FamilyFiles files(changed, FamilyFiles::kSafetensors);
    EXPECT_GT(distance(family(), scores(family(), files.path(), {})).mean_delta, 0.001) << part;
  }
}

TEST_P(FamilyGolden, AnotherMultiplierOrListIsSeen) {
  FamilyCase changed = family();
  Json& config = changed.config;
  for (const char* key : {"embedding_multiplier", "residual_multiplier", "attention_multiplier", "logits_scaling",
                          "no_rope_layers", "attn_logit_softcapping", "final_logit_softcapping",
                          "query_pre_attn_scalar", "num_experts_per_tok", "norm_topk_prob"}) {
    config = family().config;
    if (!config.contains(key) || config[key].is_null()) continue;
    if (config[key].is_array()) {
      config[key][0] = 1 - config[key][0].get<int>();
    } else if (config[key].is_boolean()) {
      config[key] = !config[key].get<bool>();
    } else if (config[key].is_number_integer()) {
      config[key] = config[key].get<int>() - 1;
    } else {
      config[key] = config[key].get<double>() * 1.25;
    }
    const FamilyFiles files(changed, FamilyFiles::kSafetensors);
    EXPECT_GT(distance(family(), scores(family(), files.path(), {})).mean_delta, 0.001) << key;
  }
}

TEST_P(FamilyGolden, AnotherWindowOrRotationIsSeen) {
  const auto expect_seen = [&](const Json& config, std::string_view what) {
    FamilyCase changed = family();
    changed.config = config;
    const FamilyFiles files(changed, FamilyFiles::kSafetensors);
    EXPECT_GT(distance(family(), scores(family(), files.path(), {})).mean_delta, 0.001) << what;
  };
  Json config = family().config;
  if (config.contains("sliding_window") && !config["sliding_window"].is_null() && config["sliding_window"] != 0) {
    config["sliding_window"] = config["sliding_window"].get<int>() - 4;
    expect_seen(config, "sliding_window");
  }
  // One rotation for all layers, or one for each kind of them.
  std::vector<Json::json_pointer> ropes = {Json::json_pointer("/rope_parameters")};
  if (config["rope_parameters"].contains("full_attention"))
    ropes = {ropes[0] / "full_attention", ropes[0] / "sliding_attention"};
  for (const Json::json_pointer& rope : ropes) {
    config = family().config;
    config[rope]["rope_theta"] = config[rope]["rope_theta"].get<double>() * 2;
    expect_seen(config, (rope / "rope_theta").to_string());
    config = family().config;
    if (config[rope]["rope_type"] == "default") continue;
    config[rope] = {{"rope_type", "default"}, {"rope_theta", config[rope]["rope_theta"]}};
    expect_seen(config, (rope / "rope_type").to_string());
  }
}

std::vector<std::size_t> indices() {
  std::vector<std::size_t> all(cases().size());
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = i;
  return all;
}

INSTANTIATE_TEST_SUITE_P(Families, FamilyGolden, ::testing::ValuesIn(indices()), [](const auto& made) {
  std::string name = cases()[made.param].name;
  std::ranges::replace(name, '-', '_');
  return name;
});

}  // namespace
}  // namespace commissure::testing
