#include <gtest/gtest.h>

#include <filesystem>

#include "core/index.h"
#include "model/layer_weights.h"
#include "support/stage_fixture.h"
#include "weights/model_writer.h"

// Stages that quantise their weights while they load them.

namespace commissure::testing {
namespace {

constexpr int kPrompt = 70;

StageOptions options() { return {.model_name = "toy", .max_rows = 96, .n_kv_blocks = 4}; }

/// Tokens and log-probabilities of a prompt, so that one changed bit is seen.
std::vector<ScoredToken> run(Chain& chain, int n_vocab) {
  std::vector<int> tokens;
  for (int i = 0; i < kPrompt; ++i) tokens.push_back((i * 37 + i * i % 7) % n_vocab);
  SequenceRows rows = rows_of(1, 0, tokens, 0);
  rows.params = SamplingParams{.n_logprobs = 5, .banned = {}};
  for (int i = 0; i < kPrompt; ++i) rows.targets.push_back(TokenId(tokens[to_size((i + 1) % kPrompt)]));
  const auto result = chain.step({.step = {}, .slices = {rows}, .released = {}});
  EXPECT_TRUE(result.has_value()) << (result ? "" : result.error().message());
  return result ? result->results[0].scored : std::vector<ScoredToken>();
}

/// A toy model's files in one of the two formats.
class Files {
 public:
  Files(const ToyModel& model, bool is_gguf) {
    if (is_gguf) {
      location_ = folder_.write("toy.gguf", toy_gguf(model));
      return;
    }
    folder_.write("config.json", toy_config(model));
    folder_.write("model.safetensors", toy_safetensors(model));
    location_ = folder_.path();
  }
  const std::string& location() const { return location_; }

