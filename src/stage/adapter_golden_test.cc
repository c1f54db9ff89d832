// Adapters against transformers with PEFT in float32 (tests/golden/adapters.json), through chains of one, two and three
// stages.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "support/adapter_model.h"
#include "support/stage_fixture.h"
#include "weights/adapter_file.h"

namespace commissure::testing {
namespace {

const std::vector<AdapterCase>& cases() {
  static const auto all = adapter_cases(std::string(COMMISSURE_SOURCE_DIR) + "/tests/golden");
  return all;
}

enum class Form { kSafetensors, kGguf };

/// A base model and an adapter, each in one form.
class AdapterFiles {
 public:
  AdapterFiles(const AdapterCase& adapter, Form base, Form form, DType dtype = DType::kF32) {
    write_base(adapter.base, base);
    write_adapter(adapter, form, dtype);
  }
  const std::string& base() const { return base_; }
  const std::string& adapter() const { return adapter_; }

 private:
  void write_base(const FamilyCase& base, Form form) {
    base_ = base_folder_.path();
    if (form == Form::kSafetensors) return write_family_safetensors(base, base_folder_);
    base_ = base_folder_.write("toy.gguf", family_gguf(base, DType::kF32));
  }
  void write_adapter(const AdapterCase& adapter, Form form, DType dtype) {
    adapter_ = adapter_folder_.path();
    if (form == Form::kSafetensors) return write_peft_adapter(adapter, adapter_folder_, dtype);
    adapter_ = adapter_folder_.write("adapter.gguf", adapter_gguf(adapter));
  }

