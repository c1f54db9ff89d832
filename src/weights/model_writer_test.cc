#include "weights/model_writer.h"

#include <gtest/gtest.h>

#include <sys/resource.h>

#include <cmath>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>

#include "kernels/quant.h"
#include "support/checkpoint_writer.h"
#include "support/temp_folder.h"
#include "weights/file_writer.h"
#include "weights/written_quant.h"

namespace commissure {
namespace {

using testing::float_tensor;
using testing::GgufWriter;
using testing::safetensors_bytes;
using testing::TempFolder;
using testing::ToyTensor;

std::vector<float> waves(int n) {
  std::vector<float> values(n);
  for (int i = 0; i < n; ++i) values[i] = 0.05f * std::sin(static_cast<float>(i));
  return values;
}

std::vector<ToyTensor> tensors() {
  return {float_tensor("a.weight", {3, 64}, waves(192)), float_tensor("b.weight", {2, 32}, waves(64)),
          float_tensor("norm.weight", {5}, waves(5))};
}

std::string write_source(const TempFolder& folder, bool is_gguf) {
  if (is_gguf) {
    GgufWriter writer;
    writer.text("general.architecture", "llama").texts("tokenizer.ggml.tokens", {"a", "b"});
    for (ToyTensor& tensor : tensors()) writer.tensor(std::move(tensor));
    return folder.write("toy.gguf", writer.bytes());
  }
  folder.write("config.json", R"({"model_type": "llama"})");
  folder.write("tokenizer.json", R"({"model": {}})");
  folder.write("model.safetensors", safetensors_bytes(tensors()));
  return folder.path();
}

std::unique_ptr<Checkpoint> opened(const std::string& location) {
  auto checkpoint = Checkpoint::open(location);
  EXPECT_TRUE(checkpoint.has_value()) << checkpoint.error().message();
  return checkpoint ? std::move(*checkpoint) : nullptr;
}

void add_template(const TempFolder& source) {
  std::filesystem::create_directory(source.path("additional_chat_templates"));
  source.write("additional_chat_templates/rag.jinja", "{{ documents }}");
}

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) names.push_back(entry.path().filename());
  return names;
}

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string bytes_of(const Checkpoint& checkpoint, const char* name) {
  const auto range = checkpoint.load(*checkpoint.find(name));
  EXPECT_TRUE(range.has_value());
  return range ? std::string(reinterpret_cast<const char*>(range->bytes.data()), range->bytes.size()) : "";
}

TEST(ModelWriter, EveryTensorComesBackAsItWasHandedOut) {
  for (const bool is_gguf : {false, true}) {
    const TempFolder source, target;
    const auto before = opened(write_source(source, is_gguf));
    before->quantise("a.weight", DType::kNF4);
    before->quantise("b.weight", DType::kQ8_0);
    before->set_quantisation("nf4");
    const auto n_bytes = write_model(*before, target.path() + "/new/out", {});
    ASSERT_TRUE(n_bytes.has_value()) << n_bytes.error().message();
    const auto after = opened(target.path() + "/new/out");
    ASSERT_EQ(after->tensors().size(), 3u);
    EXPECT_TRUE(after->unsupported_dtypes().empty());
    for (const char* name : {"a.weight", "b.weight", "norm.weight"}) {
      EXPECT_EQ(bytes_of(*after, name), bytes_of(*before, name)) << name << " gguf " << is_gguf;
      EXPECT_EQ(after->find(name)->dtype, before->find(name)->dtype);
      EXPECT_EQ(after->find(name)->shape, before->find(name)->shape);
      EXPECT_FALSE(after->is_made(*after->find(name)));
    }
    EXPECT_EQ(after->fingerprint(), before->fingerprint());
    EXPECT_EQ(after->quantised_fingerprint(), before->fingerprint() + "+nf4");
    if (is_gguf) {
      EXPECT_EQ(*after->metadata().text("general.architecture"), "llama");
    } else {
      EXPECT_EQ(after->read_side_file("tokenizer.json").value(), R"({"model": {}})");
    }
  }
}