 private:
  TempFolder folder_;
  std::string location_;
};

std::unique_ptr<Checkpoint> quantised(const std::string& location, const std::string& name) {
  auto checkpoint = open_checkpoint(location);
  const auto spec = read_decoder_spec(*checkpoint);
  CHECK(spec.has_value());
  const auto done = quantise_at_load(*checkpoint, *spec, {0, spec->n_layers(), true, true}, *parse_quant(name));
  CHECK(done.has_value());
  return checkpoint;
}

class Quantised : public ::testing::TestWithParam<std::string> {};

TEST_P(Quantised, AnyCutGivesTheSameBits) {
  const auto backend = cpu_backend(GetParam());
  for (const bool is_gguf : {false, true}) {
    const ToyModel model{.is_gemma = is_gguf, .tied_head = is_gguf};
    const Files files(model, is_gguf);
    for (const char* quant : {"int8", "nf4", "nf4+head"}) {
      Chain whole(*backend, files.location(), {}, options(), KvType::kBF16, Precision::kFast, quant);
      const auto expected = run(whole, model.n_vocab);
      ASSERT_EQ(expected.size(), to_size(kPrompt));
      Chain three(*backend, files.location(), {2, 5}, options(), KvType::kBF16, Precision::kFast, quant);
      EXPECT_EQ(run(three, model.n_vocab), expected) << quant;
    }
  }
}

TEST_P(Quantised, WhatWasWrittenOnceGivesTheBitsOfEveryLoad) {
  const auto backend = cpu_backend(GetParam());
  for (const bool is_gguf : {false, true}) {
    const ToyModel model{.is_gemma = !is_gguf};
    const Files files(model, is_gguf);
    for (const char* quant : {"int8", "nf4"}) {
      Chain loaded(*backend, files.location(), {3}, options(), KvType::kBF16, Precision::kExact, quant);
      const TempFolder folder;
      const std::string out = folder.path() + "/out";
      ASSERT_TRUE(write_model(*quantised(files.location(), quant), out, {}).has_value());
      Chain written(*backend, out, {3}, options(), KvType::kBF16, Precision::kExact);
      EXPECT_EQ(run(written, model.n_vocab), run(loaded, model.n_vocab)) << quant;
      EXPECT_EQ(written.stage(0).info().fingerprint, loaded.stage(0).info().fingerprint);
      EXPECT_EQ(written.stage(1).info().weight_bytes, loaded.stage(1).info().weight_bytes);
    }
  }
}

TEST_P(Quantised, StagesOfOneChainMayDiffer) {
  const auto backend = cpu_backend(GetParam());
  const ToyModel model;
  const Files files(model, false);
  Chain mixed(*backend, files.location(), {2, 5}, options(), KvType::kBF16, Precision::kFast, "int8,nf4,none");
  std::vector<StageInfo> stages;
  for (std::size_t i = 0; i < mixed.n_stages(); ++i) stages.push_back(mixed.stage(i).info());
  EXPECT_TRUE(stages[0].fingerprint.ends_with("+int8")) << stages[0].fingerprint;
  EXPECT_TRUE(stages[1].fingerprint.ends_with("+nf4"));
  EXPECT_EQ(stages[2].fingerprint.find('+'), std::string::npos);
  EXPECT_TRUE(validate_chain(stages).has_value());

  // The same stages one after the other in one process.
  auto checkpoint = open_checkpoint(files.location());
  const auto spec = read_decoder_spec(*checkpoint);
  ASSERT_TRUE(quantise_at_load(*checkpoint, *spec, {0, 2, true, false}, *parse_quant("int8")).has_value());
  ASSERT_TRUE(quantise_at_load(*checkpoint, *spec, {2, 5, false, false}, *parse_quant("nf4")).has_value());
  const TempFolder folder;
  ASSERT_TRUE(write_model(*checkpoint, folder.path() + "/out", {}).has_value());
  Chain whole(*backend, folder.path() + "/out", {}, options());
  EXPECT_EQ(run(whole, model.n_vocab), run(mixed, model.n_vocab));
}

TEST_P(Quantised, IsNotFarFromWhatItWasMadeFrom) {
  const auto backend = cpu_backend(GetParam());
  const ToyModel model;
  const Files files(model, true);
  const auto logprobs = [&](const char* quant) {
    Chain chain(*backend, files.location(), {}, options(), KvType::kBF16, Precision::kExact, quant);
    return run(chain, model.n_vocab);
  };
  const auto exact = logprobs("none"), int8 = logprobs("int8"), nf4 = logprobs("nf4");
  double int8_delta = 0, nf4_delta = 0;
  for (std::size_t i = 0; i < exact.size(); ++i) {
    int8_delta += std::abs(double{exact[i].chosen.logprob} - int8[i].chosen.logprob) / kPrompt;
    nf4_delta += std::abs(double{exact[i].chosen.logprob} - nf4[i].chosen.logprob) / kPrompt;
  }
  EXPECT_GT(int8_delta, 0.0);
  EXPECT_LT(int8_delta, 0.05);
  EXPECT_GT(nf4_delta, int8_delta);
  EXPECT_LT(nf4_delta, 0.5);
}

TEST_P(Quantised, AStandInForATargetChangesNoBitOfTheTokenThatIsDrawn) {
  const auto backend = cpu_backend(GetParam());
  const ToyModel model{.d_model = 256, .n_vocab = 300, .tied_head = false, .matrices = DType::kQ8_0, .head_gain = 4.0f};
  const Files files(model, true);
  const auto drawn = [&](std::optional<int> stand_in) {
    Chain chain(*backend, files.location(), {}, options());
    SequenceRows rows = rows_of(1, 0, {5, 17, 3}, 0);
    rows.params = SamplingParams{.n_logprobs = 5, .banned = {}};
    rows.sample = true;
    if (stand_in) rows.targets = {TokenId(17), TokenId(3), TokenId(*stand_in)};
    const auto result = chain.step({.step = {}, .slices = {rows}, .released = {}});
    CHECK(result.has_value());
    return *result->results[0].sampled;
  };
  const ScoredToken expected = drawn({});
  for (int token = 0; token < model.n_vocab; token += 7) EXPECT_EQ(drawn(token), expected) << token;
}

INSTANTIATE_TEST_SUITE_P(Isas, Quantised, ::testing::ValuesIn(available_isas()),
                         [](const auto& made) { return made.param; });

TEST(QuantiseAtLoad, TakesMatricesOfLayersAndTheHeadWhenAsked) {
  const Files files({.tied_head = false}, true);
  const auto dtype = [&](const char* quant, const char* tensor) {
    return quantised(files.location(), quant)->find(tensor)->dtype;
  };
  EXPECT_EQ(dtype("int8", "blk.0.attn_q.weight"), DType::kQ8_0);
  EXPECT_EQ(dtype("nf4", "blk.6.ffn_up.weight"), DType::kNF4);
  EXPECT_EQ(dtype("nf4", "blk.6.ffn_down.weight"), DType::kQ8_0) << "rows of 96 are no whole blocks of 64";
  for (const char* as_stored : {"blk.0.attn_norm.weight", "output_norm.weight", "token_embd.weight"}) {
    EXPECT_EQ(dtype("nf4+head", as_stored), DType::kF32) << as_stored;
  }
  EXPECT_EQ(dtype("nf4", "output.weight"), DType::kF32);
  EXPECT_EQ(dtype("nf4+head", "output.weight"), DType::kNF4);
}

TEST(QuantiseAtLoad, RefusesAModelThatIsQuantisedAlready) {
  const Files files({.matrices = DType::kQ8_0}, true);
  auto checkpoint = open_checkpoint(files.location());
  const auto spec = read_decoder_spec(*checkpoint);
  const auto done = quantise_at_load(*checkpoint, *spec, {0, spec->n_layers(), true, true}, *parse_quant("nf4"));
  ASSERT_FALSE(done.has_value());
  EXPECT_EQ(done.error().code(), Code::kInvalidArgument);
  EXPECT_NE(done.error().message().find("quantised already (blk.0.attn_q.weight is Q8_0)"), std::string::npos)
      << done.error().message();
  EXPECT_EQ(checkpoint->quantised_fingerprint(), checkpoint->fingerprint());
}

TEST(QuantiseAtLoad, ATiedHeadIsOneThingToTheFirstStageAndTheLast) {
  const auto tied = read_decoder_spec(*open_checkpoint(Files({.tied_head = true}, true).location()));
  const auto own = read_decoder_spec(*open_checkpoint(Files({.tied_head = false}, true).location()));
  for (const char* same : {"int8+head", "int8,nf4,none", "nf4+head,none,nf4+head", "none,nf4+head,int8"}) {
    EXPECT_TRUE(check_stage_quants(*tied, *parse_quants(same, 3)).has_value()) << same;
  }
  for (const char* differs : {"int8+head,int8,int8", "none,none,nf4+head", "int8+head,none,nf4+head"}) {
    const auto wishes = parse_quants(differs, 3);
    EXPECT_TRUE(check_stage_quants(*own, *wishes).has_value()) << differs;
    const Status refused = check_stage_quants(*tied, *wishes);
    ASSERT_FALSE(refused.has_value()) << differs;
    EXPECT_EQ(refused.error().code(), Code::kInvalidArgument);
    EXPECT_NE(refused.error().message().find("the first stage is"), std::string::npos) << refused.error().message();
  }
}

TEST(QuantiseAtLoad, ALayerThatIsPartlyStoredQuantisedIsRefusedAtLoad) {
  const Files files(ToyModel{}, false);
  auto before = open_checkpoint(files.location());
  before->quantise("model.layers.1.self_attn.q_proj.weight", DType::kQ8_0);
  const TempFolder folder;
  ASSERT_TRUE(write_model(*before, folder.path() + "/out", {}).has_value());
  const auto backend = cpu_backend("generic");
  const auto load = [&](const char* made) {
    auto mixed = open_checkpoint(folder.path() + "/out");
    mixed->quantise(made, DType::kNF4);
    const auto spec = read_decoder_spec(*mixed);
    return load_weights(*backend, *mixed, *spec, {0, spec->n_layers(), true, true}, {});
  };
  const auto refused = load("model.layers.1.self_attn.k_proj.weight");
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), Code::kDataLoss);
  for (const char* name : {"model.layers.1.self_attn.q_proj.weight", "model.layers.1.self_attn.k_proj.weight"}) {
    EXPECT_NE(refused.error().message().find(name), std::string::npos) << refused.error().message();
  }
  EXPECT_TRUE(load("model.layers.2.self_attn.k_proj.weight").has_value()) << "another layer's";
}

