#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <tuple>

#include "core/index.h"
#include "stage/stage_memory.h"
#include "support/stage_fixture.h"

namespace commissure::testing {
namespace {

constexpr int kPrompt = 150;  // crosses two block borders and the window

std::vector<int> prompt(int n, int n_vocab, int salt) {
  std::vector<int> tokens;
  for (int i = 0; i < n; ++i) tokens.push_back((i * 37 + salt * 11 + i * i % 7) % n_vocab);
  return tokens;
}

/// Every number a run shows: tokens and all their log-probabilities, so that one changed bit is seen.
using Trace = std::vector<ScoredToken>;

/// Feeds `tokens` in chunks, scoring every row, then decodes `n_decode` tokens.
Trace run_alone(Chain& chain, const std::vector<int>& tokens, int chunk, int n_decode) {
  Trace trace;
  const SamplingParams params{.temperature = 0.8f, .top_k = 20, .seed = 7, .n_logprobs = 5, .banned = {}};
  const int n = count_of(tokens);
  int last = 0;
  for (int first = 0; first < n; first += chunk) {
    const int end = std::min(n, first + chunk);
    SequenceRows rows = rows_of(1, first, {tokens.begin() + first, tokens.begin() + end}, 0);
    rows.params = params;
    rows.sample = end == n;
    for (int i = first; i < end; ++i) rows.targets.push_back(TokenId(tokens[(i + 1) % n]));
    const auto result = chain.step({.step = {}, .slices = {rows}, .released = {}});
    EXPECT_TRUE(result.has_value()) << (result ? "" : result.error().message());
    if (!result) return trace;
    for (const ScoredToken& scored : result->results[0].scored) trace.push_back(scored);
    if (end == n) trace.push_back(*result->results[0].sampled);
  }
  for (int i = 0; i < n_decode; ++i) {
    last = trace.back().chosen.token.value;
    SequenceRows rows = rows_of(1, n + i, {last}, 0);
    rows.sample = true;
    const auto result = chain.step({.step = {}, .slices = {rows}, .released = {}});
    EXPECT_TRUE(result.has_value());
    if (!result) return trace;
    trace.push_back(*result->results[0].sampled);
  }
  return trace;
}

StageOptions options() { return {.model_name = "toy", .max_rows = 160, .n_kv_blocks = 12}; }

/// Chains of one ISA's kernels and one type of KV.
class Split : public ::testing::TestWithParam<std::tuple<std::string, KvType>> {
 protected:
  static std::string isa() { return std::get<0>(GetParam()); }
  /// The emulated GPU takes a thousand times as long: it gets the smaller shapes.
  static bool is_slow() { return isa() == "emulated"; }
  static Chain chain_of(Backend& backend, const ToyFile& file, const std::vector<int>& cuts,
                        const StageOptions& wanted = options()) {
    return Chain(backend, file.path(), cuts, wanted, std::get<1>(GetParam()));
  }
};

TEST_P(Split, AnyCutGivesTheSameBits) {
  const auto backend = cpu_backend(isa());
  for (const bool is_gemma : {false, true}) {
    for (const DType dtype : {DType::kF32, DType::kQ8_0}) {
      if (is_slow() && (!is_gemma || dtype != DType::kQ8_0)) continue;
      const ToyModel model{.is_gemma = is_gemma, .matrices = dtype};
      const ToyFile file(model);
      const auto tokens = prompt(kPrompt, model.n_vocab, 1);
      Chain whole = chain_of(*backend, file, {});
      const Trace expected = run_alone(whole, tokens, 160, 6);
      ASSERT_EQ(expected.size(), kPrompt + 7u);
      for (const std::vector<int>& cuts : {std::vector<int>{2, 5}, {3}, {1, 2, 3, 4, 5, 6}}) {
        if (is_slow() && cuts.size() != 2) continue;
        Chain chain = chain_of(*backend, file, cuts);
        EXPECT_EQ(run_alone(chain, tokens, 160, 6), expected) << cuts.size() + 1 << " stages, gemma " << is_gemma;
      }
    }
  }
}

TEST_P(Split, AnyChunkingGivesTheSameBits) {
  const auto backend = cpu_backend(isa());
  for (const bool is_gemma : {false, true}) {
    if (is_slow() && !is_gemma) continue;
    const ToyModel model{.is_gemma = is_gemma, .n_layers = 2, .matrices = DType::kQ8_0};
    const ToyFile file(model);
    const auto tokens = prompt(kPrompt, model.n_vocab, 2);
    Chain chain = chain_of(*backend, file, {1});
    const Trace expected = run_alone(chain, tokens, 160, 3);
    for (const int chunk : {7, 63, 64, 65}) {
      if (is_slow() && chunk < 65) continue;
      EXPECT_EQ(run_alone(chain, tokens, chunk, 3), expected) << "chunks of " << chunk << ", gemma " << is_gemma;
    }
  }
}

TEST_P(Split, BlocksBehindTheWindowMayBeWrittenAgain) {
  const auto backend = cpu_backend(isa());
  const ToyModel model{.is_gemma = true, .matrices = DType::kQ8_0};  // a window of 24
  const ToyFile file(model);
  const int n_tokens = is_slow() ? 200 : 500;
  const auto tokens = prompt(n_tokens, model.n_vocab, 3);
  StageOptions plenty = options();
  Chain whole = chain_of(*backend, file, {2}, plenty);
  const Trace expected = run_alone(whole, tokens, 64, 0);
  StageOptions ring = plenty;
  ring.n_window_blocks = 2;
  Chain chain = chain_of(*backend, file, {2}, ring);
  Trace trace;
  for (int first = 0; first < n_tokens; first += 64) {
    const std::vector<int> chunk(tokens.begin() + first, tokens.begin() + std::min(first + 64, n_tokens));
    SequenceRows rows = rows_of(1, first, chunk, 0);
    rows.window_start = first / 64;
    rows.new_window_blocks = {BlockId(first / 64 % 2)};
    rows.params = SamplingParams{.temperature = 0.8f, .top_k = 20, .seed = 7, .n_logprobs = 5, .banned = {}};
    rows.sample = first + 64 >= n_tokens;
    for (std::size_t i = 0; i < chunk.size(); ++i) {
      rows.targets.push_back(TokenId(tokens[(first + i + 1) % n_tokens]));
    }
    const auto result = chain.step({.step = {}, .slices = {rows}, .released = {}});
    ASSERT_TRUE(result.has_value()) << result.error().message();
    for (const ScoredToken& scored : result->results[0].scored) trace.push_back(scored);
    if (rows.sample) trace.push_back(*result->results[0].sampled);
  }
  EXPECT_EQ(trace, expected);
}

TEST_P(Split, ThreadsDoNotChangeARow) {
  const ToyModel model{.is_gemma = true, .n_layers = 2, .matrices = DType::kQ8_0};
  const ToyFile file(model);
  const auto tokens = prompt(70, model.n_vocab, 6);
  const auto one = cpu_backend(isa(), 1), two = cpu_backend(isa(), 2);
  Chain a = chain_of(*one, file, {}), b = chain_of(*two, file, {});
  EXPECT_EQ(run_alone(a, tokens, 160, 1), run_alone(b, tokens, 160, 1));
}

TEST_P(Split, NeighboursDoNotChangeARow) {
  const auto backend = cpu_backend(isa());
  // So large a vocabulary that threads share the drawing of four tokens.
  const ToyModel model{.is_gemma = true, .n_vocab = is_slow() ? 330 : 33'000, .matrices = DType::kQ8_0};
  const ToyFile file(model);
  const SamplingParams params{.temperature = 0.8f, .top_p = 0.9f, .seed = 3, .n_logprobs = 5, .banned = {}};
  std::vector<std::vector<int>> prompts = {prompt(3, 100, 1), prompt(70, 100, 2), prompt(1, 100, 3),
                                           prompt(33, 100, 4)};
  std::vector<ScoredToken> alone, together;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    Chain chain = chain_of(*backend, file, {});
    SequenceRows rows = rows_of(i, 0, prompts[i], 0);
    rows.params = params;
    rows.sample = true;
    alone.push_back(*chain.step({.step = {}, .slices = {rows}, .released = {}})->results[0].sampled);
    SequenceRows next = rows_of(i, count_of(prompts[i]), {5}, 0);
    next.sample = true;
    alone.push_back(*chain.step({.step = {}, .slices = {next}, .released = {}})->results[0].sampled);
  }
  const auto two_threads = cpu_backend(isa(), 2);
  Chain chain = chain_of(*two_threads, file, {});
  StepBatch first, second;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    first.slices.push_back(rows_of(i, 0, prompts[i], static_cast<int>(3 * i)));
    first.slices.back().params = params;
    first.slices.back().sample = true;
    second.slices.push_back(rows_of(i, count_of(prompts[i]), {5}, static_cast<int>(3 * i)));
    second.slices.back().sample = true;
  }
  const auto a = chain.step(first), b = chain.step(second);
  ASSERT_TRUE(a && b);
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    together.push_back(*a->results[i].sampled);
    together.push_back(*b->results[i].sampled);
  }
  EXPECT_EQ(together, alone);
}

