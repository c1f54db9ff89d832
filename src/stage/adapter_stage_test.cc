#include <gtest/gtest.h>

#include <cmath>
#include <thread>

#include "support/checkpoint_writer.h"
#include "support/stage_fixture.h"
#include "support/toy_values.h"

namespace commissure::testing {
namespace {

/// A PEFT adapter of a toy model's queries, values and downs.
class ToyAdapter {
 public:
  ToyAdapter(const ToyModel& model, int rank, bool is_dora, std::uint64_t seed) {
    std::vector<ToyTensor> tensors;
    const auto put = [&](const std::string& module, std::int64_t n_outputs, std::int64_t n_inputs) {
      const auto add = [&](const std::string& end, const std::vector<std::int64_t>& shape, float centre, float factor) {
        std::vector<float> values = noise(module + end, seed, shape[0] * (shape.size() > 1 ? shape[1] : 1));
        for (float& value : values) value = centre + factor * value;
        tensors.push_back(float_tensor("base_model.model." + module + end, shape, values));
      };
      add(".lora_A.weight", {rank, n_inputs}, 0.0f, 2.0f / std::sqrt(static_cast<float>(n_inputs)));
      add(".lora_B.weight", {n_outputs, rank}, 0.0f, 1.0f);
      if (is_dora) add(".lora_magnitude_vector", {n_outputs}, 1.0f, 0.5f);
    };
    for (int layer = 0; layer < model.n_layers; ++layer) {
      const std::string prefix = "model.layers." + std::to_string(layer) + ".";
      put(prefix + "self_attn.q_proj", model.n_heads * model.head_dim, model.d_model);
      put(prefix + "self_attn.v_proj", model.n_kv_heads * model.head_dim, model.d_model);
      put(prefix + "mlp.down_proj", model.d_model, model.d_ff);
    }
    folder_.write("adapter_config.json", R"({"peft_type":"LORA","r":)" + std::to_string(rank) + R"(,"lora_alpha":)" +
                                             std::to_string(rank) + R"(,"use_dora":)" + (is_dora ? "true}" : "false}"));
    folder_.write("adapter_model.safetensors", safetensors_bytes(tensors));
  }
  const std::string& path() const { return folder_.path(); }

