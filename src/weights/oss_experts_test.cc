#include "weights/oss_experts.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>

#include "core/index.h"
#include "kernels/quant.h"
#include "support/checkpoint_writer.h"
#include "support/temp_folder.h"
#include "weights/checkpoint.h"

namespace commissure::testing {
namespace {

const std::string kExperts = "model.layers.0.mlp.experts.";

Result<std::unique_ptr<Checkpoint>> open(const std::vector<ToyTensor>& tensors, const std::string& family = "gpt_oss") {
  const TempFolder folder;
  folder.write("config.json", R"({"model_type":")" + family + "\"}");
  folder.write("model.safetensors", safetensors_bytes(tensors));
  return Checkpoint::open(folder.path(), ReadMode::kRead);  // the file outlives its name
}

std::vector<float> load(const Checkpoint& checkpoint, const std::string& name) {
  const TensorInfo* tensor = checkpoint.find(name);
  if (tensor == nullptr) return {};
  const auto range = checkpoint.load(*tensor);
  if (!range || range->bytes.size() != tensor->n_bytes) return {};
  std::vector<float> values(to_size(tensor->n_elements()));
  const std::size_t stride = row_bytes(tensor->dtype, tensor->shape.back());
  for (std::size_t row = 0; row * to_size(tensor->shape.back()) < values.size(); ++row) {
    const auto n = to_size(tensor->shape.back());
    dequantise(tensor->dtype, &range->bytes[row * stride], std::span(values).subspan(row * n, n));
  }
  return values;
}

/// Two experts with gates and ups of two outputs each, 64 inputs.
std::vector<ToyTensor> blocks() {
  ToyTensor scales = counting_tensor(kExperts + "gate_up_proj_scales", DType::kU8, {2, 4, 2}, 118);
  return {counting_tensor(kExperts + "gate_up_proj_blocks", DType::kU8, {2, 4, 2, 16}, 3), scales};
}

TEST(OssExperts, BlocksAndScalesJoinAndGatesComeFirst) {
  const auto checkpoint = open(blocks());
  ASSERT_TRUE(checkpoint.has_value()) << checkpoint.error().message();
  constexpr float kValues[8] = {0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f};
  for (int expert = 0; expert < 2; ++expert) {
    const std::string name = kExperts + std::to_string(expert) + ".gate_up_proj.weight";
    ASSERT_NE((*checkpoint)->find(name), nullptr);
    EXPECT_EQ((*checkpoint)->find(name)->dtype, DType::kMXFP4);
    EXPECT_EQ((*checkpoint)->find(name)->n_bytes, 4u * 2u * 17u) << "4.25 bits a value";
    const std::vector<float> values = load(**checkpoint, name);
    ASSERT_EQ(values.size(), 256u);
    for (int row = 0; row < 4; ++row) {
      const int stored = row < 2 ? 2 * row : 2 * (row - 2) + 1;
      for (int i = 0; i < 64; ++i) {
        const int block = (expert * 4 + stored) * 2 + i / 32, j = i % 32;
        const int byte = (3 + block * 16 + j / 2) & 255, code = j % 2 == 0 ? byte & 15 : byte >> 4;
        const float expected = std::ldexp(code < 8 ? kValues[code] : -kValues[code - 8], 118 + block - 127);
        ASSERT_EQ(values[to_size(row * 64 + i)], expected) << expert << ", " << row << ", " << i;
      }
    }
  }
  EXPECT_EQ((*checkpoint)->find(kExperts + "gate_up_proj_scales"), nullptr);
  EXPECT_TRUE((*checkpoint)->unsupported_dtypes().empty());
}

TEST(OssExperts, FloatsAreTurnedRoundAndBiasesSorted) {
  std::vector<float> values(2 * 3 * 4), down(2 * 2 * 3);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  for (std::size_t i = 0; i < down.size(); ++i) down[i] = static_cast<float>(100 + i);
  const auto checkpoint = open({float_tensor(kExperts + "gate_up_proj", {2, 3, 4}, values),
                                float_tensor(kExperts + "gate_up_proj_bias", {2, 4}, {1, 2, 3, 4, 5, 6, 7, 8}),
                                float_tensor(kExperts + "down_proj", {2, 2, 3}, down),
                                float_tensor(kExperts + "down_proj_bias", {2, 3}, {1, 2, 3, 4, 5, 6})});
  ASSERT_TRUE(checkpoint.has_value()) << checkpoint.error().message();
  const std::vector<float> gate_up = {12, 16, 20, 14, 18, 22, 13, 17, 21, 15, 19, 23};
  EXPECT_EQ(load(**checkpoint, kExperts + "1.gate_up_proj.weight"), gate_up);
  EXPECT_EQ(load(**checkpoint, kExperts + "0.down_proj.weight"), (std::vector<float>{100, 103, 101, 104, 102, 105}));
  EXPECT_EQ(load(**checkpoint, kExperts + "gate_up_proj.bias"), (std::vector<float>{1, 3, 2, 4, 5, 7, 6, 8}));
  EXPECT_EQ(load(**checkpoint, kExperts + "down_proj.bias"), (std::vector<float>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ((*checkpoint)->tensors().size(), 6u);
}

TEST(OssExperts, AStageReadsTheBytesOfAnExpertOnce) {
  const auto checkpoint = open(blocks());
  const std::uint64_t before = (*checkpoint)->bytes_read();
  load(**checkpoint, kExperts + "1.gate_up_proj.weight");
  EXPECT_EQ((*checkpoint)->bytes_read() - before, 4u * 2u * 17u);
  EXPECT_EQ((*checkpoint)->stored_bytes(*(*checkpoint)->find(kExperts + "1.gate_up_proj.weight")), 4u * 2u * 17u);
}

/// Bytes of the file that lie in this process's memory as pages of a mapping.
std::size_t mapped_bytes(const std::string& path) {
  std::ifstream maps("/proc/self/smaps");
  std::size_t kilobytes = 0;
  bool is_file = false;
  for (std::string line; std::getline(maps, line);) {
    const std::string first = line.substr(0, line.find(' '));
    if (!first.ends_with(':')) is_file = line.ends_with(path);
    if (is_file && first == "Rss:") kilobytes += std::stoul(line.substr(first.size()));
  }
  return 1024 * kilobytes;
}

TEST(OssExperts, PagesOfCodesAndOfScalesComeAndGo) {
  constexpr std::size_t kScaleBytes = 512 * 1024, kCodeBytes = 16 * kScaleBytes;
  const TempFolder folder;
  folder.write("config.json", R"({"model_type":"gpt_oss"})");
  const std::string path = folder.write(
      "model.safetensors",
      safetensors_bytes({counting_tensor(kExperts + "down_proj_blocks", DType::kU8, {1, 512, 1024, 16}, 3),
                         counting_tensor(kExperts + "down_proj_scales", DType::kU8, {1, 512, 1024}, 118)}));
  const auto checkpoint = Checkpoint::open(folder.path());
  ASSERT_TRUE(checkpoint.has_value()) << checkpoint.error().message();
  const TensorInfo* tensor = (*checkpoint)->find(kExperts + "0.down_proj.weight");
  ASSERT_NE(tensor, nullptr);
  ASSERT_TRUE((*checkpoint)->load(*tensor).has_value());
  EXPECT_LT(mapped_bytes(path), kScaleBytes / 2) << "load() releases what it read";
  (*checkpoint)->prefetch(*tensor);
  if (mapped_bytes(path) < kCodeBytes) GTEST_SKIP() << "this system maps no pages when it is asked to";
  EXPECT_GE(mapped_bytes(path), kCodeBytes + kScaleBytes);
  (*checkpoint)->release(*tensor);
  EXPECT_LT(mapped_bytes(path), kScaleBytes / 2);
}

TEST(OssExperts, OtherFamiliesKeepTheirTensors) {
  const auto checkpoint = open({float_tensor(kExperts + "down_proj", {1, 2, 2}, {1, 2, 3, 4})}, "qwen3_moe");
  EXPECT_NE((*checkpoint)->find(kExperts + "down_proj"), nullptr);
  EXPECT_EQ((*checkpoint)->find(kExperts + "0.down_proj.weight"), nullptr);
}

std::string refusal(const std::vector<ToyTensor>& tensors) {
  const auto checkpoint = open(tensors);
  return checkpoint ? "accepted" : checkpoint.error().message();
}

/// As many experts of one output and 32 inputs in `layer`.
std::vector<ToyTensor> small_experts(int layer, std::int64_t n) {
  const std::string name = "model.layers." + std::to_string(layer) + ".mlp.experts.down_proj_";
  return {counting_tensor(name + "blocks", DType::kU8, {n, 1, 1, 16}, 3),
          counting_tensor(name + "scales", DType::kU8, {n, 1, 1}, 118)};
}

TEST(OssExperts, MoreOfThemThanAnyModelHasAreRefusedBeforeOneIsMade) {
  EXPECT_EQ(refusal(small_experts(0, 4096)), "accepted");
  EXPECT_NE(refusal(small_experts(0, 4097)).find("none of experts"), std::string::npos);
  EXPECT_NE(
      refusal({float_tensor(kExperts + "down_proj", {4097, 1, 1}, std::vector<float>(4097))}).find("none of experts"),
      std::string::npos);

  std::vector<ToyTensor> layers;
  for (int layer = 0; layer < 33; ++layer) {
    for (ToyTensor& tensor : small_experts(layer, 4096)) layers.push_back(std::move(tensor));
  }
  EXPECT_NE(refusal(layers).find("has more than 131072 matrices of experts"), std::string::npos) << refusal(layers);
  layers.resize(layers.size() - 2);
  EXPECT_EQ(refusal(layers), "accepted");
}

TEST(OssExperts, ANameTooLongForAnyModelIsNoneOfThem) {
  const std::string longest = std::string(256 - kExperts.size() - 16, 'x') + kExperts + "down_proj_blocks";
  ASSERT_EQ(longest.size(), 256u);
  for (const bool is_longer : {false, true}) {
    const std::string blocks = (is_longer ? "x" : "") + longest, base = blocks.substr(0, blocks.size() - 6);
    const auto checkpoint = open({counting_tensor(blocks, DType::kU8, {2, 1, 1, 16}, 3),
                                  counting_tensor(base + "scales", DType::kU8, {2, 1, 1}, 118)});
    ASSERT_TRUE(checkpoint.has_value()) << checkpoint.error().message();
    EXPECT_EQ((*checkpoint)->tensors().size(), is_longer ? 0u : 2u);
    EXPECT_EQ((*checkpoint)->unsupported_dtypes().contains(blocks), is_longer) << "as any other tensor of bytes";
  }
}

TEST(OssExperts, WhatIsStoredInAnotherTypeUnderTheirNamesIsRefused) {
  for (const std::string part : {"gate_up_proj_bias", "down_proj_bias", "gate_up_proj", "down_proj"}) {
    const std::string name = kExperts + part;
    const std::string as_q8 = refusal({counting_tensor(name + ".commissure_q8_0", DType::kU8, {2, 34}, 1)});
    EXPECT_NE(as_q8.find(name + "\" of type Q8_0 is none of experts"), std::string::npos) << as_q8;

    const auto rank = part.ends_with("_bias") ? std::vector<std::int64_t>{2, 4} : std::vector<std::int64_t>{1, 2, 4};
    const std::string as_ints = refusal({counting_tensor(name, DType::kI32, rank, 1)});
    EXPECT_NE(as_ints.find(name + "\" of type I32 is none of experts"), std::string::npos) << as_ints;

    const std::string state = R"({"quant_type":"nf4","blocksize":64,"dtype":"bfloat16","shape":[2,64]})";
    const auto n_state = static_cast<std::int64_t>(state.size());
    const std::string as_nf4 = refusal({counting_tensor(name, DType::kU8, {64, 1}, 1),
                                        float_tensor(name + ".absmax", {2}, {1, 1}),
                                        float_tensor(name + ".quant_map", {16}, std::vector<float>(16)),
                                        {name + ".quant_state.bitsandbytes__nf4", DType::kU8, {n_state}, state}});
    EXPECT_NE(as_nf4.find(name + "\" of type NF4 is none of experts"), std::string::npos) << as_nf4;
  }
}

TEST(OssExperts, WhatIsNoneIsRefusedByName) {
  std::vector<ToyTensor> alone = blocks();
  alone.pop_back();
  EXPECT_NE(refusal(alone).find("gate_up_proj_scales\" is missing"), std::string::npos) << refusal(alone);
  std::vector<ToyTensor> narrow = blocks();
  narrow[1] = counting_tensor(narrow[1].name, DType::kU8, {2, 4, 1}, 118);
  EXPECT_NE(refusal(narrow).find("gate_up_proj_scales\" of shape [2, 4, 1]"), std::string::npos) << refusal(narrow);
  for (const std::vector<std::int64_t>& shape :
       {std::vector<std::int64_t>{2, 3, 2, 16}, {2, 4, 2, 8}, {2, 4, 32}, {0, 4, 2, 16}, {2, 4, 0, 16}}) {
    std::vector<ToyTensor> wrong = blocks();
    wrong[0] = counting_tensor(wrong[0].name, DType::kU8, shape, 3);
    EXPECT_NE(refusal(wrong).find("is none of experts"), std::string::npos) << refusal(wrong);
  }
  EXPECT_NE(refusal({float_tensor(kExperts + "gate_up_proj", {1, 2, 3}, {1, 2, 3, 4, 5, 6})}).find("none of experts"),
            std::string::npos);
  EXPECT_NE(refusal({float_tensor(kExperts + "down_proj_bias", {2}, {1, 2})}).find("none of experts"),
            std::string::npos);
  std::vector<ToyTensor> twice = blocks();
  twice.push_back(float_tensor(kExperts + "gate_up_proj", {1, 2, 4}, {1, 2, 3, 4, 5, 6, 7, 8}));
  EXPECT_NE(refusal(twice).find("is also in"), std::string::npos) << refusal(twice);
}

}  // namespace
}  // namespace commissure::testing
