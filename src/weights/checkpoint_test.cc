#include "weights/checkpoint.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>

#include "support/checkpoint_writer.h"
#include "support/temp_folder.h"

namespace commissure {
namespace {

using testing::counting_tensor;
using testing::GgufWriter;
using testing::safetensors_bytes;
using testing::series_name;
using testing::TempFolder;
using testing::ToyTensor;

constexpr const char* kConfig = R"({"model_type": "llama", "hidden_size": 32, "_name_or_path": "somewhere"})";

std::vector<ToyTensor> toy_tensors() {
  std::vector<ToyTensor> tensors;
  for (unsigned i = 0; i < 7; ++i) {
    tensors.push_back(counting_tensor(fmt::format("blk.{}.attn_q.weight", i), DType::kF32, {3, 5 + i}, i));
  }
  return tensors;
}

GgufWriter toy_gguf() {
  GgufWriter writer;
  writer.text("general.architecture", "llama").text("general.name", "toy").u32("llama.block_count", 7);
  writer.texts("tokenizer.ggml.tokens", {"a", "b"});
  for (ToyTensor& tensor : toy_tensors()) writer.tensor(std::move(tensor));
  return writer;
}

std::string bytes_of(const ByteRange& range) {
  return std::string(reinterpret_cast<const char*>(range.bytes.data()), range.bytes.size());
}

/// Every toy tensor must come back with exactly its bytes.
void expect_toy(const Checkpoint& checkpoint) {
  for (const ToyTensor& tensor : toy_tensors()) {
    const TensorInfo* info = checkpoint.find(tensor.name);
    ASSERT_NE(info, nullptr) << tensor.name;
    EXPECT_EQ(info->shape, tensor.shape);
    const auto range = checkpoint.load(*info);
    ASSERT_TRUE(range.has_value()) << range.error().message();
    EXPECT_EQ(bytes_of(*range), tensor.bytes) << tensor.name;
  }
}

std::unique_ptr<Checkpoint> open_ok(const std::string& location, ReadMode mode = ReadMode::kMap,
                                    Vocabulary vocabulary = Vocabulary::kKeep) {
  auto checkpoint = Checkpoint::open(location, mode, vocabulary);
  EXPECT_TRUE(checkpoint.has_value()) << checkpoint.error().message();
  return checkpoint ? std::move(*checkpoint) : nullptr;
}

/// "CODE: message" of an open that must fail.
std::string refusal(const std::string& location) {
  const auto checkpoint = Checkpoint::open(location);
  return checkpoint ? "accepted" : checkpoint.error().to_string();
}

#define EXPECT_HAS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

void write_splits(const TempFolder& folder, int n) {
  const auto files = toy_gguf().splits(n);
  for (int i = 0; i < n; ++i) {
    folder.write(series_name("toy", i + 1, n, ".gguf"), files[i]);
  }
}

void write_shards(const TempFolder& folder) {
  const auto all = toy_tensors();
  const std::vector<ToyTensor> first(all.begin(), all.begin() + 3), second(all.begin() + 3, all.end());
  folder.write("model-00001-of-00002.safetensors", safetensors_bytes(first));
  folder.write("model-00002-of-00002.safetensors", safetensors_bytes(second));
  folder.write("model.safetensors.index.json",
               testing::safetensors_index(
                   {{"model-00001-of-00002.safetensors", first}, {"model-00002-of-00002.safetensors", second}}));
  folder.write("config.json", kConfig);
}

TEST(Checkpoint, ReadsAGgufFileInBothModes) {
  const TempFolder folder;
  const std::string path = folder.write("toy.gguf", toy_gguf().bytes());
  for (const ReadMode mode : {ReadMode::kMap, ReadMode::kRead}) {
    const auto checkpoint = open_ok(path, mode);
    expect_toy(*checkpoint);
    EXPECT_EQ(checkpoint->format(), CheckpointFormat::kGguf);
    EXPECT_EQ(checkpoint->metadata().integer("llama.block_count"), 7);
    EXPECT_TRUE(checkpoint->config().is_null());
  }
}

TEST(Checkpoint, JoinsSplitsFromAnyOfThem) {
  const TempFolder folder;
  write_splits(folder, 3);
  for (int number = 1; number <= 3; ++number) {
    const auto checkpoint = open_ok(folder.path(series_name("toy", number, 3, ".gguf")));
    expect_toy(*checkpoint);
    EXPECT_EQ(*checkpoint->metadata().text("general.architecture"), "llama");
  }
  expect_toy(*open_ok(folder.path()));
}

TEST(Checkpoint, RefusesBrokenSplits) {
  const TempFolder folder;
  write_splits(folder, 3);
  const std::string second = series_name("toy", 2, 3, ".gguf");
  folder.write("renamed.gguf", toy_gguf().splits(2)[0]);
  EXPECT_HAS(refusal(folder.path("renamed.gguf")), "original names");
  folder.write(second, toy_gguf().splits(3)[2]);
  EXPECT_HAS(refusal(folder.path(second)), "says it is split 3 of 3, expected 2 of 3");
  folder.write(second, toy_gguf().splits(3)[1].substr(0, 300));
  EXPECT_HAS(refusal(folder.path(second)), "missing");
  std::filesystem::remove(folder.path(second));
  EXPECT_HAS(refusal(folder.path(series_name("toy", 1, 3, ".gguf"))), "NOT_FOUND: split 2 of 3");
}

TEST(Checkpoint, ReadsSafetensorsFoldersSingleAndSharded) {
  const TempFolder single, sharded;
  single.write("model.safetensors", safetensors_bytes(toy_tensors()));
  single.write("config.json", kConfig);
  single.write("tokenizer.json", "{}");
  write_shards(sharded);
  for (const std::string& path : {single.path(), single.path("model.safetensors"), sharded.path(),
                                  sharded.path("model-00002-of-00002.safetensors")}) {
    const auto checkpoint = open_ok(path);
    expect_toy(*checkpoint);
    EXPECT_EQ(checkpoint->format(), CheckpointFormat::kSafetensors);
    EXPECT_EQ(checkpoint->config()["model_type"], "llama");
  }
  EXPECT_EQ(open_ok(single.path())->read_side_file("tokenizer.json").value(), "{}");
}

TEST(Checkpoint, RefusesBrokenSafetensorsFolders) {
  const TempFolder folder;
  write_shards(folder);
  std::filesystem::remove(folder.path("model-00002-of-00002.safetensors"));
  EXPECT_HAS(refusal(folder.path()), "its shard \"model-00002-of-00002.safetensors\" is missing");
  folder.write("model-00002-of-00002.safetensors", safetensors_bytes(toy_tensors()));
  EXPECT_HAS(refusal(folder.path()), "is also in");
  folder.write("model-00001-of-00002.safetensors", safetensors_bytes({{"u", DType::kU8, {4}, "abcd"}}));
  folder.write("model-00002-of-00002.safetensors", safetensors_bytes({{"u", DType::kU8, {4}, "efgh"}}));
  EXPECT_HAS(refusal(folder.path()), "tensor \"u\" is also in");
  folder.write("config.json", "{\"a\":");
  EXPECT_HAS(refusal(folder.path()), "config.json: invalid JSON");
  std::filesystem::remove(folder.path("config.json"));
  EXPECT_HAS(refusal(folder.path()), "needs its config.json");
}

TEST(Checkpoint, SaysWhatAFolderLacksOrHasTooMuchOf) {
  const TempFolder folder;
  EXPECT_HAS(refusal(folder.path()), "expected model.safetensors");
  folder.write("one.gguf", toy_gguf().bytes());
  expect_toy(*open_ok(folder.path()));
  folder.write("two.gguf", toy_gguf().bytes());
  EXPECT_HAS(refusal(folder.path()), "one.gguf, two.gguf");
  folder.write("model.safetensors", safetensors_bytes(toy_tensors()));
  folder.write("config.json", kConfig);
  EXPECT_EQ(open_ok(folder.path())->format(), CheckpointFormat::kSafetensors);
  EXPECT_HAS(refusal(folder.path("absent.gguf")), "NOT_FOUND");
  EXPECT_HAS(refusal(folder.write("empty.gguf", "")), "is empty");
  EXPECT_HAS(refusal("/dev/null"), "not a regular file");
}

TEST(Checkpoint, SaysWhatStandsInForAFile) {
  const TempFolder folder;
  const std::string pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 123\n";
  EXPECT_HAS(refusal(folder.write("model.gguf", pointer)), "git lfs pull");
  EXPECT_HAS(refusal(folder.write("page.gguf", "<!DOCTYPE html>\n<html>login</html>")), "is a web page");
  folder.write("config.json", kConfig);
  EXPECT_HAS(refusal(folder.write("model.safetensors", pointer)), "git lfs pull");
}

TEST(Checkpoint, AFileBehindALinkIsKnownByTheLinksName) {
  const TempFolder folder;
  const auto splits = toy_gguf().splits(2);
  for (int i = 0; i < 2; ++i) {
    const std::string blob = folder.write(fmt::format("{:02}cafe", i), splits[i]);
    std::filesystem::create_symlink(blob, folder.path(series_name("toy", i + 1, 2, ".gguf")));
  }
  expect_toy(*open_ok(folder.path(series_name("toy", 2, 2, ".gguf"))));
}

TEST(Checkpoint, KeepsSideFilesInsideTheFolder) {
  const TempFolder folder;
  const auto checkpoint = open_ok(folder.write("toy.gguf", toy_gguf().bytes()));
  folder.write("big.json", std::string(100, ' '));
  EXPECT_EQ(checkpoint->read_side_file("absent.json").error().code(), Code::kNotFound);
  for (const char* outside : {"../etc/passwd", "/etc/passwd", "a/../b", "a/b/c", "a/", "./a"}) {
    EXPECT_EQ(checkpoint->read_side_file(outside).error().code(), Code::kInvalidArgument) << outside;
  }
  EXPECT_EQ(checkpoint->read_side_file("folder/absent").error().code(), Code::kNotFound);
  EXPECT_EQ(checkpoint->read_side_file("big.json", 99).error().code(), Code::kInvalidArgument);
  EXPECT_EQ(checkpoint->read_side_file("big.json", 100)->size(), 100u);
}

TEST(Checkpoint, NamesMissingAndUnsupportedTensors) {
  const TempFolder folder;
  folder.write("config.json", kConfig);
  folder.write("model.safetensors",
               testing::safetensors_file(R"({"ids":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}})", "12345678"));
  const auto checkpoint = open_ok(folder.path());
  EXPECT_EQ(checkpoint->find("ids"), nullptr);
  EXPECT_HAS(checkpoint->require("ids").error().message(), "dtype I64");
  EXPECT_HAS(checkpoint->require("other").error().message(), "has no tensor \"other\"");
}

TEST(Checkpoint, FingerprintIgnoresPlaceAndCutButNotContent) {
  const TempFolder folder;
  const std::string whole = open_ok(folder.write("toy.gguf", toy_gguf().bytes()))->fingerprint();
  EXPECT_EQ(whole.size(), 64u);
  const TempFolder elsewhere;
  write_splits(elsewhere, 3);
  EXPECT_EQ(open_ok(elsewhere.path())->fingerprint(), whole);
  EXPECT_EQ(open_ok(folder.path("toy.gguf"), ReadMode::kRead, Vocabulary::kSkip)->fingerprint(), whole);
  const auto changed = [&](GgufWriter writer) {
    return open_ok(folder.write("changed.gguf", writer.bytes()))->fingerprint();
  };
  EXPECT_EQ(changed(toy_gguf().text("general.url", "x")), whole);
  EXPECT_NE(changed(toy_gguf().f32("llama.rope.freq_base", 1e4f)), whole);
  EXPECT_NE(changed(toy_gguf().texts("tokenizer.ggml.merges", {"a b"})), whole);
  EXPECT_NE(changed(toy_gguf().tensor(counting_tensor("output.weight", DType::kF32, {3}, 0))), whole);

  const TempFolder single, sharded;
  single.write("model.safetensors", safetensors_bytes(toy_tensors()));
  single.write("config.json", R"({"hidden_size": 32, "model_type": "llama"})");
  write_shards(sharded);
  EXPECT_EQ(open_ok(single.path())->fingerprint(), open_ok(sharded.path())->fingerprint());
}

TEST(Checkpoint, KeepsLoadedBytesAfterItIsGone) {
  const TempFolder folder;
  auto checkpoint = open_ok(folder.write("toy.gguf", toy_gguf().bytes()));
  const ByteRange range = checkpoint->load(checkpoint->tensors()[0]).value();
  checkpoint->prefetch(checkpoint->tensors()[0]);
  checkpoint->release(checkpoint->tensors()[0]);
  checkpoint.reset();
  EXPECT_EQ(bytes_of(range), toy_tensors()[0].bytes);
}

TEST(Checkpoint, ReportsAFileThatShrank) {
  const TempFolder folder;
  const auto checkpoint = open_ok(folder.write("toy.gguf", toy_gguf().bytes()), ReadMode::kRead);
  std::filesystem::resize_file(folder.path("toy.gguf"), 500);
  EXPECT_EQ(checkpoint->load(checkpoint->tensors().back()).error().code(), Code::kDataLoss);
  TensorInfo outside = checkpoint->tensors()[0];
  outside.n_bytes = 1u << 30;
  EXPECT_EQ(checkpoint->load(outside).error().code(), Code::kOutOfRange);
}

/// The path of a real model, or "" when this machine has none.
std::string real_model(const char* file) {
  const char* folder = std::getenv("COMMISSURE_TEST_MODELS");
  const std::string path = folder == nullptr ? "" : std::string(folder) + "/" + file;
  return std::filesystem::exists(path) ? path : "";
}

class RealModel : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    path_ = real_model(GetParam());
    if (path_.empty()) GTEST_SKIP() << "set COMMISSURE_TEST_MODELS to a folder with " << GetParam();
  }
  std::string path_;
};

