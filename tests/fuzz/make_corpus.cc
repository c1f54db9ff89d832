// Writes the seeds of binary formats: make_corpus FOLDER -> FOLDER/adapter, FOLDER/gguf,
// FOLDER/safetensors, FOLDER/files, FOLDER/step.

#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <span>
#include <string>

#include "core/check.h"
#include "support/checkpoint_writer.h"
#include "weights/pack_file.h"

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

/// Adapters of the models in adapter_fuzz.cc.
void write_adapters(const std::filesystem::path& folder) {
  const auto pair = [](const std::string& module, std::int64_t n_outputs, std::int64_t n_inputs) {
    const auto tensor = [&](const char* end, std::int64_t n_rows, std::int64_t n_cols) {
      return float_tensor("base_model.model.model.layers." + module + end, {n_rows, n_cols},
                          std::vector<float>(static_cast<std::size_t>(n_rows * n_cols), 0.5f));
    };
    return std::vector{tensor(".lora_A.weight", 4, n_inputs), tensor(".lora_B.weight", n_outputs, 4)};
  };
  const std::string config = R"({"peft_type":"LORA","r":4,"lora_alpha":8,"bias":"none","use_rslora":true)";
  write(folder / "plain", config + "}" + '\0' + safetensors_bytes(pair("0.self_attn.q_proj", 64, 64)));
  write(folder / "fused", config + "}" + '\0' + safetensors_bytes(pair("1.self_attn.qkv_proj", 128, 64)));
  write(folder / "patterns", config + R"(,"rank_pattern":{"^model\\.layers\\.\\d+\\.mlp\\..*":4,"x|down_proj":4}})" +
                                 '\0' + safetensors_bytes(pair("2.mlp.down_proj", 64, 96)));
  std::vector<ToyTensor> dora = pair("2.mlp.up_proj", 96, 64);
  dora.push_back(float_tensor("base_model.model.model.layers.2.mlp.up_proj.lora_magnitude_vector", {96},
                              std::vector<float>(96, 1.0f)));
  write(folder / "dora", config + R"(,"use_dora":true})" + '\0' + safetensors_bytes(dora));
  GgufWriter writer;
  writer.text("general.type", "adapter").text("adapter.type", "lora").f32("adapter.lora.alpha", 8.0f);
  writer.tensor(float_tensor("blk.0.attn_v.weight.lora_a", {2, 64}, std::vector<float>(128, 0.5f)));
  writer.tensor(float_tensor("blk.0.attn_v.weight.lora_b", {32, 2}, std::vector<float>(64, 0.5f)));
  write(folder / "gguf", '\0' + writer.bytes());
}

/// A model whose keys a decoder can be made of, and a byte-level vocabulary.
GgufWriter model(const std::string& family) {
  GgufWriter writer;
  writer.text("general.architecture", family);
  for (const auto& [key, value] : {std::pair("block_count", 2),
                                   {"embedding_length", 64},
                                   {"context_length", 128},
                                   {"feed_forward_length", 96},
                                   {"attention.head_count", 4},
                                   {"attention.head_count_kv", 2},
                                   {"attention.key_length", 16},
                                   {"attention.value_length", 16},
                                   {"attention.sliding_window", 24},
                                   {"rope.dimension_count", 16},
                                   {"vocab_size", 3}}) {
    writer.u32(family + "." + key, static_cast<std::uint32_t>(value));
  }
  writer.f32(family + ".attention.layer_norm_rms_epsilon", 1e-5f).f32(family + ".rope.freq_base", 1e4f);
  writer.f32("general.sampling.temp", 0.7f).f32("general.sampling.top_p", 5.0f);
  writer.text("tokenizer.ggml.model", "gpt2").text("tokenizer.ggml.pre", "qwen2");
  writer.texts("tokenizer.ggml.tokens", {"<s>", "H", "i"}).texts("tokenizer.ggml.merges", {"H i"});
  writer.ints("tokenizer.ggml.token_type", {3, 1, 1}).u32("tokenizer.ggml.bos_token_id", 0);
  writer.u32("tokenizer.ggml.eos_token_id", 0).text("tokenizer.chat_template", "{{ messages }}");
  return writer;
}

/// Experts, one of which every row takes.
GgufWriter experts(const std::string& family) {
  GgufWriter writer = model(family);
  writer.u32(family + ".expert_count", 4).u32(family + ".expert_used_count", 2);
  writer.u32(family + ".expert_feed_forward_length", 32).u32(family + ".expert_shared_feed_forward_length", 48);
  return writer;
}

/// Fused matrices, and factors of a longrope.
GgufWriter phi() {
  GgufWriter writer = model("phi3");
  writer.u32("phi3.rope.scaling.original_context_length", 64);
  writer.tensor(float_tensor("rope_factors_long.weight", {8}, {1, 1, 2, 3, 4, 5, 6, 7}));
  writer.tensor(float_tensor("rope_factors_short.weight", {8}, {1, 1, 1, 1, 1, 1, 1, 2}));
  writer.tensor(counting_tensor("blk.0.attn_qkv.weight", DType::kF32, {4, 4}, 4));
  return writer;
}

