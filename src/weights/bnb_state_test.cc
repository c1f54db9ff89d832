#include "weights/bnb_state.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "core/index.h"
#include "kernels/quant.h"
#include "support/checkpoint_writer.h"
#include "support/temp_folder.h"
#include "weights/checkpoint.h"

namespace commissure {
namespace {

using testing::float_tensor;
using testing::safetensors_bytes;
using testing::TempFolder;
using testing::ToyTensor;

constexpr int kRows = 6, kCols = 128, kBlock = 64, kScales = kRows * kCols / kBlock;

ToyTensor byte_tensor(const std::string& name, const std::string& bytes) {
  return {name, DType::kU8, {static_cast<std::int64_t>(bytes.size())}, bytes};
}

/// A matrix as bitsandbytes saves it; fields are broken one at a time.
struct Bnb {
  bool is_nested = false;
  std::string json = R"({"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [6, 128]NESTED})";
  std::string nested_json = R"(, "nested_blocksize": 8, "nested_dtype": "float32", "nested_offset": 0.04)";
  std::vector<float> map{std::begin(kBnbNf4Values), std::end(kBnbNf4Values)};
  std::vector<float> absmax, nested_absmax{0.03f, 0.02f}, nested_map;
  std::string codes, quantised_absmax;
  std::string left_out;  ///< a suffix

  explicit Bnb(bool nested) : is_nested(nested) {
    for (int i = 0; i < kRows * kCols / 2; ++i) codes += static_cast<char>(i * 29 + i / 7);
    for (int i = 0; i < kScales; ++i) absmax.push_back(0.02f + 0.003f * static_cast<float>(i));
    for (int i = 0; i < 256; ++i) nested_map.push_back(static_cast<float>(i - 127) / 128.0f);
    for (int i = 0; i < kScales; ++i) quantised_absmax += static_cast<char>(100 + 11 * i);
  }

  float scale(int i) const {
    if (!is_nested) return absmax[to_size(i)];
    return nested_map[static_cast<unsigned char>(quantised_absmax[to_size(i)])] * nested_absmax[to_size(i / 8)] + 0.04f;
  }
  float value(int i) const {
    const int byte = static_cast<unsigned char>(codes[to_size(i / 2)]);
    return kBnbNf4Values[i % 2 == 0 ? byte >> 4 : byte & 15] * scale(i / kBlock);
  }

  std::vector<ToyTensor> tensors() const {
    std::string text = json;
    if (const auto at = text.find("NESTED"); at != text.npos) text.replace(at, 6, is_nested ? nested_json : "");
    std::vector<ToyTensor> all = {{"w", DType::kU8, {static_cast<std::int64_t>(codes.size()), 1}, codes},
                                  byte_tensor("w" + std::string(kBnbStateSuffix), text),
                                  float_tensor("norm", {4}, {1, 2, 3, 4})};
    const auto floats = [&](const std::string& suffix, const std::vector<float>& values) {
      if (suffix == left_out) return;
      all.push_back(float_tensor("w" + suffix, {static_cast<std::int64_t>(values.size())}, values));
    };
    floats(".quant_map", map);
    if (!is_nested) floats(".absmax", absmax);
    if (is_nested) {
      if (left_out != ".absmax") all.push_back(byte_tensor("w.absmax", quantised_absmax));
      floats(".nested_absmax", nested_absmax);
      floats(".nested_quant_map", nested_map);
    }
    return all;
  }
};

Result<std::unique_ptr<Checkpoint>> open(const TempFolder& folder, const Bnb& bnb) {
  folder.write("config.json", R"({"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": true}})");
  folder.write("model.safetensors", safetensors_bytes(bnb.tensors()));
  return Checkpoint::open(folder.path());
}

/// Why it is refused, at open or at load.
std::string refusal(const Bnb& bnb) {
  const TempFolder folder;
  const auto checkpoint = open(folder, bnb);
  if (!checkpoint) return checkpoint.error().message();
  const auto range = (*checkpoint)->load(*(*checkpoint)->find("w"));
  return range ? "accepted" : range.error().message();
}

TEST(BnbState, GivesTheValuesThatBitsandbytesWould) {
  for (const bool is_nested : {false, true}) {
    const Bnb bnb(is_nested);
    const TempFolder folder;
    const auto checkpoint = open(folder, bnb);
    ASSERT_TRUE(checkpoint.has_value()) << checkpoint.error().message();
    ASSERT_EQ((*checkpoint)->tensors().size(), 2u) << "the state's own tensors are no tensors of the model";
    EXPECT_TRUE((*checkpoint)->unsupported_dtypes().empty());
    const TensorInfo& tensor = *(*checkpoint)->find("w");
    EXPECT_EQ(tensor.dtype, DType::kNF4);
    EXPECT_EQ(tensor.shape, (std::vector<std::int64_t>{kRows, kCols}));
    const auto range = (*checkpoint)->load(tensor);
    ASSERT_TRUE(range.has_value()) << range.error().message();
    ASSERT_EQ(range->bytes.size(), tensor.n_bytes);
    std::vector<float> values(kRows * kCols);
    dequantise(DType::kNF4, range->bytes.data(), values);
    for (int i = 0; i < kRows * kCols; ++i) {
      // A code's value is rounded by 0.004 of the largest at most, a scale by 2^-11.
      ASSERT_NEAR(values[to_size(i)], bnb.value(i), 0.0045f * bnb.scale(i / kBlock)) << i << " nested " << is_nested;
    }
  }
}

