#include "weights/gguf.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "support/checkpoint_writer.h"
#include "support/memory_source.h"

namespace commissure {
namespace {

using testing::counting_tensor;
using testing::GgufWriter;
using testing::little_endian;

Result<GgufHeader> read(std::string bytes, Vocabulary vocabulary = Vocabulary::kKeep) {
  MemorySource source(std::move(bytes));
  return read_gguf_header(source, vocabulary);
}

GgufWriter toy() {
  GgufWriter writer;
  writer.text("general.architecture", "llama")
      .u32("llama.block_count", 2)
      .f32("llama.attention.layer_norm_rms_epsilon", 1e-5f)
      .boolean("tokenizer.ggml.add_bos_token", true)
      .texts("tokenizer.ggml.tokens", {"<s>", "a", "bc"})
      .floats("tokenizer.ggml.scores", {0.0f, -1.5f, -2.0f})
      .ints("tokenizer.ggml.token_type", {3, 1, 1})
      .tensor(counting_tensor("token_embd.weight", DType::kQ8_0, {3, 32}, 1))
      .tensor(counting_tensor("blk.0.attn_q.weight", DType::kQ4_K, {2, 256}, 2))
      .tensor(counting_tensor("output_norm.weight", DType::kF32, {5}, 3));
  return writer;
}

/// The message of a file that must be refused, with its code checked.
std::string refusal(const std::string& bytes, Code code) {
  const auto header = read(bytes);
  if (header) return "accepted";
  EXPECT_EQ(header.error().code(), code) << header.error().message();
  return header.error().message();
}

#define EXPECT_HAS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST(Gguf, ReadsMetadataOfEveryKind) {
  GgufWriter writer = toy();
  writer.raw("i8", 1, "\xff").raw("u64", 10, little_endian(std::uint64_t{1} << 40)).raw("f64", 12, little_endian(0.25));
  writer.raw("bools", 9, little_endian(7u) + little_endian(std::uint64_t{2}) + std::string("\x01\x00", 2));
  const auto header = read(writer.bytes());
  ASSERT_TRUE(header.has_value()) << header.error().message();
  const Metadata& metadata = header->metadata;
  EXPECT_EQ(*metadata.text("general.architecture"), "llama");
  EXPECT_EQ(metadata.integer("llama.block_count"), 2);
  EXPECT_FLOAT_EQ(static_cast<float>(*metadata.number("llama.attention.layer_norm_rms_epsilon")), 1e-5f);
  EXPECT_EQ(metadata.boolean("tokenizer.ggml.add_bos_token"), true);
  EXPECT_EQ(metadata.find<std::vector<std::string>>("tokenizer.ggml.tokens")->at(2), "bc");
  EXPECT_EQ(metadata.find<std::vector<float>>("tokenizer.ggml.scores")->at(1), -1.5f);
  EXPECT_EQ(metadata.find<std::vector<std::int64_t>>("tokenizer.ggml.token_type")->at(0), 3);
  EXPECT_EQ(metadata.integer("i8"), -1);
  EXPECT_EQ(metadata.integer("u64"), std::int64_t{1} << 40);
  EXPECT_EQ(metadata.number("f64"), 0.25);
  EXPECT_EQ(*metadata.find<std::vector<bool>>("bools"), (std::vector<bool>{true, false}));
}

TEST(Gguf, PlacesTensorsSlowestDimensionFirst) {
  const auto header = read(toy().bytes());
  ASSERT_TRUE(header.has_value()) << header.error().message();
  ASSERT_EQ(header->tensors.size(), 3u);
  const TensorInfo& embedding = header->tensors[0];
  EXPECT_EQ(embedding.shape, (std::vector<std::int64_t>{3, 32}));
  EXPECT_EQ(embedding.n_bytes, 102u);
  EXPECT_EQ(embedding.offset % 32, 0u);
  EXPECT_EQ(header->tensors[1].offset, embedding.offset + 128);
  EXPECT_EQ(header->tensors[2].n_elements(), 5);
}

TEST(Gguf, SkipsTheVocabularyWhenAskedTo) {
  const auto header = read(toy().bytes(), Vocabulary::kSkip);
  ASSERT_TRUE(header.has_value()) << header.error().message();
  EXPECT_FALSE(header->metadata.has("tokenizer.ggml.tokens"));
  EXPECT_FALSE(header->metadata.has("tokenizer.ggml.scores"));
  EXPECT_EQ(header->array_lengths.at("tokenizer.ggml.tokens"), 3u);
  EXPECT_EQ(header->tensors.size(), 3u);
}

TEST(Gguf, ObeysTheAlignmentKey) {
  GgufWriter writer = toy();
  writer.alignment = 256;
  const auto header = read(writer.bytes());
  ASSERT_TRUE(header.has_value()) << header.error().message();
  EXPECT_EQ(header->tensors[1].offset % 256, 0u);
  EXPECT_HAS(refusal(toy().u32("general.alignment", 24).bytes(), Code::kDataLoss), "power of two");
}

TEST(Gguf, RefusesOtherFilesAndVersions) {
  EXPECT_HAS(refusal("PK\3\4 this is a zip", Code::kInvalidArgument), "not a GGUF file");
  GgufWriter writer = toy();
  writer.version = 1;
  EXPECT_HAS(refusal(writer.bytes(), Code::kInvalidArgument), "version 1");
  writer.version = 4;
  EXPECT_HAS(refusal(writer.bytes(), Code::kInvalidArgument), "version 4");
  writer.version = 0x03000000;
  EXPECT_HAS(refusal(writer.bytes(), Code::kInvalidArgument), "big-endian");
  writer.version = 2;
  EXPECT_TRUE(read(writer.bytes()).has_value());
}

TEST(Gguf, RefusesDuplicates) {
  EXPECT_HAS(refusal(toy().u32("llama.block_count", 3).bytes(), Code::kDataLoss), "appears twice");
  EXPECT_HAS(refusal(toy().tensor(counting_tensor("output_norm.weight", DType::kF32, {4}, 0)).bytes(), Code::kDataLoss),
             "appears twice");
}

TEST(Gguf, RefusesUnsupportedTensorTypesByName) {
  GgufWriter writer = toy();
  writer.forced_types = {{1, 20}};
  const std::string message = refusal(writer.bytes(), Code::kInvalidArgument);
  EXPECT_HAS(message, "IQ4_NL (20)");
  EXPECT_HAS(message, "blk.0.attn_q.weight");
  writer.forced_types = {{1, 4711}};
  EXPECT_HAS(refusal(writer.bytes(), Code::kInvalidArgument), "unknown type 4711");
}

TEST(Gguf, RefusesOverlappingTensors) {
  GgufWriter writer = toy();
  writer.forced_offsets = {{1, 64}};
  EXPECT_HAS(refusal(writer.bytes(), Code::kDataLoss), "overlap");
}

TEST(Gguf, RefusesOffsetsThatAreUnalignedOrOutside) {
  GgufWriter writer = toy();
  writer.forced_offsets = {{2, 33}};
  EXPECT_HAS(refusal(writer.bytes(), Code::kDataLoss), "not aligned");
  writer.forced_offsets = {{2, 1u << 20}};
  EXPECT_HAS(refusal(writer.bytes(), Code::kDataLoss), "bytes are missing");
  writer.forced_offsets = {{2, ~std::uint64_t{31}}};
  EXPECT_HAS(refusal(writer.bytes(), Code::kDataLoss), "absurd offset");
}

TEST(Gguf, RefusesImpossibleShapes) {
  const auto with_shape = [](std::vector<std::int64_t> shape, DType dtype = DType::kF32) {
    GgufWriter writer;
    writer.tensor({"t", dtype, std::move(shape), std::string(64, 'x')});
    return writer.bytes();
  };
  EXPECT_HAS(refusal(with_shape({1, 1, 1, 1, 1}), Code::kDataLoss), "5 dimensions");
  EXPECT_HAS(refusal(with_shape({}), Code::kDataLoss), "0 dimensions");
  EXPECT_HAS(refusal(with_shape({0}), Code::kDataLoss), "dimension of 0");
  EXPECT_HAS(refusal(with_shape({-1}), Code::kDataLoss), "dimension of");
  EXPECT_HAS(refusal(with_shape({std::int64_t{1} << 40, std::int64_t{1} << 40}), Code::kDataLoss), "too large");
  EXPECT_HAS(refusal(with_shape({2, 33}, DType::kQ8_0), Code::kDataLoss), "multiple of 32");
}

TEST(Gguf, RefusesAbsurdCounts) {
  std::string bytes = toy().bytes();
  std::string many_tensors = bytes, many_keys = bytes;
  std::memset(&many_tensors[8], 0xff, 8);
  std::memset(&many_keys[16], 0x7f, 8);
  EXPECT_HAS(refusal(many_tensors, Code::kDataLoss), "tensors");
  EXPECT_HAS(refusal(many_keys, Code::kDataLoss), "metadata keys");

  const auto huge_array = [](std::uint32_t type, std::uint64_t n) {
    return GgufWriter().raw("a", 9, little_endian(type) + little_endian(n) + std::string(64, '\0')).bytes();
  };
  EXPECT_HAS(refusal(huge_array(8, 1u << 20), Code::kDataLoss), "missing");
  EXPECT_HAS(refusal(huge_array(8, std::uint64_t{1} << 62), Code::kDataLoss), "elements");
  GgufWriter many_bytes;  // one byte each in the file, eight in memory
  for (const char* key : {"a", "b", "c"}) {
    many_bytes.raw(key, 9,
                   little_endian(std::uint32_t{0}) + little_endian(std::uint64_t{3} << 20) + std::string(3 << 20, 'x'));
  }
  EXPECT_HAS(refusal(many_bytes.bytes(), Code::kDataLoss), "arrays of numbers so far take 75497472 bytes");
  EXPECT_HAS(refusal(huge_array(9, 1), Code::kDataLoss), "unsupported type 9");
  EXPECT_HAS(refusal(GgufWriter().raw("s", 8, little_endian(std::uint64_t{1} << 60)).bytes(), Code::kDataLoss),
             "allowed");
  EXPECT_HAS(refusal(GgufWriter().raw("t", 13, "12345678").bytes(), Code::kDataLoss), "unknown value type 13");
}

TEST(Gguf, RefusesEveryTruncation) {
  const std::string bytes = toy().bytes();
  const std::size_t used = bytes.size() - 12;  // the last tensor's 20 bytes are padded to 32
  for (int part = 0; part < 50; ++part) {
    const std::string message = refusal(bytes.substr(0, used * part / 50), Code::kDataLoss);
    EXPECT_NE(message, "accepted") << part;
  }
  EXPECT_HAS(refusal(bytes.substr(0, used - 7), Code::kDataLoss), "7 bytes are missing");
  EXPECT_TRUE(read(bytes.substr(0, used)).has_value());
}

TEST(Gguf, SurvivesEveryFlippedByte) {
  const std::string bytes = toy().bytes();
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    for (const char mask : {'\x01', '\x80', '\xff'}) {
      std::string damaged = bytes;
      damaged[i] = static_cast<char>(damaged[i] ^ mask);
      const auto header = read(std::move(damaged));
      if (!header) continue;
      for (const TensorInfo& tensor : header->tensors) EXPECT_LE(tensor.offset + tensor.n_bytes, bytes.size());
    }
  }
}

}  // namespace
}  // namespace commissure
