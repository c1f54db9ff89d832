// Image features against transformers in float32 (tests/golden/vision), from every kind of file.

#include <gtest/gtest.h>

#include <cmath>

#include "support/backend_testing.h"
#include "support/golden_files.h"
#include "support/vision_model.h"
#include "vision/vision_encoder.h"

namespace commissure::testing {
namespace {

const std::vector<VisionCase>& cases() {
  static const auto all = all_vision_cases(COMMISSURE_SOURCE_DIR);
  return all;
}

struct Form {
  const char* name;
  bool is_mmproj;
  DType dtype;
  HubLayout layout = HubLayout::kPublished;
};

constexpr Form kForms[] = {{"safetensors", false, DType::kF32},
                           {"safetensors BF16", false, DType::kBF16},
                           {"newer safetensors", false, DType::kBF16, HubLayout::kNewer},
                           {"flat safetensors", false, DType::kBF16, HubLayout::kFlat},
                           {"mmproj F32", true, DType::kF32},
                           {"mmproj BF16", true, DType::kBF16},
                           {"mmproj F16", true, DType::kF16}};

/// Features of images 0, 1, ... of the case; none after an error.
std::vector<std::vector<float>> features(const VisionCase& vision, const Form& form, const std::string& isa,
                                         int n_threads = 1) {
  TempFolder folder;
  std::string path = folder.path();
  if (form.is_mmproj) {
    path = folder.write("mmproj.gguf", vision_mmproj(vision, form.dtype));
  } else {
    write_vision_safetensors(vision, folder, form.dtype, form.layout);
  }
  const auto backend = backend_for(isa, n_threads);
  const auto checkpoint = Checkpoint::open(path);
  EXPECT_TRUE(checkpoint.has_value()) << checkpoint.error().message();
  if (!checkpoint) return {};
  const auto spec = read_vision_spec(**checkpoint);
  EXPECT_TRUE(spec.has_value() && spec->has_value()) << (spec ? "no encoder" : spec.error().message());
  if (!spec || !*spec) return {};
  auto weights = load_vision_weights(*backend, **checkpoint, **spec, {});
  EXPECT_TRUE(weights.has_value()) << (weights ? "" : weights.error().message());
  if (!weights) return {};
  auto encoder = VisionEncoder::create(*backend, **spec, *std::move(weights));
  EXPECT_TRUE(encoder.has_value());
  std::vector<std::vector<float>> all;
  for (const Image& image : vision.images) {
    const auto rows = (*encoder)->encode(image);
    EXPECT_TRUE(rows.has_value());
    all.push_back(rows ? *rows : std::vector<float>());
  }
  return all;
}

/// Root of the mean square of the difference, by that of what is expected.
double distance(const std::vector<std::vector<float>>& found, const std::vector<std::vector<float>>& expected) {
  double difference = 0.0, whole = 0.0;
  if (found.size() != expected.size()) return INFINITY;
  for (std::size_t image = 0; image < found.size(); ++image) {
    if (found[image].size() != expected[image].size()) return INFINITY;
    for (std::size_t i = 0; i < found[image].size(); ++i) {
      difference += std::pow(static_cast<double>(found[image][i]) - static_cast<double>(expected[image][i]), 2);
      whole += std::pow(static_cast<double>(expected[image][i]), 2);
    }
  }
  return std::sqrt(difference / whole);
}

/// In every layer keys and values are rounded to bf16, by half of 2^-8 at most; all else is float32.
double tolerance(const VisionCase& vision) {
  return vision.config["vision_config"]["num_hidden_layers"].get<double>() / 512.0;
}

TEST(VisionGolden, EveryKindOfFileGivesTheFeaturesOfTransformers) {
  for (const VisionCase& vision : cases()) {
    for (const Form& form : kForms) {
      // Gemma 4's files have one layout.
      if (!vision.values.is_null() && form.layout != HubLayout::kPublished) continue;
      const double found = distance(features(vision, form, available_isas().back()), vision.features);
      EXPECT_LE(found, tolerance(vision)) << vision.name << ", " << form.name;
      RecordProperty(vision.name + " " + form.name, std::to_string(found));
    }
  }
}

TEST(VisionGolden, ImagesOfGemma4GetTheSidesThatTransformersGivesThem) {
  const auto file = parse_json(read_file(std::string(COMMISSURE_SOURCE_DIR) + "/tests/golden/vision/gemma4.json"));
  ASSERT_TRUE(file.has_value());
  ASSERT_GE((*file)["sizes"].size(), 20u);
  for (const Json& row : (*file)["sizes"]) {
    const VisionSpec spec = {
        .family = VisionFamily::kGemma4, .patch_size = 16, .pool = 3, .max_rows = row[2].get<int>()};
    const ImageSides expected = {row[3].get<int>(), row[4].get<int>()};
    EXPECT_EQ(spec.sides_of(row[0].get<int>(), row[1].get<int>()), expected) << row;
    EXPECT_LE(spec.n_rows(expected), spec.most_rows()) << row;
  }
}

TEST(VisionGolden, EveryIsaGivesTheFeaturesOfTransformers) {
  for (const VisionCase& vision : cases()) {
    for (const std::string& isa : available_isas()) {
      const double found = distance(features(vision, kForms[1], isa), vision.features);
      EXPECT_LE(found, tolerance(vision)) << vision.name << " on " << isa;
    }
  }
}

TEST(VisionGolden, TheBitsDependOnNeitherThreadsNorWidthOfVectors) {
  for (const VisionCase& vision : cases()) {
    for (const std::string& isa : fast_isas()) {
      const auto two = features(vision, kForms[1], isa, 2);
      EXPECT_EQ(two, features(vision, kForms[1], isa)) << vision.name << " on " << isa;
      if (isas_agree(isa, available_isas().back())) {
        EXPECT_EQ(two, features(vision, kForms[1], available_isas().back())) << vision.name << " on " << isa;
      }
    }
  }
}

void expect_changes_seen(VisionCase changed, std::initializer_list<const char*> parts) {
  for (const char* part : parts) {
    changed.altered = part;
    EXPECT_GT(distance(features(changed, kForms[0], available_isas().back()), changed.features), tolerance(changed))
        << part;
  }
}

TEST(VisionGolden, AChangeOfAnyKindOfTensorIsSeen) {
  expect_changes_seen(cases()[0], {"patch_embedding.weight",
                                   "patch_embedding.bias",
                                   "position_embedding",
                                   "layer_norm1.weight",
                                   "layer_norm1.bias",
                                   "layer_norm2.weight",
                                   "layer_norm2.bias",
                                   "q_proj.weight",
                                   "q_proj.bias",
                                   "k_proj.weight",
                                   "v_proj.weight",
                                   "v_proj.bias",
                                   "out_proj.weight",
                                   "out_proj.bias",
                                   "fc1.weight",
                                   "fc1.bias",
                                   "fc2.weight",
                                   "fc2.bias",
                                   "post_layernorm.weight",
                                   "post_layernorm.bias",
                                   "mm_soft_emb_norm",
                                   "mm_input_projection_weight"});
}

TEST(VisionGolden, AChangeOfAnyKindOfTensorOfGemma4IsSeen) {
  expect_changes_seen(cases()[2], {"input_proj.weight",
                                   "position_embedding_table",
                                   ".input_layernorm",
                                   "q_proj.linear",
                                   "k_proj.linear",
                                   "v_proj.linear",
                                   "o_proj.linear",
                                   "q_norm",
                                   "k_norm",
                                   "post_attention_layernorm",
                                   "pre_feedforward",
                                   "gate_proj.linear",
                                   "up_proj.linear",
                                   "down_proj.linear",
                                   "post_feedforward",
                                   "embedding_projection",
                                   "input_min",
                                   "input_max",
                                   "output_min",
                                   "output_max"});
  expect_changes_seen(cases()[3], {"std_bias", "std_scale"});
}

}  // namespace
}  // namespace commissure::testing
