#include "weights/safetensors.h"

#include <gtest/gtest.h>

#include <string>

#include "support/checkpoint_writer.h"
#include "support/memory_source.h"

namespace commissure {
namespace {

using testing::counting_tensor;
using testing::safetensors_bytes;
using testing::safetensors_file;

Result<SafetensorsHeader> read(std::string bytes) {
  MemorySource source(std::move(bytes));
  return read_safetensors_header(source);
}

#define EXPECT_REFUSED(bytes, code_, part)                                                           \
  do {                                                                                               \
    const auto refused = read(bytes);                                                                \
    ASSERT_FALSE(refused.has_value());                                                               \
    EXPECT_EQ(refused.error().code(), code_) << refused.error().message();                           \
    EXPECT_NE(refused.error().message().find(part), std::string::npos) << refused.error().message(); \
  } while (false)

std::string toy() {
  return safetensors_bytes({counting_tensor("a", DType::kBF16, {2, 3}, 1), counting_tensor("b", DType::kF32, {4}, 2),
                            counting_tensor("c", DType::kF16, {1, 8}, 3)});
}

TEST(Safetensors, ReadsTensors) {
  const auto header = read(toy());
  ASSERT_TRUE(header.has_value()) << header.error().message();
  ASSERT_EQ(header->tensors.size(), 3u);
  EXPECT_EQ(header->tensors[0].dtype, DType::kBF16);
  EXPECT_EQ(header->tensors[0].shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(header->tensors[0].offset, header->n_bytes);
  EXPECT_EQ(header->tensors[1].offset, header->n_bytes + 12);
  EXPECT_EQ(header->tensors[2].n_bytes, 16u);
}

TEST(Safetensors, KeepsForeignDtypesApart) {
  const auto header = read(safetensors_file(
      R"({"ids":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},"w":{"dtype":"F32","shape":[],"data_offsets":[8,12]}})",
      std::string(12, 'x')));
  ASSERT_TRUE(header.has_value()) << header.error().message();
  ASSERT_EQ(header->unsupported.size(), 1u);
  EXPECT_EQ(header->unsupported[0].second, "I64");
  ASSERT_EQ(header->tensors.size(), 1u);
  EXPECT_EQ(header->tensors[0].n_elements(), 1);
}

TEST(Safetensors, RefusesGapsOverlapsAndWrongSizes) {
  const auto two = [](const char* first, const char* second) {
    return safetensors_file(fmt::format(R"({{"a":{{"dtype":"F32","shape":[2],"data_offsets":{}}},)"
                                        R"("b":{{"dtype":"F32","shape":[2],"data_offsets":{}}}}})",
                                        first, second),
                            std::string(16, 'x'));
  };
  EXPECT_TRUE(read(two("[8,16]", "[0,8]")).has_value());
  EXPECT_REFUSED(two("[0,8]", "[12,20]"), Code::kDataLoss, "leaving a gap after 8");
  EXPECT_REFUSED(two("[0,8]", "[4,12]"), Code::kDataLoss, "overlapping");
  EXPECT_REFUSED(two("[0,8]", "[8,20]"), Code::kDataLoss, "takes 8 bytes, its data_offsets span 12");
  EXPECT_REFUSED(two("[8,0]", "[8,16]"), Code::kDataLoss, "ascending");
  EXPECT_REFUSED(two("[-8,0]", "[8,16]"), Code::kDataLoss, "ascending");
  const std::string whole = two("[0,8]", "[8,16]");
  EXPECT_REFUSED(whole.substr(0, whole.size() - 3), Code::kDataLoss, "3 bytes are missing");
  EXPECT_REFUSED(two("[0,8]", "[8,16]") + "more", Code::kDataLoss, "16 only");
}

TEST(Safetensors, RefusesMalformedEntries) {
  const auto one = [](std::string_view entry) {
    return safetensors_file(fmt::format(R"({{"a":{}}})", entry), std::string(8, 'x'));
  };
  EXPECT_REFUSED(one("7"), Code::kDataLoss, "needs a dtype");
  EXPECT_REFUSED(one(R"({"dtype":"F99","shape":[2],"data_offsets":[0,8]})"), Code::kDataLoss, "unknown dtype");
  EXPECT_REFUSED(one(R"({"dtype":"F32","shape":[2.5],"data_offsets":[0,8]})"), Code::kDataLoss, "whole number");
  EXPECT_REFUSED(one(R"({"dtype":"F32","shape":[-2],"data_offsets":[0,8]})"), Code::kDataLoss, "whole number");
  EXPECT_REFUSED(one(R"({"dtype":"F32","shape":[4294967296,4294967296,2],"data_offsets":[0,8]})"), Code::kDataLoss,
                 "impossible");
  EXPECT_REFUSED(one(R"({"dtype":"F4","shape":[3],"data_offsets":[0,8]})"), Code::kDataLoss, "impossible");
  EXPECT_REFUSED(safetensors_file(R"({"a":1,"a":2})", ""), Code::kDataLoss, "twice");
}

TEST(Safetensors, RefusesOtherFiles) {
  EXPECT_REFUSED("GGUF whatever this is", Code::kInvalidArgument, "not a safetensors file");
  EXPECT_REFUSED(safetensors_file("[1,2]", ""), Code::kInvalidArgument, "no JSON object");
  EXPECT_REFUSED(safetensors_file("{oops}", ""), Code::kDataLoss, "invalid JSON");
  EXPECT_REFUSED("abc", Code::kDataLoss, "missing");
}

TEST(Safetensors, RefusesEveryTruncation) {
  const std::string bytes = toy();
  for (std::size_t part = 0; part < 50; ++part) {
    EXPECT_FALSE(read(bytes.substr(0, bytes.size() * part / 50)).has_value()) << part;
  }
}

TEST(Safetensors, SurvivesEveryFlippedByte) {
  const std::string bytes = toy();
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    for (const char mask : {'\x01', '\x10', '\x80'}) {
      std::string damaged = bytes;
      damaged[i] = static_cast<char>(damaged[i] ^ mask);
      const auto header = read(std::move(damaged));
      if (!header) continue;
      for (const TensorInfo& tensor : header->tensors) EXPECT_LE(tensor.offset + tensor.n_bytes, bytes.size());
    }
  }
}

TEST(Safetensors, ReadsIndexesAndRefusesPathsInThem) {
  const auto shards = parse_safetensors_index(R"({"weight_map":{"a":"x-2","b":"x-1","c":"x-2"}})", "index");
  ASSERT_TRUE(shards.has_value());
  EXPECT_EQ(*shards, (std::vector<std::string>{"x-1", "x-2"}));
  for (const char* name : {R"("../x")", R"("/etc/passwd")", R"("a\\b")", R"("")", R"("..")", "7", "null"}) {
    const auto refused = parse_safetensors_index(fmt::format(R"({{"weight_map":{{"a":{}}}}})", name), "index");
    EXPECT_FALSE(refused.has_value()) << name;
  }
  EXPECT_FALSE(parse_safetensors_index("{}", "index").has_value());
}

}  // namespace
}  // namespace commissure
