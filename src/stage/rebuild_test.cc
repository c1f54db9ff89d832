#include <gtest/gtest.h>

#include <algorithm>
#include <tuple>

#include "support/family_model.h"
#include "support/stage_fixture.h"

// Stages that lost their keys and values get their rows again from the stage before, and no bit changes.

namespace commissure::testing {
namespace {

constexpr int kPrompt = 150;
constexpr int kImageAt = 80, kImageRows = 50;  // one chunk of a rebuild has all of it
const SamplingParams kParams{.temperature = 0.8f, .top_k = 20, .seed = 7, .n_logprobs = 5, .banned = {}};

/// A model's file: "Llama", "Gemma" (windows), "Gemma4", whose layers share keys and values, "Qwen35" (states), or
/// "Picture", a Gemma whose prompts hold an image.
class ModelFile {
 public:
  explicit ModelFile(const std::string& name) : has_image_(name == "Picture") {
    if (name != "Gemma4" && name != "Qwen35") {
      path_ = folder_.write("toy.gguf", toy_gguf({.is_gemma = name != "Llama", .matrices = DType::kQ8_0}));
      return;
    }
    const auto cases = family_cases(std::string(COMMISSURE_SOURCE_DIR) + "/tests/golden/families");
    const auto found = std::ranges::find(cases, name == "Gemma4" ? "gemma4-e" : "qwen35", &FamilyCase::name);
    CHECK(found != cases.end());
    path_ = folder_.write("toy.gguf", family_gguf(*found, DType::kQ8_0));
  }
  const std::string& path() const { return path_; }
  bool has_image() const { return has_image_; }

 private:
  TempFolder folder_;
  std::string path_;
  bool has_image_;
};

/// Three stages without links, run by hand one after the other; each may be exchanged for a fresh one.
class Stages {
 public:
  Stages(Backend& backend, const ModelFile& file, KvType kv_type) : backend_(backend) {
    const std::string& path = file.path();
    spec_ = *read_decoder_spec(*open_checkpoint(path));
    spec_.kv_type = kv_type;
    if (file.has_image()) image_ = random_image(kImageRows, spec_.d_model, 5);
    // Where layers share keys and values, two stages hold copies of another's.
    plans_ = *plan_stages(spec_.n_layers(), spec_.n_layers() < 6               ? std::vector{1, 2}
                                            : spec_.layers.back().kv_owner < 0 ? std::vector{2, 5}
                                                                               : std::vector{3, 5});
    for (std::size_t i = 0; i < plans_.size(); ++i) {
      checkpoints_.push_back(open_checkpoint(path));
      stages_.push_back(fresh(i));
    }
  }

  void lose(std::size_t index) { stages_[index] = fresh(index); }
  void forget_sequences() {
    for (const auto& stage : stages_) executor(*stage).forget_all_but(StageMemory::kRows);
  }
  /// The rows that each stage handed on are counted in n_handed_on.
  Result<SampledTokens> step(StepBatch batch) {
    batch.step = StepId(++step_);
    if (widest_window(spec_) > 0) {
      for (SequenceRows& rows : batch.slices) rows = with_windows(std::move(rows));
    }
    for (SequenceRows& rows : batch.slices) add_image(rows);
    n_handed_on.clear();
    Boundary boundary;
    for (const auto& stage : stages_) {
      StageOutput output = TRY(executor(*stage).step({std::move(batch), std::move(boundary)}));
      if (stage->plan().is_last()) return std::get<SampledTokens>(std::move(output.value));
      boundary = std::get<Boundary>(std::move(output.value));
      batch = std::move(output.batch);
      n_handed_on.push_back(boundary.n_rows);
    }
    return Error(Code::kInternal, "no last stage");
  }
  std::vector<int> n_handed_on;

 private:
  std::unique_ptr<Stage> fresh(std::size_t index) {
    StageOptions options{.model_name = "toy", .max_rows = 160, .n_kv_blocks = 12};
    auto stage = Stage::create(backend_, *checkpoints_[index], spec_, plans_[index], options);
    CHECK(stage.has_value());
    (*stage)->begin_load();
    executor(**stage);  // one backend serves all stages here: they load one by one
    return std::move(*stage);
  }
  static Executor& executor(const Stage& stage) {
    auto ready = stage.wait_ready(std::chrono::seconds(30), {});
    CHECK(ready.has_value());
    return **ready;
  }

  void add_image(SequenceRows& rows) const {
    if (image_ == nullptr || rows.rows().first >= kImageAt + kImageRows || rows.rows().end <= kImageAt) return;
    rows.images = {{kImageAt, kImageRows, true, image_}};
  }

  Backend& backend_;
  std::shared_ptr<const ImageRows> image_;  // shared: as in a step
  DecoderSpec spec_;
  std::vector<StagePlan> plans_;
  std::vector<std::unique_ptr<Checkpoint>> checkpoints_;
  std::vector<std::unique_ptr<Stage>> stages_;
  std::uint64_t step_ = 0;
};

StepBatch one(SequenceRows rows) { return {.step = {}, .slices = {std::move(rows)}, .released = {}}; }

/// Rows [first, end) of `tokens` with the whole table.
SequenceRows whole_table(const std::vector<int>& tokens, int first, int end, std::uint64_t id = 1) {
  SequenceRows rows = rows_of(id, 0, {tokens.begin(), tokens.begin() + end}, 3);
  rows.first_position = first;
  rows.tokens.erase(rows.tokens.begin(), rows.tokens.begin() + first);
  return rows;
}

class Rebuild : public ::testing::TestWithParam<std::tuple<std::string, KvType>> {
 protected:
  const ModelFile file_{std::get<0>(GetParam())};
  const std::unique_ptr<Backend> backend_ = cpu_backend("");

