// Writes the seed files of the weight formats' fuzz entries: make_corpus FOLDER -> FOLDER/gguf, FOLDER/safetensors.

#include <filesystem>
#include <fstream>
#include <string>

#include "support/checkpoint_writer.h"

namespace {

using namespace commissure;
using namespace commissure::testing;

void write(const std::filesystem::path& path, const std::string& bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << bytes;
}

GgufWriter toy() {
  GgufWriter writer;
  writer.text("general.architecture", "llama").u32("llama.block_count", 2).f32("llama.rope.freq_base", 1e4f);
  writer.boolean("tokenizer.ggml.add_bos_token", true).texts("tokenizer.ggml.tokens", {"<s>", "a", "bc"});
  writer.floats("tokenizer.ggml.scores", {0.0f, -1.0f}).ints("tokenizer.ggml.token_type", {3, 1, 1});
  writer.tensor(counting_tensor("token_embd.weight", DType::kQ8_0, {3, 32}, 1));
  writer.tensor(counting_tensor("blk.0.attn_q.weight", DType::kQ4_K, {2, 256}, 2));
  writer.tensor(counting_tensor("output_norm.weight", DType::kF32, {5}, 3));
  return writer;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const std::filesystem::path folder = argv[1];
  write(folder / "gguf" / "single", toy().bytes());
  GgufWriter aligned = toy();
  aligned.alignment = 64;
  write(folder / "gguf" / "aligned", aligned.bytes());
  write(folder / "gguf" / "split", toy().splits(2)[1]);
  write(folder / "gguf" / "empty", GgufWriter().bytes());

  const std::vector<ToyTensor> tensors = {counting_tensor("a", DType::kBF16, {2, 3}, 1),
                                          counting_tensor("b.weight", DType::kF32, {4}, 2)};
  write(folder / "safetensors" / "plain", safetensors_bytes(tensors));
  write(folder / "safetensors" / "none", safetensors_bytes({}));
  write(folder / "safetensors" / "index", safetensors_index({{"model-00001-of-00001.safetensors", tensors}}));
  return 0;
}