TEST_P(Split, PrefixHitsAndReplaysGiveTheSameBits) {
  const auto backend = cpu_backend(isa());
  for (const bool is_gemma : {false, true}) {
    if (is_slow() && !is_gemma) continue;
    const ToyModel model{.is_gemma = is_gemma, .n_layers = 2, .matrices = DType::kQ8_0};
    const ToyFile file(model);
    std::vector<int> tokens = prompt(kPrompt, model.n_vocab, 8);
    Chain chain = chain_of(*backend, file, {1});
    const Trace expected = run_alone(chain, tokens, 160, 6);
    ASSERT_EQ(expected.size(), kPrompt + 7u);
    const SamplingParams params{.temperature = 0.8f, .top_k = 20, .seed = 7, .n_logprobs = 5, .banned = {}};

    // Two blocks of the first sequence, then a block of its own.
    SequenceRows hit = rows_of(2, 128, {tokens.begin() + 128, tokens.end()}, 0);
    hit.table_start = 0;
    hit.new_blocks = {BlockId(0), BlockId(1), BlockId(5)};
    hit.params = params;
    hit.sample = true;
    const auto after_hit = chain.step({.step = {}, .slices = {hit}, .released = {}});
    ASSERT_TRUE(after_hit.has_value()) << after_hit.error().message();
    EXPECT_EQ(*after_hit->results[0].sampled, expected[kPrompt]);

    for (int i = 0; i < 3; ++i) tokens.push_back(expected[kPrompt + i].chosen.token.value);
    SequenceRows replay = rows_of(3, 0, tokens, 6);
    replay.params = params;
    replay.sample = true;
    const auto after_replay = chain.step({.step = {}, .slices = {replay}, .released = {}});
    ASSERT_TRUE(after_replay.has_value()) << after_replay.error().message();
    EXPECT_EQ(*after_replay->results[0].sampled, expected[kPrompt + 3]);
  }
}