/// Heads of two sizes, the last layer's keys and values another's.
GgufWriter gemma4() {
  GgufWriter writer = model("gemma4");
  writer.booleans("gemma4.attention.sliding_window_pattern", {true, true});
  writer.u32("gemma4.attention.key_length_swa", 16).u32("gemma4.attention.shared_kv_layers", 1);
  writer.u32("gemma4.embedding_length_per_layer_input", 32).f32("gemma4.final_logit_softcapping", 30.0f);
  writer.tensor(float_tensor("rope_freqs.weight", {8}, {1, 1, 1e30f, 1e30f, 1e30f, 1e30f, 1e30f, 1e30f}));
  writer.tensor(counting_tensor("blk.0.attn_k.weight", DType::kF32, {4, 4}, 4));
  return writer;
}

/// SentencePiece's kind of vocabulary.
GgufWriter pieces() {
  GgufWriter writer;
  writer.text("general.architecture", "llama").text("tokenizer.ggml.model", "llama");
  writer.texts("tokenizer.ggml.tokens", {"<unk>", "<s>", "</s>", "<0x0A>", "\u2581", "H", "i", "Hi"});
  writer.floats("tokenizer.ggml.scores", {0, 0, 0, 0, -1, -2, -3, -4});
  writer.ints("tokenizer.ggml.token_type", {2, 3, 3, 6, 1, 1, 1, 1});
  writer.boolean("tokenizer.ggml.add_space_prefix", true).u32("tokenizer.ggml.unknown_token_id", 0);
  return writer;
}

/// A pack file behind the letter that names its reader; files_fuzz.cc looks for these tensors.
void write_pack(const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder);
  const std::filesystem::path path = folder / "pack";
  auto writer = PackWriter::create(path.string(), "layout", "fingerprint");
  CHECK(writer.has_value());
  constexpr std::string_view kSource = "the matrix as the checkpoint has it";
  const std::string packed(100, 'm');
  for (const auto& [name, n_bytes] : {std::pair("a", 5), {"b.weight", 100}}) {
    const auto bytes = std::as_bytes(std::span(packed)).first(static_cast<std::size_t>(n_bytes));
    CHECK((*writer)->add(name, std::as_bytes(std::span(kSource)), bytes).has_value());
  }
  CHECK((*writer)->finish().has_value());
  std::ifstream file(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  write(path, "p" + bytes);
}

/// Bytes that choose steps.
void write_steps(const std::filesystem::path& folder) {
  std::mt19937 random(1);
  for (int i = 0; i < 24; ++i) {
    std::string bytes(static_cast<std::size_t>(40 << i % 4), '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    write(folder / std::to_string(i), bytes);
  }
}

/// What the file of an image encoder says of it.
GgufWriter mmproj() {
  GgufWriter writer;
  writer.text("general.architecture", "clip").text("clip.projector_type", "gemma3").boolean("clip.use_gelu", true);
  writer.u32("clip.vision.image_size", 112).u32("clip.vision.patch_size", 14).u32("clip.vision.block_count", 2);
  writer.u32("clip.vision.embedding_length", 144).u32("clip.vision.feed_forward_length", 112);
  writer.u32("clip.vision.attention.head_count", 2).u32("clip.vision.projector.scale_factor", 2);
  writer.f32("clip.vision.attention.layer_norm_epsilon", 1e-6f);
  writer.floats("clip.vision.image_mean", {0.5f, 0.5f, 0.5f}).floats("clip.vision.image_std", {0.5f, 0.5f, 0.5f});
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
  write(folder / "gguf" / "mmproj", mmproj().bytes());
  for (const char* family : {"llama", "gemma2", "gemma3", "mistral", "smollm3"}) {
    write(folder / "gguf" / family, model(family).bytes());
  }
  for (const char* family : {"qwen2moe", "qwen3moe"}) write(folder / "gguf" / family, experts(family).bytes());
  write(folder / "gguf" / "phi3", phi().bytes());
  write(folder / "gguf" / "gemma4", gemma4().bytes());
  write(folder / "gguf" / "pieces", pieces().bytes());
  // An array of bytes that claims more than a machine holds, and one of arrays.
  const std::string count = little_endian<std::uint64_t>(std::uint64_t{1} << 40);
  write(folder / "gguf" / "bytes", GgufWriter().raw("a", 9, little_endian<std::uint32_t>(0) + count).bytes());
  write(folder / "gguf" / "nested", GgufWriter().raw("a", 9, little_endian<std::uint32_t>(9) + count).bytes());

  const std::vector<ToyTensor> tensors = {counting_tensor("a", DType::kBF16, {2, 3}, 1),
                                          counting_tensor("b.weight", DType::kF32, {4}, 2)};
  write(folder / "safetensors" / "plain", safetensors_bytes(tensors));
  write_adapters(folder / "adapter");
  write(folder / "safetensors" / "none", safetensors_bytes({}));
  write(folder / "safetensors" / "index", safetensors_index({{"model-00001-of-00001.safetensors", tensors}}));
  write_pack(folder / "files");
  write_steps(folder / "step");
  return 0;
}