  std::vector<int> tokens_;
  /// The prompt in one step, then `n` tokens.
  std::vector<ScoredToken> begin(Stages& stages, int n) {
    tokens_.clear();
    for (int i = 0; i < kPrompt; ++i) tokens_.push_back((i * 37 + i * i % 7) % 60);
    std::vector<ScoredToken> drawn;
    SequenceRows rows = whole_table(tokens_, 0, kPrompt);
    rows.params = kParams;
    draw(stages, std::move(rows), drawn);
    go_on(stages, n, drawn);
    return drawn;
  }
  void go_on(Stages& stages, int n, std::vector<ScoredToken>& drawn) {
    for (int i = 0; i < n; ++i) {
      const int position = static_cast<int>(tokens_.size()) - 1;
      draw(stages, rows_of(1, position, {tokens_.back()}, 3), drawn);
    }
  }
  void draw(Stages& stages, SequenceRows rows, std::vector<ScoredToken>& drawn) {
    rows.sample = true;
    const auto result = stages.step(one(std::move(rows)));
    ASSERT_TRUE(result.has_value()) << result.error().message();
    drawn.push_back(*result->results[0].sampled);
    tokens_.push_back(drawn.back().chosen.token.value);
  }
  /// All rows but the last token's, in uneven chunks.
  void rebuild(Stages& stages, StageSpan lost) {
    const int n_rows = static_cast<int>(tokens_.size()) - 1;
    for (int first = 0; first < n_rows; first += 70) {
      StepBatch batch = one(whole_table(tokens_, first, std::min(n_rows, first + 70)));
      batch.rebuild = lost;
      const int n = batch.n_rows();
      const auto result = stages.step(std::move(batch));
      ASSERT_TRUE(result.has_value()) << result.error().message();
      EXPECT_EQ(result->results.size(), 1u);
      EXPECT_EQ(stages.n_handed_on, (std::vector<int>{lost.contains(1) ? n : 0, lost.contains(2) ? n : 0}));
    }
  }
  /// The same sequence behind the rows that all stages have.
  void recreate(Stages& stages, std::vector<ScoredToken>& drawn) {
    const int n = static_cast<int>(tokens_.size());
    SequenceRows rows = whole_table(tokens_, n - 1, n);
    rows.params = kParams;
    draw(stages, std::move(rows), drawn);
  }
};

TEST_P(Rebuild, ALostStageChangesNoBit) {
  Stages at_peace(*backend_, file_, std::get<1>(GetParam()));
  const std::vector<ScoredToken> expected = begin(at_peace, 12);
  ASSERT_EQ(expected.size(), 13u);
  for (const StageSpan lost : {StageSpan{1, 1}, {2, 2}, {1, 2}}) {
    Stages stages(*backend_, file_, std::get<1>(GetParam()));
    std::vector<ScoredToken> drawn = begin(stages, 5);
    for (int i = lost.first; i <= lost.last; ++i) stages.lose(static_cast<std::size_t>(i));
    stages.forget_sequences();
    rebuild(stages, lost);
    recreate(stages, drawn);
    go_on(stages, 6, drawn);
    EXPECT_EQ(drawn, expected) << "lost " << lost.first << " to " << lost.last;
    // What was handed on while rows were computed again is as good as before. The stages before have the last token's
    // row already, which no answer told of.
    stages.lose(2);
    stages.forget_sequences();
    tokens_.pop_back();
    rebuild(stages, {2, 2});
    const std::size_t n = drawn.size();
    drawn.pop_back();
    recreate(stages, drawn);
    ASSERT_EQ(drawn.size(), n);
    EXPECT_EQ(drawn, expected);
  }
}

TEST_P(Rebuild, StagesThatLostNothingGoOnAtOnce) {
  Stages at_peace(*backend_, file_, std::get<1>(GetParam()));
  const std::vector<ScoredToken> expected = begin(at_peace, 12);
  Stages stages(*backend_, file_, std::get<1>(GetParam()));
  std::vector<ScoredToken> drawn = begin(stages, 5);
  stages.forget_sequences();
  recreate(stages, drawn);
  go_on(stages, 6, drawn);
  EXPECT_EQ(drawn, expected);
}

TEST_P(Rebuild, AStageWithoutTheRowsRefusesToGoOn) {
  Stages stages(*backend_, file_, std::get<1>(GetParam()));
  std::vector<ScoredToken> drawn = begin(stages, 5);
  stages.lose(1);
  stages.forget_sequences();
  const int n = static_cast<int>(tokens_.size());
  SequenceRows rows = whole_table(tokens_, n - 1, n);
  rows.params = kParams;
  const auto result = stages.step(one(std::move(rows)));
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().code(), Code::kDataLoss) << result.error().message();
}

INSTANTIATE_TEST_SUITE_P(Models, Rebuild,
                         ::testing::Combine(::testing::Values("Llama", "Gemma", "Gemma4", "Qwen35", "Picture"),
                                            ::testing::Values(KvType::kBF16, KvType::kInt8)),
                         [](const auto& made) {
                           return std::get<0>(made.param) +
                                  (std::get<1>(made.param) == KvType::kInt8 ? "Int8" : "BF16");
                         });

}  // namespace
}  // namespace commissure::testing
