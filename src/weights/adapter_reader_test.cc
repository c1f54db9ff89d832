#include "weights/adapter_reader.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "core/dtype.h"
#include "support/checkpoint_writer.h"
#include "support/temp_folder.h"

namespace commissure {
namespace {

using testing::float_tensor;
using testing::GgufWriter;
using testing::safetensors_bytes;
using testing::TempFolder;
using testing::ToyTensor;

const std::string kPath = "base_model.model.model.layers.0.self_attn.q_proj";

std::vector<ToyTensor> pair_of(const std::string& module, int rank = 2) {
  return {float_tensor(module + ".lora_A.weight", {rank, 3}, std::vector<float>(3 * rank, 0.5f)),
          float_tensor(module + ".lora_B.weight", {4, rank}, std::vector<float>(4 * rank, 0.25f))};
}

Result<std::unique_ptr<AdapterReader>> open_peft(const std::vector<ToyTensor>& tensors,
                                                 const std::string& members = R"("r":2)") {
  const TempFolder folder;
  folder.write("adapter_config.json", R"({"peft_type":"LORA","lora_alpha":6,)" + members + "}");
  folder.write("adapter_model.safetensors", safetensors_bytes(tensors));
  return AdapterReader::open(folder.path());
}

GgufWriter gguf_writer(const std::string& type = "adapter") {
  GgufWriter writer;
  writer.text("general.type", type).text("adapter.type", "lora").text("general.architecture", "llama");
  return writer;
}

Result<std::unique_ptr<AdapterReader>> open_gguf(const GgufWriter& writer) {
  const TempFolder folder;
  return AdapterReader::open(folder.write("a.gguf", writer.bytes()));
}

std::vector<float> floats_of(const MatrixSource& matrix) {
  std::vector<float> values(matrix.data.bytes.size() / sizeof(float));
  std::memcpy(values.data(), matrix.data.bytes.data(), matrix.data.bytes.size());
  return values;
}

TEST(AdapterReader, ReadsAPeftFolder) {
  const auto reader = open_peft(pair_of(kPath));
  ASSERT_TRUE(reader.has_value()) << reader.error().message();
  ASSERT_EQ((*reader)->tensors().size(), 2u);
  const AdapterTensor& down = (*reader)->tensors()[0];
  EXPECT_EQ(down.module, "model.layers.0.self_attn.q_proj");
  EXPECT_EQ(down.part, AdapterTensor::Part::kDown);
  EXPECT_EQ((*reader)->tensors()[1].part, AdapterTensor::Part::kUp);
  const auto matrix = (*reader)->load(down.info);
  ASSERT_TRUE(matrix.has_value());
  EXPECT_EQ(matrix->n_rows, 2);
  EXPECT_EQ(floats_of(*matrix), std::vector<float>(6, 0.5f));
  EXPECT_EQ((*reader)->scale_of(down.module, 2).value(), 3.0f);
  EXPECT_EQ((*reader)->scale_of(down.module, 3).error().code(), Code::kInvalidArgument);
}

TEST(AdapterReader, ReadsAGguf) {
  GgufWriter writer = gguf_writer().f32("adapter.lora.alpha", 6.0f);
  writer.tensor(float_tensor("blk.0.attn_q.weight.lora_a", {2, 3}, {1, 2, 3, 4, 5, 6}));
  writer.tensor({"blk.0.attn_q.weight.lora_b", DType::kF16, {1, 2}, testing::little_endian(std::uint32_t{0x3c004000})});
  const auto reader = open_gguf(writer);
  ASSERT_TRUE(reader.has_value()) << reader.error().message();
  EXPECT_EQ((*reader)->tensors()[0].module, "blk.0.attn_q");
  EXPECT_EQ((*reader)->scale_of("blk.0.attn_q", 4).value(), 1.5f);
  const auto up = (*reader)->load((*reader)->tensors()[1].info);
  ASSERT_TRUE(up.has_value());
  EXPECT_EQ(up->dtype, DType::kF32) << "F16 becomes F32";
  EXPECT_EQ(floats_of(*up), (std::vector<float>{2.0f, 1.0f}));
  const auto none = open_gguf(
      gguf_writer().f32("adapter.lora.alpha", 0.0f).tensor(float_tensor("blk.0.attn_q.weight.lora_a", {1, 1}, {1})));
  EXPECT_EQ((*none)->scale_of("blk.0.attn_q", 4).value(), 1.0f) << "without an alpha, as llama.cpp";
}

TEST(AdapterReader, TensorsOfNoLinearLayerAreRefusedByName) {
  for (const char* name : {"base_model.model.model.embed_tokens.lora_embedding_A", "base_model.model.lm_head.weight",
                           "base_model.model.model.layers.0.self_attn.q_proj.lora_B.bias",
                           "model.layers.0.self_attn.q_proj.lora_A.weight", "base_model.model.lora_A.weight"}) {
    const auto reader = open_peft({float_tensor(name, {1, 1}, {1})});
    ASSERT_FALSE(reader.has_value()) << name;
    EXPECT_EQ(reader.error().code(), Code::kUnimplemented);
    EXPECT_NE(reader.error().message().find(name), std::string::npos);
  }
  EXPECT_FALSE(open_peft({float_tensor(kPath + ".lora_magnitude_vector", {1}, {1})}).has_value()) << "not DoRA";
  EXPECT_TRUE(
      open_peft({float_tensor(kPath + ".lora_magnitude_vector", {1}, {1})}, R"("r":2,"use_dora":true)").has_value());
}

TEST(AdapterReader, OtherTypesAndFilesAreRefused) {
  EXPECT_EQ(open_peft({{kPath + ".lora_A.weight", DType::kI32, {1, 1}, "abcd"}}).error().code(),
            Code::kInvalidArgument);
  EXPECT_EQ(open_peft({{kPath + ".lora_A.weight", DType::kU8, {1, 4}, "abcd"}}).error().code(), Code::kInvalidArgument);
  EXPECT_EQ(open_peft({}).error().code(), Code::kInvalidArgument);
  EXPECT_EQ(open_gguf(gguf_writer().f32("adapter.lora.alpha", 1.0f)).error().code(), Code::kInvalidArgument);
  EXPECT_EQ(open_gguf(gguf_writer("model").f32("adapter.lora.alpha", 1.0f)).error().code(), Code::kInvalidArgument);
  EXPECT_EQ(open_gguf(gguf_writer()).error().code(), Code::kInvalidArgument) << "no alpha";
  EXPECT_EQ(open_gguf(gguf_writer().f32("adapter.lora.alpha", NAN)).error().code(), Code::kInvalidArgument);
  EXPECT_EQ(AdapterReader::open("/nowhere").error().code(), Code::kNotFound);
  const TempFolder folder;
  EXPECT_FALSE(AdapterReader::open(folder.write("a.gguf", "GGUF")).has_value());
  folder.write("adapter_config.json", R"({"peft_type":"LORA","r":2})");
  const std::string whole = safetensors_bytes(pair_of(kPath));
  folder.write("adapter_model.safetensors", whole.substr(0, whole.size() - 1));
  EXPECT_EQ(AdapterReader::open(folder.path()).error().code(), Code::kDataLoss);
}

TEST(AdapterReader, ValuesThatAreNoNumbersAreRefused) {
  for (const float value : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    std::vector<float> values(6, 1.0f);
    values[5] = value;
    const TempFolder folder;
    folder.write("adapter_config.json", R"({"peft_type":"LORA","r":2})");
    std::string rounded;
    for (const float v : values) rounded += testing::little_endian(to_bf16(v));
    folder.write("adapter_model.safetensors",
                 safetensors_bytes({float_tensor(kPath + ".lora_A.weight", {2, 3}, values),
                                    {kPath + ".lora_B.weight", DType::kBF16, {3, 2}, rounded}}));
    const auto reader = AdapterReader::open(folder.path());
    ASSERT_TRUE(reader.has_value());
    for (const AdapterTensor& tensor : (*reader)->tensors()) {
      const auto loaded = (*reader)->load(tensor.info);
      ASSERT_FALSE(loaded.has_value());
      EXPECT_EQ(loaded.error().code(), Code::kInvalidArgument);
    }
  }
}

}  // namespace
}  // namespace commissure