TEST(ModelWriter, ExpandsWhatIsQuantisedToBf16) {
  const TempFolder source, target;
  const auto before = opened(write_source(source, true));
  before->quantise("a.weight", DType::kQ8_0);
  ASSERT_TRUE(write_model(*before, target.path() + "/out", {.expand = true, .progress = {}}).has_value());
  const auto after = opened(target.path() + "/out");
  EXPECT_EQ(after->find("a.weight")->dtype, DType::kBF16);
  EXPECT_EQ(after->find("b.weight")->dtype, DType::kF32);
  const std::string q8 = bytes_of(*before, "a.weight"), half = bytes_of(*after, "a.weight");
  std::vector<float> values(192);
  dequantise(DType::kQ8_0, reinterpret_cast<const std::byte*>(q8.data()), values);
  for (std::size_t i = 0; i < values.size(); ++i) {
    bf16 found = 0;
    std::memcpy(&found, &half[2 * i], sizeof found);
    EXPECT_EQ(found, to_bf16(values[i]));
  }
  EXPECT_EQ(after->quantisation(), "");
}

TEST(ModelWriter, LeavesAFolderAloneThatHoldsSomething) {
  const TempFolder source, target;
  target.write("mine", "text");
  const auto refused = write_model(*opened(write_source(source, false)), target.path(), {});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), Code::kAlreadyExists);
  EXPECT_EQ(names_in(target.path()), std::vector<std::string>{"mine"});
  EXPECT_EQ(text_of(target.path("mine")), "text");
}

TEST(ModelWriter, AStopLeavesNothing) {
  for (const bool is_gguf : {false, true}) {
    for (const int last : {1, 2, 3}) {
      const TempFolder source, target;
      write_source(source, is_gguf);
      add_template(source);
      int n_calls = 0;
      const auto stopped =
          write_model(*opened(is_gguf ? source.path("toy.gguf") : source.path()), target.path() + "/new/out",
                      {.progress = [&](std::uint64_t, std::uint64_t) { return ++n_calls < last; }});
      ASSERT_FALSE(stopped.has_value());
      EXPECT_EQ(stopped.error().code(), Code::kCancelled);
      EXPECT_EQ(names_in(target.path()), std::vector<std::string>()) << is_gguf << last;
    }
  }
}

TEST(ModelWriter, AStopLeavesTheFoldersThatWereThere) {
  const TempFolder source, target;
  const auto model = opened(write_source(source, false));
  const auto stop = [](std::uint64_t, std::uint64_t) { return false; };
  std::filesystem::create_directory(target.path("mine"));
  for (const char* folder : {"mine", "mine/", "mine/new/out/", "mine/x/../out"}) {
    EXPECT_EQ(write_model(*model, target.path(folder), {.progress = stop}).error().code(), Code::kCancelled) << folder;
    EXPECT_EQ(names_in(target.path()), std::vector<std::string>{"mine"}) << folder;
    EXPECT_EQ(names_in(target.path("mine")), std::vector<std::string>()) << folder;
  }
  std::filesystem::create_symlink(target.path("nowhere"), target.path("mine/link"));
  EXPECT_FALSE(write_model(*model, target.path("mine/link"), {}).has_value());
  EXPECT_EQ(names_in(target.path("mine")), std::vector<std::string>{"link"})
      << "a link that leads nowhere is somebody's";
}

TEST(ModelWriter, ChatTemplatesComeAlong) {
  const TempFolder source, target;
  write_source(source, false);
  add_template(source);
  source.write("additional_chat_templates/notes.txt", "no template");
  ASSERT_TRUE(write_model(*opened(source.path()), target.path() + "/out", {}).has_value());
  EXPECT_EQ(text_of(target.path() + "/out/additional_chat_templates/rag.jinja"), "{{ documents }}");
  EXPECT_EQ(names_in(target.path() + "/out/additional_chat_templates"), std::vector<std::string>{"rag.jinja"});
}