TEST(QuantiseAtLoad, RefusesATensorOfSeveralMatrices) {
  const Files files(ToyModel{}, false);
  auto checkpoint = open_checkpoint(files.location());
  auto spec = read_decoder_spec(*checkpoint);
  spec->naming.fused_qkv = true;
  const auto done = quantise_at_load(*checkpoint, *spec, {0, spec->n_layers(), true, true}, *parse_quant("int8"));
  ASSERT_FALSE(done.has_value());
  EXPECT_EQ(done.error().code(), Code::kUnimplemented);
  EXPECT_NE(done.error().message().find("holds several matrices"), std::string::npos) << done.error().message();
}

TEST(QuantiseAtLoad, RefusesExperts) {
  const Files files(ToyModel{}, false);
  auto checkpoint = open_checkpoint(files.location());
  auto spec = read_decoder_spec(*checkpoint);
  for (LayerSpec& layer : spec->layers) layer.experts.n_experts = 4;
  const auto done = quantise_at_load(*checkpoint, *spec, {0, spec->n_layers(), true, true}, *parse_quant("int8"));
  ASSERT_FALSE(done.has_value());
  EXPECT_EQ(done.error().code(), Code::kUnimplemented);
  EXPECT_NE(done.error().message().find("belongs to experts"), std::string::npos) << done.error().message();
}