TEST(BnbState, LargerBlocksHaveOneScaleForSeveralOfOurs) {
  Bnb bnb(false);
  bnb.json = R"({"quant_type": "nf4", "blocksize": 256, "shape": [6, 128]})";
  bnb.absmax = {0.1f, 0.2f, 0.3f};
  const TempFolder folder;
  const auto checkpoint = open(folder, bnb);
  ASSERT_TRUE(checkpoint.has_value()) << checkpoint.error().message();
  const auto range = (*checkpoint)->load(*(*checkpoint)->find("w"));
  ASSERT_TRUE(range.has_value());
  for (int i = 0; i < kScales; ++i) {
    BlockNF4 block;
    std::memcpy(&block, &range->bytes[to_size(i) * sizeof block], sizeof block);
    EXPECT_EQ(block.d, float_to_half(bnb.absmax[to_size(i / 4)] / kNf4Scale)) << i;
  }
}

TEST(BnbState, DamageIsRefusedWithTheTensorsName) {
  struct Case {
    const char* why;
    const char* expected;
    void (*damage)(Bnb&);
    bool is_nested = true;
  };
  const Case cases[] = {
      {"codes cut short", "which 380 bytes of codes do not fill", [](Bnb& bnb) { bnb.codes.resize(380); }},
      {"no JSON", "no JSON object", [](Bnb& bnb) { bnb.json = "{\"quant_type"; }},
      {"fp4", "only nf4 is read", [](Bnb& bnb) { bnb.json.replace(bnb.json.find("nf4"), 3, "fp4"); }},
      {"another shape", "has shape [6, 256]", [](Bnb& bnb) { bnb.json.replace(bnb.json.find("128"), 3, "256"); }},
      {"no shape", "no shape", [](Bnb& bnb) { bnb.json = R"({"quant_type": "nf4", "blocksize": 64})"; }},
      {"negative shape", "has a shape of", [](Bnb& bnb) { bnb.json.replace(bnb.json.find("[6"), 2, "[-6"); }},
      {"odd blocks", "blocksize of 96", [](Bnb& bnb) { bnb.json.replace(bnb.json.find("64"), 2, "96"); }},
      {"no blocksize", "no whole number blocksize",
       [](Bnb& bnb) { bnb.json.replace(bnb.json.find("blocksize"), 9, "x"); }},
      {"scales missing", "absmax is missing", [](Bnb& bnb) { bnb.left_out = ".absmax"; }},
      {"scales cut short", "absmax is U8 of 11", [](Bnb& bnb) { bnb.quantised_absmax.resize(11); }},
      {"scales cut short", "absmax is F32 of 3", [](Bnb& bnb) { bnb.absmax.resize(3); }, false},
      {"no nested scales", "nested_absmax is missing", [](Bnb& bnb) { bnb.left_out = ".nested_absmax"; }},
      {"nested scales cut short", "nested_absmax is F32 of 1", [](Bnb& bnb) { bnb.nested_absmax.resize(1); }},
      {"nested map cut short", "nested_quant_map is F32 of 255", [](Bnb& bnb) { bnb.nested_map.resize(255); }},
      {"no map", "quant_map is missing", [](Bnb& bnb) { bnb.left_out = ".quant_map"; }},
      {"another map", "quant_map holds other values", [](Bnb& bnb) { bnb.map[3] = 0.5f; }},
      {"no nested blocks", "nested_blocksize", [](Bnb& bnb) { bnb.nested_json = R"(, "nested_offset": 0.1)"; }},
      {"nested blocks of nothing", "nested_blocksize of 0",
       [](Bnb& bnb) { bnb.nested_json = R"(, "nested_blocksize": 0, "nested_offset": 0.1)"; }},
      {"no offset", "no nested_offset", [](Bnb& bnb) { bnb.nested_json = R"(, "nested_blocksize": 8)"; }},
      {"negative scale", "scale of values from 64 on", [](Bnb& bnb) { bnb.absmax[1] = -0.5f; }, false},
      {"NaN", "scale of values from 128 on", [](Bnb& bnb) { bnb.absmax[2] = NAN; }, false},
      {"too large", "scale of values from 0 on", [](Bnb& bnb) { bnb.absmax[0] = 1e9f; }, false},
      {"nested infinity", "scale of values from 512 on",
       [](Bnb& bnb) { bnb.nested_absmax[1] = std::numeric_limits<float>::infinity(); }},
  };
  for (const Case& one : cases) {
    Bnb bnb(one.is_nested);
    one.damage(bnb);
    const std::string found = refusal(bnb);
    EXPECT_NE(found.find(one.expected), std::string::npos) << one.why << ": " << found;
    EXPECT_NE(found.find("tensor \"w\""), std::string::npos) << one.why << ": " << found;
  }
}

TEST(BnbState, BytesWithoutAStateStayUnsupported) {
  const TempFolder folder;
  folder.write("config.json", "{}");
  folder.write("model.safetensors", safetensors_bytes({byte_tensor("w", "1234")}));
  const auto checkpoint = Checkpoint::open(folder.path());
  ASSERT_TRUE(checkpoint.has_value());
  EXPECT_EQ((*checkpoint)->unsupported_dtype("w"), "U8");
}

}  // namespace
}  // namespace commissure