 private:
  TempFolder folder_;
};

const ToyModel kModel = {.n_layers = 4, .matrices = DType::kQ8_0};

StageOptions options() { return {.model_name = "toy", .max_rows = 96, .n_kv_blocks = 64}; }

/// A sequence with the adapter of its rows.
struct Asked {
  std::uint64_t sequence;
  AdapterUse adapter;
  int n_prompt;
};

/// Prompts in one step, then some steps that decode one row of each sequence; every number a sequence gives.
std::vector<std::vector<ScoredToken>> run(Chain& chain, const std::vector<Asked>& asked, int n_decode = 3) {
  std::vector<std::vector<ScoredToken>> found(asked.size());
  const auto step = [&](int from) {
    StepBatch batch;
    for (std::size_t i = 0; i < asked.size(); ++i) {
      const int n = from < 0 ? asked[i].n_prompt : 1, first = from < 0 ? 0 : asked[i].n_prompt + from;
      std::vector<int> tokens;
      for (int t = 0; t < n; ++t) {
        tokens.push_back(static_cast<int>((asked[i].sequence * 31 + static_cast<std::uint64_t>(first + t) * 7) % 100));
      }
      SequenceRows rows = rows_of(asked[i].sequence, first, tokens, static_cast<int>(asked[i].sequence) * 2);
      rows.params = SamplingParams{.n_logprobs = 3, .banned = {}};
      if (from >= 0) rows.params = std::nullopt;
      rows.sample = true;
      rows.adapter = asked[i].adapter;
      batch.slices.push_back(std::move(rows));
    }
    const auto result = chain.step(std::move(batch));
    EXPECT_TRUE(result.has_value()) << (result ? "" : result.error().message());
    for (std::size_t i = 0; result && i < asked.size(); ++i) found[i].push_back(*result->results[i].sampled);
  };
  for (int from = -1; from < n_decode; ++from) step(from);
  return found;
}

TEST(AdapterStage, ARowsBitsAreThoseOfItsAdapterWhateverIsBeside) {
  const ToyFile file(kModel);
  const ToyAdapter plain(kModel, 4, false, 1), dora(kModel, 9, true, 2);
  for (const std::string& isa : available_isas()) {
    const auto backend = cpu_backend(isa, 2);
    const auto fresh = [&](const std::vector<int>& cuts) {
      return std::make_unique<Chain>(*backend, file.path(), cuts, options());
    };
    const AdapterId a = *adapter_id(plain.path()), b = *adapter_id(dora.path());
    const std::vector<Asked> all = {{1, {}, 20}, {2, {a}, 9}, {3, {b}, 30}, {4, {a, 0.5f}, 5}, {5, {a}, 7}, {6, {}, 1}};
    const auto chain = fresh({2});
    for (const ToyAdapter* adapter : {&plain, &dora}) ASSERT_TRUE(chain->load_adapter(adapter->path()).has_value());
    const auto together = run(*chain, all);
    for (std::size_t i = 0; i < all.size(); ++i) {
      const auto alone = fresh({});
      if (all[i].adapter) {
        ASSERT_TRUE(alone->load_adapter(all[i].adapter.id == a ? plain.path() : dora.path()).has_value());
      }
      EXPECT_EQ(run(*alone, {all[i]})[0], together[i]) << isa << ": sequence " << all[i].sequence;
    }
    const auto base = fresh({});
    EXPECT_NE(run(*base, {{2, {}, 9}})[0], together[1]) << "an adapter shows";
  }
}

TEST(AdapterStage, PrefillInAnyChunksAndDecodeGiveTheSameBits) {
  const ToyFile file(kModel);
  const ToyAdapter dora(kModel, 9, true, 2);
  const auto backend = cpu_backend(available_isas().back(), 2);
  const auto scored = [&](int chunk) {
    Chain chain(*backend, file.path(), {1}, options());
    const AdapterId id = chain.load_adapter(dora.path()).value();
    std::vector<ScoredToken> all;
    for (int first = 0; first < 70; first += chunk) {
      std::vector<int> tokens;
      for (int i = first; i < std::min(70, first + chunk); ++i) tokens.push_back(i * 13 % 100);
      SequenceRows rows = rows_of(1, first, tokens, 0);
      rows.params = SamplingParams{.n_logprobs = 3, .banned = {}};
      rows.targets.assign(tokens.size(), TokenId(1));
      rows.adapter = {id};
      const auto result = chain.step({.step = {}, .slices = {rows}, .released = {}});
      EXPECT_TRUE(result.has_value());
      if (result) all.insert(all.end(), result->results[0].scored.begin(), result->results[0].scored.end());
    }
    return all;
  };
  const auto whole = scored(70);
  ASSERT_EQ(whole.size(), 70u);
  for (const int chunk : {1, 16, 33}) EXPECT_EQ(scored(chunk), whole) << chunk;
}

TEST(AdapterStage, AtScaleZeroTheBaseModelAnswers) {
  const ToyFile file(kModel);
  const ToyAdapter plain(kModel, 4, false, 1);
  const auto backend = cpu_backend("reference");
  Chain chain(*backend, file.path(), {}, options());
  const AdapterId id = chain.load_adapter(plain.path()).value();
  const auto found = run(chain, {{1, {}, 9}});
  EXPECT_EQ(run(chain, {{1, {id, 0.0f}, 9}}), found);
}

TEST(AdapterStage, AnAdapterThatIsNotLoadedFailsTheStepAndNoMore) {
  const ToyFile file(kModel);
  const ToyAdapter plain(kModel, 4, false, 1);
  const auto backend = cpu_backend("reference");
  Chain chain(*backend, file.path(), {}, options());
  const auto step = [&](AdapterUse adapter) {
    SequenceRows rows = rows_of(1, 0, {1, 2, 3}, 0);
    rows.params = SamplingParams{.banned = {}};
    rows.sample = true;
    rows.adapter = adapter;
    return chain.step({.step = {}, .slices = {rows}, .released = {}});
  };
  const auto unknown = step({AdapterId(0xabc)});
  ASSERT_FALSE(unknown.has_value());
  EXPECT_EQ(unknown.error().code(), Code::kNotFound);
  EXPECT_NE(unknown.error().message().find("adapter 0000000000000abc is not loaded on this stage"), std::string::npos);
  const AdapterId id = chain.load_adapter(plain.path()).value();
  EXPECT_TRUE(step({id}).has_value()) << "the sequence is as before";
  EXPECT_EQ(step({id, NAN}).error().code(), Code::kInvalidArgument);
  chain.drop_adapter(id);
  chain.drop_adapter(id);
  EXPECT_EQ(step({id}).error().code(), Code::kNotFound);
}

TEST(AdapterStage, EveryStageReadsItsOwnLayersOnce) {
  const ToyFile file(kModel);
  const ToyAdapter dora(kModel, 16, true, 1);
  const auto backend = cpu_backend("reference");
  const AdapterSource source = {.id = *adapter_id(dora.path()), .name = "toy", .path = dora.path()};
  const auto bytes_of = [&](Chain& chain, std::size_t stage) {
    return chain.stage(stage).load_adapter(source).value();
  };
  Chain whole(*backend, file.path(), {}, options()), cut(*backend, file.path(), {1}, options());
  ASSERT_TRUE(whole.load_adapter(dora.path()).has_value() && cut.load_adapter(dora.path()).has_value());
  EXPECT_EQ(bytes_of(whole, 0), bytes_of(cut, 0) + bytes_of(cut, 1));
  EXPECT_EQ(3 * bytes_of(cut, 0), bytes_of(cut, 1));
  const std::uint64_t query = 16 * (64 + 128) + 128, value = 16 * (64 + 64) + 64, down = 16 * (96 + 64) + 64;
  EXPECT_EQ(bytes_of(cut, 0), sizeof(float) * (query + value + down));
}

TEST(AdapterStage, WhatCannotBeLoadedIsRefused) {
  const ToyFile file(kModel);
  const ToyAdapter plain(kModel, 4, false, 1), wide({.n_layers = 4, .d_ff = 128}, 4, false, 1);
  const ToyAdapter deep({.n_layers = 5}, 4, false, 1);
  const auto backend = cpu_backend("reference");
  Chain chain(*backend, file.path(), {2}, options());
  const AdapterSource source = {.id = *adapter_id(plain.path()), .name = "toy", .path = plain.path()};
  EXPECT_EQ(chain.stage(0).load_adapter(source).error().code(), Code::kUnavailable) << "a cold stage";
  ASSERT_TRUE(chain.load_adapter(plain.path()).has_value());
  AdapterSource other = source;
  other.id = AdapterId(1);
  const auto found = chain.stage(0).load_adapter(other);
  ASSERT_FALSE(found.has_value());
  EXPECT_EQ(found.error().code(), Code::kInvalidArgument);
  EXPECT_NE(found.error().message().find("every stage needs the same files"), std::string::npos);
  EXPECT_EQ(chain.load_adapter("/nowhere").error().code(), Code::kNotFound);
  EXPECT_EQ(chain.load_adapter(wide.path()).error().code(), Code::kInvalidArgument);
  EXPECT_EQ(chain.load_adapter(deep.path()).error().code(), Code::kUnimplemented);
#if defined(COMMISSURE_EMULATED_CUDA)
  const auto gpu = cpu_backend("emulated");
  Chain on_gpu(*gpu, file.path(), {}, options());
  EXPECT_EQ(on_gpu.load_adapter(plain.path()).error().code(), Code::kUnimplemented);
#endif
}

TEST(AdapterStage, AdaptersComeAndGoWhileStepsRun) {
  const ToyFile file(kModel);
  const ToyAdapter plain(kModel, 4, false, 1), dora(kModel, 9, true, 2);
  const auto backend = cpu_backend(available_isas().back(), 2);
  Chain chain(*backend, file.path(), {}, options());
  const AdapterId a = chain.load_adapter(plain.path()).value();
  const auto expected = run(chain, {{1, {a}, 20}, {2, {}, 5}});
  std::jthread loader([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      const auto id = chain.load_adapter(dora.path());
      EXPECT_TRUE(id.has_value());
      if (id) chain.drop_adapter(*id);
    }
  });
  for (int i = 0; i < 20; ++i) EXPECT_EQ(run(chain, {{1, {a}, 20}, {2, {}, 5}}), expected);
}

}  // namespace
}  // namespace commissure::testing