TEST(ModelWriter, WhatItMarksIsMarkedOnce) {
  const TempFolder source, target;
  const auto before = opened(write_source(source, true));
  before->quantise("a.weight", DType::kNF4);
  before->set_quantisation("nf4");
  ASSERT_TRUE(write_model(*before, target.path() + "/first", {}).has_value());
  const auto first = opened(target.path() + "/first");
  ASSERT_TRUE(write_model(*first, target.path() + "/again", {}).has_value());
  const auto again = opened(target.path() + "/again");
  ASSERT_NE(again, nullptr) << "keys that stand twice are refused";
  EXPECT_EQ(again->quantised_fingerprint(), first->quantised_fingerprint());
}

TEST(ModelWriter, WhatItWroteIsNotExpanded) {
  const TempFolder source, target;
  const auto before = opened(write_source(source, false));
  before->quantise("a.weight", DType::kNF4);
  before->set_quantisation("nf4");
  const auto refused = write_model(*before, target.path() + "/out", {.expand = true, .progress = {}});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), Code::kInvalidArgument);
  EXPECT_EQ(names_in(target.path()), std::vector<std::string>()) << "nor is its folder made";
}

TEST(FileWriter, AFullDiskLeavesNoFile) {
  const TempFolder folder;
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit tight{64u << 10, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &tight);
  {
    const auto file = FileWriter::create(folder.path("large"));
    ASSERT_TRUE(file.has_value()) << file.error().message();
    EXPECT_TRUE((*file)->write(std::string(40u << 10, 'a')).has_value());
    const Status full = (*file)->write(std::string(40u << 10, 'b'));
    EXPECT_EQ(full ? Code::kOk : full.error().code(), Code::kResourceExhausted);
  }
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(names_in(folder.path()), std::vector<std::string>());
}

TEST(MadeTensor, NamesTheRowThatHoldsNoNumber) {
  for (const float bad : {NAN, std::numeric_limits<float>::infinity()}) {
    const TempFolder folder;
    std::vector<float> values = waves(192);
    values[64 * 2 + 5] = bad;
    folder.write("config.json", "{}");
    folder.write("model.safetensors", safetensors_bytes({float_tensor("a.weight", {3, 64}, values)}));
    const auto checkpoint = opened(folder.path());
    checkpoint->quantise("a.weight", DType::kNF4);
    const auto range = checkpoint->load(*checkpoint->find("a.weight"));
    ASSERT_FALSE(range.has_value());
    EXPECT_EQ(range.error().code(), Code::kDataLoss);
    EXPECT_NE(range.error().message().find("tensor \"a.weight\": row 2"), std::string::npos) << range.error().message();
  }
}

TEST(WrittenQuant, BytesOfAnotherShapeAreNoMatrix) {
  const auto tensor = [](const std::string& name, std::vector<std::int64_t> shape) {
    return TensorInfo{.name = name, .dtype = DType::kU8, .shape = std::move(shape)};
  };
  const auto read = as_written(tensor(written_name("w", DType::kNF4), {3, 68}));
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->name, "w");
  EXPECT_EQ(read->shape, (std::vector<std::int64_t>{3, 128}));
  EXPECT_EQ(as_written(tensor(written_name("w", DType::kQ8_0), {3, 68}))->shape[1], 64);
  EXPECT_FALSE(as_written(tensor("w", {3, 68})));
  EXPECT_FALSE(as_written(tensor(written_name("w", DType::kNF4), {3, 67})));
  EXPECT_FALSE(as_written(tensor(written_name("w", DType::kNF4), {204})));
  EXPECT_FALSE(as_written(tensor(written_name("w", DType::kNF4), {3, 0})));
}

}  // namespace
}  // namespace commissure
