// Models of random weights, run: the size of their activations, and the same tokens from any cut and either format.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "support/stage_fixture.h"
#include "synth/synth_model.h"
#include "weights/model_writer.h"

namespace commissure::testing {
namespace {

/// A made-up model, written.
class SynthFolder {
 public:
  explicit SynthFolder(const std::string& name) {
    const auto request = parse_synth_name(name);
    CHECK(request.has_value());
    const auto model = make_synth_model(*request);
    CHECK(model.has_value());
    CHECK(write_model(**model, path(), {}).has_value());
  }
  std::string path() const { return folder_.path() + "/model"; }

 private:
  TempFolder folder_;
};

std::vector<int> prompt(int n) {
  std::vector<int> tokens;
  for (int i = 0; i < n; ++i) tokens.push_back(6 + (i * 37 + i * i % 11) % 250);  // bytes
  return tokens;
}

StageOptions options() { return {.model_name = "synth", .max_rows = 64, .n_kv_blocks = 4}; }

/// The tokens that follow a prompt, always the likeliest, with their log-probabilities.
std::vector<ScoredToken> answer(const std::string& path, const std::vector<int>& cuts) {
  const auto backend = cpu_backend("");
  Chain chain(*backend, path, cuts, options());
  std::vector<ScoredToken> found;
  std::vector<int> next = prompt(40);
  for (int position = 0; found.size() < 6;) {
    SequenceRows rows = rows_of(1, position, next, 0);
    rows.sample = true;
    rows.params = SamplingParams{.temperature = 0.0f, .banned = {}};
    const auto result = chain.step({.step = {}, .slices = {rows}, .released = {}});
    CHECK(result.has_value());
    position += count_of(next);
    found.push_back(*result->results[0].sampled);
    next = {found.back().chosen.token.value};
  }
  return found;
}

std::vector<int> tokens_of(const std::vector<ScoredToken>& scored) {
  std::vector<int> tokens;
  for (const ScoredToken& token : scored) tokens.push_back(token.chosen.token.value);
  return tokens;
}

constexpr const char* kFamilies[] = {
    "gemma-2-2b", "gemma-3-1b", "granite-3.1-2b", "llama-3.2-1b",   "ministral-3-3b", "mistral-7b-v0.3", "olmo-2-7b",
    "phi-3-mini", "phi-4-mini", "qwen2.5-0.5b",   "qwen2-57b-a14b", "qwen3-0.6b",     "qwen3-30b-a3b",   "smollm3-3b"};

/// The same from one, two and three stages, and in tokens from both formats.
void expect_alike(const std::string& shape, const std::string& name, const std::vector<int>& cuts) {
  const SynthFolder folder(name), gguf(name + "&format=gguf");
  const std::vector<ScoredToken> whole = answer(folder.path(), {});
  EXPECT_EQ(answer(folder.path(), cuts), whole) << shape;
  EXPECT_EQ(answer(folder.path(), {cuts[0]}), whole) << shape;
  EXPECT_EQ(tokens_of(answer(gguf.path() + "/model.gguf", {cuts[1]})), tokens_of(whole)) << shape;
  const std::vector<int> tokens = tokens_of(whole);
  EXPECT_GT(std::ranges::count_if(tokens, [&](int token) { return token != tokens[0]; }), 0)
      << shape << " says one token again and again";
}

TEST(SynthModelRun, EachFamilyAnswersAlikeFromAnyCutAndEitherFormat) {
  for (const std::string shape : kFamilies) {
    expect_alike(shape, "synth:" + shape + "@0-3?dtype=f32&scale-down=32", {1, 2});
  }
}

TEST(SynthModelRun, Gemma4AndGptOssDoSoToo) {
  // The last layers of E2B and E4B read keys and values of layers in the stage before.
  for (const auto& [shape, cuts] :
       std::initializer_list<std::pair<std::string, std::vector<int>>>{{"gemma-4-e2b", {14, 17}},
                                                                       {"gemma-4-e4b", {23, 25}},
                                                                       {"gemma-4-12b", {1, 4}},
                                                                       {"gemma-4-26b-a4b", {2, 5}},
                                                                       {"gemma-4-31b", {3, 4}},
                                                                       {"gpt-oss-20b", {1, 4}},
                                                                       {"gpt-oss-120b", {2, 3}}}) {
    expect_alike(shape, "synth:" + shape + "-tiny?dtype=f32", cuts);
  }
}

/// Rms of each row after each layer.
std::vector<std::vector<double>> activations(const std::string& path) {
  const auto backend = cpu_backend("");
  const auto checkpoint = open_checkpoint(path);
  const DecoderSpec spec = *read_decoder_spec(*checkpoint);
  SequenceRows rows = rows_of(1, 0, prompt(40), 0);
  if (widest_window(spec) > 0) rows = with_windows(std::move(rows));
  Boundary boundary;
  std::vector<std::vector<double>> all;
  for (int layer = 0; layer + 1 < spec.n_layers(); ++layer) {
    const StagePlan plan{.index = layer == 0 ? 0 : 1,  // a chain of so many stages has no letters for them
                         .n_stages = 3,
                         .n_model_layers = spec.n_layers(),
                         .layers = {layer, layer + 1}};
    const auto stage = Stage::create(*backend, *checkpoint, spec, plan, options());
    CHECK(stage.has_value());
    LocalLink link(**stage);
    BoundedQueue<Result<StageOutput>> outputs{2};
    link.start([&](Result<StageOutput> output) { outputs.push(std::move(output)); });
    CHECK(link.submit({{.step = StepId(0), .slices = {rows}, .released = {}}, boundary}).has_value());
    Result<StageOutput> output = *outputs.pop();
    CHECK(output.has_value());
    boundary = std::get<Boundary>(std::move(output->value));
    link.stop();
    std::vector<double> sizes;
    for (int row = 0; row < boundary.n_rows; ++row) {
      double sum = 0.0;
      for (const bf16 value : boundary.row(row).first(to_size(spec.d_model)))
        sum += std::pow(static_cast<double>(to_float(value)), 2);
      sizes.push_back(std::sqrt(sum / spec.d_model));
    }
    all.push_back(std::move(sizes));
  }
  return all;
}

TEST(SynthModelRun, ActivationsStayBetweenATenthAndAHundredThroughAllLayers) {
  for (const std::string shape : {"gemma-3-27b", "gemma-4-e2b", "gemma-4-26b-a4b", "gemma-4-31b", "gpt-oss-20b",
                                  "granite-3.1-2b", "olmo-2-7b", "qwen3-30b-a3b", "qwen2.5-7b", "smollm2-135m"}) {
    const SynthFolder folder("synth:" + shape + "?scale-down=" + (shape == "smollm2-135m" ? "4" : "64"));
    const auto layers = activations(folder.path());
    double least = INFINITY, most = 0.0;
    for (const auto& sizes : layers) {
      least = std::min(least, std::ranges::min(sizes));
      most = std::max(most, std::ranges::max(sizes));
    }
    EXPECT_GE(least, 0.1) << shape;
    EXPECT_LE(most, 100.0) << shape;
    EXPECT_GE(most, 1.0) << shape << ": layers add nothing";
    RecordProperty(shape, fmt::format("{:.2f} to {:.2f} in {} layers", least, most, layers.size() + 1));
  }
}

}  // namespace
}  // namespace commissure::testing