TEST(QuantiseAtLoad, RowsOfATensorThatIsMadeAreNotHandedOut) {
  const Files files(ToyModel{}, false);
  auto checkpoint = open_checkpoint(files.location());
  auto spec = read_decoder_spec(*checkpoint);
  spec->naming.fused_qkv = true;
  const std::string name = "model.layers.0.self_attn.qkv_proj.weight";
  const TempFolder folder;
  folder.write("config.json", toy_config(ToyModel{}));
  folder.write("model.safetensors",
               safetensors_bytes({float_tensor("model.embed_tokens.weight", {100, 64}, std::vector<float>(6400)),
                                  float_tensor("model.layers.0.input_layernorm.weight", {64}, std::vector<float>(64)),
                                  float_tensor(name, {256, 64}, std::vector<float>(256 * 64))}));
  auto fused = open_checkpoint(folder.path());
  const ModelPart first = {0, 1, false, false};
  const auto plain = part_tensors(*fused, *spec, first);
  fused->quantise(name, DType::kNF4);
  const auto made = part_tensors(*fused, *spec, first);
  ASSERT_FALSE(plain.has_value() || made.has_value());  // tensors behind it are missing
  EXPECT_NE(plain.error().message().find("o_proj.weight is missing"), std::string::npos) << plain.error().message();
  EXPECT_NE(made.error().message().find("holds several matrices"), std::string::npos) << made.error().message();
}

TEST(QuantiseAtLoad, AsksForTheQuantisedBytesAlone) {
  const Files files(ToyModel{}, false);
  const auto plain = open_checkpoint(files.location()), made = quantised(files.location(), "int8");
  EXPECT_EQ(made->fingerprint(), plain->fingerprint());
  EXPECT_EQ(made->quantised_fingerprint(), plain->fingerprint() + "+int8");
  const TensorInfo& tensor = *made->find("model.layers.0.mlp.up_proj.weight");
  EXPECT_EQ(tensor.n_bytes, 96u * 64 / 32 * 34);
  const auto bytes = made->load(tensor);
  ASSERT_TRUE(bytes.has_value());
  EXPECT_EQ(bytes->bytes.size(), tensor.n_bytes);
  EXPECT_TRUE(made->is_made(tensor));
  EXPECT_FALSE(made->is_made(*made->find("model.embed_tokens.weight")));
}

}  // namespace
}  // namespace commissure::testing