INSTANTIATE_TEST_SUITE_P(EveryIsa, Split,
                         ::testing::Combine(::testing::ValuesIn(all_isas()),
                                            ::testing::Values(KvType::kBF16, KvType::kInt8)),
                         [](const auto& info) {
                           return std::get<0>(info.param) + "_" + std::string(kv_type_name(std::get<1>(info.param)));
                         });

TEST(KvTypes, Int8HoldsMoreBlocksAndChangesTheNumbersALittle) {
  const auto backend = cpu_backend("generic");
  const ToyModel model{.n_layers = 2};
  const ToyFile file(model);
  StageOptions sized = options();
  sized.n_kv_blocks = 0;
  sized.kv_bytes = 1 << 20;
  Chain wide(*backend, file.path(), {}, sized), narrow(*backend, file.path(), {}, sized, KvType::kInt8);
  EXPECT_EQ(wide.stage(0).info().kv_dtype, "bf16");
  EXPECT_EQ(narrow.stage(0).info().kv_dtype, "int8");
  EXPECT_GE(narrow.stage(0).kv().n_blocks, wide.stage(0).kv().n_blocks * 3 / 2);
  const auto tokens = prompt(100, model.n_vocab, 9);
  const Trace bf16 = run_alone(wide, tokens, 160, 0), int8 = run_alone(narrow, tokens, 160, 0);
  double total = 0.0;
  for (std::size_t i = 0; i < 100; ++i) {
    total += std::abs(static_cast<double>(bf16[i].chosen.logprob) - static_cast<double>(int8[i].chosen.logprob));
  }
  EXPECT_GT(total, 0.0);
  EXPECT_LT(total / 100, 0.02);
}