  TempFolder base_folder_, adapter_folder_;
  std::string base_, adapter_;
};

struct Setting {
  std::string isa = "reference";
  Precision precision = Precision::kExact;
  std::vector<int> cuts = {};
  int chunk = 200;
  float scale = 1.0f;
};

/// Every token of the base's case scored after those before it, with the likeliest one.
std::vector<ScoredToken> scores(const AdapterCase& adapter, const AdapterFiles& files, const Setting& setting) {
  const auto backend = cpu_backend(setting.isa);
  const StageOptions options = {.model_name = "toy", .max_rows = 200, .n_kv_blocks = 8};
  Chain chain(*backend, files.base(), setting.cuts, options, KvType::kBF16, setting.precision);
  const auto id = chain.load_adapter(files.adapter());
  EXPECT_TRUE(id.has_value()) << id.error().message();
  if (!id) return {};
  std::vector<ScoredToken> all;
  const std::vector<int>& ids = adapter.base.ids;
  const int n = count_of(ids) - 1;
  for (int first = 0; first < n; first += setting.chunk) {
    const int end = std::min(n, first + setting.chunk);
    SequenceRows rows = rows_of(1, first, {ids.begin() + first, ids.begin() + end}, 0);
    rows.params = SamplingParams{.n_logprobs = 1, .banned = {}};
    rows.adapter = {*id, setting.scale};
    for (int i = first; i < end; ++i) rows.targets.push_back(TokenId(ids[i + 1]));
    const auto result = chain.step({.step = {}, .slices = {rows}, .released = {}});
    EXPECT_TRUE(result.has_value()) << result.error().message();
    if (!result) return {};
    const auto& scored = result->results[0].scored;
    all.insert(all.end(), scored.begin(), scored.end());
  }
  return all;
}

double mean_delta(const std::vector<double>& expected, const std::vector<ScoredToken>& scored) {
  if (scored.size() != expected.size()) return INFINITY;
  double sum = 0.0;
  for (std::size_t i = 0; i < scored.size(); ++i) {
    sum += std::abs(static_cast<double>(scored[i].chosen.logprob) - expected[i]);
  }
  return sum / static_cast<double>(expected.size());
}

class AdapterGolden : public ::testing::TestWithParam<std::size_t> {
 protected:
  const AdapterCase& adapter() const { return cases()[GetParam()]; }
  std::vector<Form> base_forms() const {
    if (adapter().base.gguf.is_null()) return {Form::kSafetensors};
    return {Form::kSafetensors, Form::kGguf};
  }
  std::vector<int> cuts() const {
    return adapter().base.config["num_hidden_layers"] < 7 ? std::vector{1, 2} : std::vector{3, 5};
  }
};

TEST_P(AdapterGolden, TheReferenceIsWithinAThousandth) {
  for (const Form base : base_forms()) {
    const AdapterFiles files(adapter(), base, Form::kSafetensors);
    const auto found = scores(adapter(), files, {.cuts = cuts()});
    EXPECT_LE(mean_delta(adapter().logprobs, found), 0.001);
    EXPECT_GT(mean_delta(adapter().base.logprobs, found), 0.01) << "the base model's own numbers";
    std::size_t n_same = 0;
    for (std::size_t i = 0; i < found.size(); ++i)
      n_same += found[i].top.at(0).token.value == adapter().top1[i] ? 1 : 0;
    EXPECT_GE(static_cast<double>(n_same), 0.95 * static_cast<double>(found.size()));
  }
}

TEST_P(AdapterGolden, ExactKernelsAreWithinTwoHundredths) {
  const AdapterFiles files(adapter(), base_forms().back(), Form::kSafetensors);
  for (const std::string& isa : available_isas()) {
    if (isa == "reference") continue;
    EXPECT_LE(mean_delta(adapter().logprobs, scores(adapter(), files, {.isa = isa})), 0.02) << isa;
  }
}

TEST_P(AdapterGolden, AnyCutAndChunkGivesTheSameBits) {
  const AdapterFiles files(adapter(), base_forms().back(), Form::kSafetensors, DType::kBF16);
  const std::string isa = available_isas().back();
  const auto whole = scores(adapter(), files, {.isa = isa, .precision = Precision::kFast});
  ASSERT_EQ(whole.size(), adapter().logprobs.size());
  const Setting cut = {.isa = isa, .precision = Precision::kFast, .cuts = cuts(), .chunk = 37};
  EXPECT_EQ(scores(adapter(), files, cut), whole);
}

std::vector<std::size_t> indices() {
  std::vector<std::size_t> all(cases().size());
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = i;
  return all;
}

const AdapterCase& case_of(std::string_view name) {
  const auto found = std::ranges::find(cases(), name, &AdapterCase::name);
  CHECK(found != cases().end());
  return *found;
}

TEST(AdapterGoldens, AChangeOfAnyTensorIsSeen) {
  for (const char* name : {"llama-dora", "phi3-fused"}) {
    const AdapterCase& adapter = case_of(name);
    AdapterCase changed = adapter;
    for (const auto& [tensor, shape] : adapter.shapes.items()) {
      if (tensor.find("layers.1.") == std::string::npos) continue;
      changed.altered = tensor.substr(0, tensor.find(".weight"));
      const AdapterFiles files(changed, Form::kSafetensors, Form::kSafetensors);
      EXPECT_GT(mean_delta(adapter.logprobs, scores(adapter, files, {})), 0.001) << tensor;
    }
  }
}

TEST(AdapterGoldens, AGgufOfTheSameAdapterGivesTheSameBits) {
  for (const char* name : {"llama-plain", "qwen3-plain", "gemma4-shared"}) {
    const AdapterCase& adapter = case_of(name);
    for (const Form base : {Form::kSafetensors, Form::kGguf}) {
      const AdapterFiles peft(adapter, base, Form::kSafetensors), gguf(adapter, base, Form::kGguf);
      EXPECT_EQ(scores(adapter, gguf, {}), scores(adapter, peft, {})) << name;
    }
  }
}

TEST(AdapterGoldens, HalvesAreReadAsTheyAre) {
  const AdapterCase& adapter = case_of("llama-plain");
  for (const DType dtype : {DType::kF16, DType::kBF16}) {
    const AdapterFiles files(adapter, Form::kSafetensors, Form::kSafetensors, dtype);
    EXPECT_LE(mean_delta(adapter.logprobs, scores(adapter, files, {})), dtype == DType::kF16 ? 0.001 : 0.002);
  }
}

INSTANTIATE_TEST_SUITE_P(Adapters, AdapterGolden, ::testing::ValuesIn(indices()), [](const auto& made) {
  std::string name = cases()[made.param].name;
  std::ranges::replace(name, '-', '_');
  return name;
});

}  // namespace
}  // namespace commissure::testing