TEST_P(RealModel, AStageReadsItsOwnTensorsAndTheHeaderOnly) {
  for (const ReadMode mode : {ReadMode::kMap, ReadMode::kRead}) {
    const auto checkpoint = open_ok(path_, mode);
    const std::uint64_t header = checkpoint->tensors()[0].offset;
    EXPECT_LE(checkpoint->header_bytes(), header + header / 20 + (128u << 10));
    std::uint64_t own = 0;
    for (const TensorInfo& tensor : checkpoint->tensors()) {
      if (!tensor.name.starts_with("blk.1")) continue;  // layers 1 and 10 to 19
      own += tensor.n_bytes;
      ASSERT_TRUE(checkpoint->load(tensor).has_value());
    }
    EXPECT_GT(own, 1u << 20);
    EXPECT_EQ(checkpoint->bytes_read(), checkpoint->header_bytes() + own);
  }
}

TEST_P(RealModel, SkippingTheVocabularyChangesNothingElse) {
  const auto whole = open_ok(path_);
  const auto lean = open_ok(path_, ReadMode::kRead, Vocabulary::kSkip);
  EXPECT_EQ(whole->fingerprint(), lean->fingerprint());
  EXPECT_EQ(whole->tensors().size(), lean->tensors().size());
  EXPECT_TRUE(whole->metadata().has("tokenizer.ggml.tokens"));
  EXPECT_FALSE(lean->metadata().has("tokenizer.ggml.tokens"));
}

INSTANTIATE_TEST_SUITE_P(Files, RealModel,
                         ::testing::Values("SmolLM2-135M-Instruct.Q4_1.gguf", "gemma-3-270m-q4_k_m.gguf"),
                         [](const auto& info) { return info.index == 0 ? "SmolLm2" : "Gemma3"; });

}  // namespace
}  // namespace commissure