TEST(Formats, GiveTheSameNumbersForTheSameWeights) {
  const auto backend = cpu_backend("reference");
  for (const bool is_gemma : {false, true}) {
    for (const bool tied : {false, true}) {
      const ToyModel model{.is_gemma = is_gemma, .tied_head = tied};
      const ToyFile gguf(model);
      const TempFolder folder;
      folder.write("config.json", toy_config(model));
      folder.write("model.safetensors", toy_safetensors(model));
      Chain a(*backend, gguf.path(), {}, options());
      Chain b(*backend, folder.path(), {3}, options());
      const auto tokens = prompt(80, model.n_vocab, 5);
      const Trace from_gguf = run_alone(a, tokens, 160, 3), from_safetensors = run_alone(b, tokens, 160, 3);
      ASSERT_EQ(from_gguf.size(), from_safetensors.size());
      for (std::size_t i = 0; i < from_gguf.size(); ++i) {
        // Permuted heads sum q.k in another order; the bf16 residual turns that into at most a few of its ulps.
        EXPECT_NEAR(from_gguf[i].chosen.logprob, from_safetensors[i].chosen.logprob, is_gemma ? 0.0f : 0.05f);
      }
    }
  }
}

TEST(Heads, OfAnyEvenWidthGiveTheReferencesNumbers) {
  const auto reference = cpu_backend("reference");
  for (const int head_dim : {2, 4, 8, 24, 100}) {
    for (const bool is_gemma : {false, true}) {
      const ToyModel model{.is_gemma = is_gemma, .n_layers = 2, .head_dim = head_dim};
      const ToyFile file(model);
      const auto tokens = prompt(kPrompt, model.n_vocab, 3);
      for (const KvType kv : {KvType::kBF16, KvType::kInt8}) {
        Chain judge(*reference, file.path(), {}, options(), kv);
        const Trace expected = run_alone(judge, tokens, 160, 0);
        for (const std::string& isa : all_isas()) {
          if (isa == "emulated" && (head_dim < 24 || is_gemma)) continue;
          const auto backend = cpu_backend(isa);
          Chain chain(*backend, file.path(), {}, options(), kv);
          const Trace trace = run_alone(chain, tokens, 50, 0);
          ASSERT_EQ(trace.size(), expected.size()) << isa << " dim " << head_dim;
          double total = 0.0;
          for (std::size_t i = 0; i < trace.size(); ++i) {
            total += std::abs(static_cast<double>(trace[i].chosen.logprob - expected[i].chosen.logprob));
          }
          EXPECT_LT(total / kPrompt, 0.02) << isa << " " << kv_type_name(kv) << " dim " << head_dim;
        }
      }
    }
  }
}

TEST(LayerChecksums, DoNotDependOnTheCut) {
  const auto backend = cpu_backend("generic");
  const ToyModel model{.n_layers = 6};
  const ToyFile file(model);
  const auto tokens = prompt(20, model.n_vocab, 3);
  const auto checksums = [&](const std::vector<int>& cuts) {
    Chain chain(*backend, file.path(), cuts, options());
    SequenceRows unasked = rows_of(1, 0, {3, 4, 5}, 0), summed = rows_of(2, 0, tokens, 2);
    summed.sum_layers = true;
    const auto result = chain.step({.step = {}, .slices = {unasked, summed}, .released = {}});
    std::vector<std::uint32_t> all;
    if (result) {
      for (const StageTiming& timing : result->timings)
        all.insert(all.end(), timing.checksums.begin(), timing.checksums.end());
    }
    return all;
  };
  const auto whole = checksums({});
  ASSERT_EQ(whole.size(), 6u);
  for (std::size_t i = 1; i < whole.size(); ++i) EXPECT_NE(whole[i], whole[i - 1]);
  EXPECT_EQ(checksums({2, 5}), whole);
}

TEST(Loading, ReadsNoMoreThanTheStagesOwnTensors) {
  const auto backend = cpu_backend("reference");
  const ToyFile file({.is_gemma = true, .n_vocab = 1000});
  Chain chain(*backend, file.path(), {2, 5}, options());
  run_alone(chain, {1, 2, 3}, 160, 1);
  for (std::size_t i = 0; i < chain.n_stages(); ++i) {
    const StageInfo info = chain.stage(i).info();
    EXPECT_EQ(info.state, LoadState::kReady);
    EXPECT_EQ(info.loaded_bytes, info.weight_bytes);
    EXPECT_LE(info.source_bytes_read, info.weight_bytes * 101 / 100 + chain.checkpoint(i).header_bytes());
  }
}

}  // namespace
}  // namespace commissure::testing
