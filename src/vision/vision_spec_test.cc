#include "vision/vision_spec.h"

#include <gtest/gtest.h>

#include <tuple>

#include "support/checkpoint_writer.h"
#include "support/temp_folder.h"
#include "support/vision_model.h"
#include "vision/vision_weights.h"

namespace commissure::testing {
namespace {

VisionCase toy() { return vision_cases(std::string(COMMISSURE_SOURCE_DIR) + "/tests/golden/vision/gemma3.json")[0]; }

Result<std::optional<VisionSpec>> read(const std::string& path) {
  const auto checkpoint = Checkpoint::open(path);
  EXPECT_TRUE(checkpoint.has_value()) << (checkpoint ? "" : checkpoint.error().message());
  return read_vision_spec(**checkpoint);
}

/// The spec of the toy's model folder, with its config.json as it is now.
Result<std::optional<VisionSpec>> read_folder(const VisionCase& vision, const std::string& preprocessor = "") {
  TempFolder folder;
  write_vision_safetensors(vision, folder);
  if (!preprocessor.empty()) folder.write("preprocessor_config.json", preprocessor);
  return read(folder.path());
}

Result<std::optional<VisionSpec>> read_mmproj(const VisionCase& vision) {
  TempFolder folder;
  return read(folder.write("mmproj.gguf", vision_mmproj(vision, DType::kF32)));
}

/// What an answer that must be a refusal says.
std::string refusal(const Result<std::optional<VisionSpec>>& answer, Code code = Code::kInvalidArgument) {
  EXPECT_FALSE(answer.has_value());
  if (answer) return "";
  EXPECT_EQ(answer.error().code(), code) << answer.error().message();
  return answer.error().message();
}

bool says(const std::string& message, const std::string& part) { return message.find(part) != std::string::npos; }

TEST(VisionSpec, AModelFolderAndAnMmprojFileSayTheSame) {
  const VisionSpec folder = **read_folder(toy());
  EXPECT_EQ(folder.most_patches(), 64);
  EXPECT_EQ(folder.most_rows(), 16);
  EXPECT_EQ(folder.head_dim(), 72);
  EXPECT_EQ(folder.d_text, 64);
  EXPECT_EQ(folder.row_norm_offset, 1.0f);
  VisionSpec mmproj = **read_mmproj(toy());
  EXPECT_EQ(mmproj.row_norm_offset, 0.0f) << "converters add it";
  mmproj.row_norm_offset = 1.0f;
  EXPECT_EQ(folder, mmproj);
}

TEST(VisionSpec, ThePublishedModelsHave256Rows) {
  VisionCase vision = toy();
  vision.config["mm_tokens_per_image"] = nullptr;
  vision.config["vision_config"] =
      *parse_json(R"({"hidden_size":1152,"image_size":896,"intermediate_size":4304,"model_type":"siglip_vision_model",
                      "num_attention_heads":16,"num_hidden_layers":27,"patch_size":14,"vision_use_head":false})");
  const VisionSpec spec = **read_folder(vision);
  EXPECT_EQ(spec.most_patches(), 4096);
  EXPECT_EQ(spec.most_rows(), 256);
  EXPECT_EQ(spec.pool, 4);
}

TEST(VisionSpec, ModelsWithoutAnEncoderWeKnowTakeTextAlone) {
  VisionCase vision = toy();
  vision.config["model_type"] = "mistral3";
  EXPECT_EQ(*read_folder(vision), std::nullopt);
  vision = toy();
  vision.config.erase("vision_config");
  EXPECT_EQ(*read_folder(vision), std::nullopt);
  vision = toy();
  const Json shapes = vision.shapes;
  for (const auto& [name, shape] : shapes.items()) {
    if (!name.starts_with("language_model.")) vision.shapes.erase(name);
  }
  EXPECT_EQ(*read_folder(vision), std::nullopt) << "files that were written without the encoder";
  TempFolder folder;
  EXPECT_EQ(*read(folder.write("text.gguf", vision_text_gguf(toy()))), std::nullopt);
}

TEST(VisionSpec, AConfigThatIsNoneIsRefusedByItsField) {
  const std::pair<const char*, Json> wrong[] = {
      {"image_size", 0},           {"image_size", 113},        {"image_size", 1 << 30},
      {"patch_size", -1},          {"patch_size", 224},        {"num_hidden_layers", 0},
      {"num_hidden_layers", 9999}, {"hidden_size", 145},       {"hidden_size", "144"},
      {"hidden_size", 1e300},      {"num_attention_heads", 0}, {"intermediate_size", 1 << 30},
      {"layer_norm_eps", -1.0},    {"layer_norm_eps", "x"},    {"num_attention_heads", nullptr}};
  for (const auto& [field, value] : wrong) {
    VisionCase vision = toy();
    vision.config["vision_config"][field] = value;
    EXPECT_TRUE(says(refusal(read_folder(vision)), field)) << field << " " << value;
  }
  for (const int n_rows : {0, -4, 15, 25, 1 << 30}) {
    VisionCase vision = toy();
    vision.config["mm_tokens_per_image"] = n_rows;
    EXPECT_TRUE(says(refusal(read_folder(vision)), "mm_tokens_per_image")) << n_rows;
  }
  VisionCase vision = toy();
  vision.config["vision_config"]["hidden_act"] = "quick_gelu";
  EXPECT_TRUE(says(refusal(read_folder(vision), Code::kUnimplemented), "gelu_pytorch_tanh"));
  vision.config["vision_config"] = 3;
  EXPECT_TRUE(says(refusal(read_folder(vision)), "vision_config"));
}

TEST(VisionSpec, AConfigOfGemma4ThatIsNoneIsRefusedByItsField) {
  const VisionCase whole = all_vision_cases(COMMISSURE_SOURCE_DIR)[2];
  ASSERT_EQ((**read_folder(whole)).family, VisionFamily::kGemma4);
  const std::vector<std::tuple<std::string, Json, Code>> changes = {
      {"patch_size", 0, Code::kInvalidArgument},
      {"patch_size", 1 << 20, Code::kInvalidArgument},
      {"num_hidden_layers", -1, Code::kInvalidArgument},
      {"num_attention_heads", 7, Code::kUnimplemented},
      {"hidden_size", 1 << 30, Code::kUnimplemented},
      {"pooling_kernel_size", 0, Code::kInvalidArgument},
      {"position_embedding_size", 1, Code::kInvalidArgument},
      {"rms_norm_eps", 2.0, Code::kInvalidArgument},
      {"use_clipped_linears", "yes", Code::kInvalidArgument},
      {"num_key_value_heads", 1, Code::kUnimplemented},
      {"hidden_activation", "silu", Code::kUnimplemented},
      {"attention_bias", true, Code::kUnimplemented},
  };
  for (const auto& [field, value, code] : changes) {
    VisionCase vision = whole;
    vision.config["vision_config"][field] = value;
    EXPECT_TRUE(says(refusal(read_folder(vision), code), field)) << field;
  }
  for (const std::string value : {"0", "-4", "1000000", "\"many\""}) {
    refusal(read_folder(whole, R"({"max_soft_tokens": )" + value + "}"));
  }
}

TEST(VisionSpec, AnMmprojOfAnotherProjectorNamesWhatIsSupported) {
  VisionCase vision = toy();
  vision.mmproj["header"]["clip.projector_type"] = "pixtral";
  const std::string message = refusal(read_mmproj(vision), Code::kUnimplemented);
  EXPECT_TRUE(says(message, "\"pixtral\"") && says(message, "\"gemma3\"")) << message;
  vision.mmproj["header"]["clip.projector_type"] = 7;
  refusal(read_mmproj(vision), Code::kUnimplemented);
  vision.mmproj["header"].erase("clip.projector_type");
  EXPECT_TRUE(says(refusal(read_mmproj(vision)), "clip.projector_type"));
}

TEST(VisionSpec, AnMmprojHeaderThatIsNoneIsRefusedByItsKey) {
  const std::pair<const char*, Json> wrong[] = {{"clip.vision.image_size", 100},
                                                {"clip.vision.patch_size", "x"},
                                                {"clip.vision.block_count", 4000000000u},
                                                {"clip.vision.attention.head_count", 0},
                                                {"clip.vision.projection_dim", 128},
                                                {"clip.vision.projector.scale_factor", 3},
                                                {"clip.vision.image_mean", Json::array({0.5, 0.5})},
                                                {"clip.vision.image_std", Json::array({0.5, 0.0, 0.5})}};
  for (const auto& [key, value] : wrong) {
    VisionCase vision = toy();
    vision.mmproj["header"][key] = value;
    const std::string message = refusal(read_mmproj(vision));
    EXPECT_TRUE(says(message, key) || says(message, "patches on a side")) << key << ": " << message;
  }
  VisionCase vision = toy();
  vision.mmproj["names"].erase("multi_modal_projector.mm_input_projection_weight");
  EXPECT_TRUE(says(refusal(read_mmproj(vision), Code::kNotFound), "mm.input_projection.weight"));
}

TEST(VisionSpec, APreprocessorSaysHowPixelsAreRead) {
  const VisionSpec spec = **read_folder(toy(), R"({"image_mean":[0.1,0.2,0.3],"image_std":[0.4,0.5,0.6],"resample":3,
      "rescale_factor":0.00392156862745098,"do_normalize":true,"size":{"height":112,"width":112}})");
  EXPECT_EQ(spec.mean, (std::array<float, 3>{0.1f, 0.2f, 0.3f}));
  EXPECT_EQ(spec.deviation, (std::array<float, 3>{0.4f, 0.5f, 0.6f}));
  EXPECT_EQ(spec.filter, ResizeFilter::kBicubic);
  const std::pair<const char*, Code> wrong[] = {{R"({"image_mean":[0.1,0.2]})", Code::kInvalidArgument},
                                                {R"({"image_mean":0.5})", Code::kInvalidArgument},
                                                {R"({"image_std":[1,0,1]})", Code::kInvalidArgument},
                                                {R"({"image_std":[1,"1",1]})", Code::kInvalidArgument},
                                                {R"({"size":{"height":224,"width":224}})", Code::kInvalidArgument},
                                                {R"({"resample":0})", Code::kUnimplemented},
                                                {R"({"rescale_factor":1})", Code::kUnimplemented},
                                                {R"({"do_rescale":false})", Code::kUnimplemented},
                                                {R"([])", Code::kInvalidArgument},
                                                {R"({)", Code::kInvalidArgument}};
  for (const auto& [text, code] : wrong) {
    EXPECT_TRUE(says(refusal(read_folder(toy(), text), code), "preprocessor_config.json")) << text;
  }
}

TEST(VisionSpec, TensorsOfOtherShapesAreNamed) {
  VisionCase vision = toy();
  vision.shapes["vision_tower.vision_model.encoder.layers.1.mlp.fc1.weight"] = {112, 143};
  TempFolder folder;
  write_vision_safetensors(vision, folder);
  const auto checkpoint = Checkpoint::open(folder.path());
  const auto bytes = vision_weight_bytes(**checkpoint, **read_vision_spec(**checkpoint));
  ASSERT_FALSE(bytes.has_value());
  EXPECT_EQ(bytes.error().code(), Code::kInvalidArgument);
  EXPECT_TRUE(says(bytes.error().message(), "layers.1.mlp.fc1.weight is [112, 143], expected [112, 144]"));

  vision = toy();
  vision.shapes.erase("vision_tower.vision_model.post_layernorm.bias");
  TempFolder other;
  write_vision_safetensors(vision, other);
  const auto incomplete = Checkpoint::open(other.path());
  const auto missing = vision_weight_bytes(**incomplete, **read_vision_spec(**incomplete));
  ASSERT_FALSE(missing.has_value());
  EXPECT_TRUE(says(missing.error().message(), "post_layernorm.bias"));
}

}  // namespace
}  // namespace commissure::testing
