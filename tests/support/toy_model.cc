#include "support/toy_model.h"

#include <cmath>

#include "core/json.h"
#include "support/toy_values.h"

namespace commissure::testing {
namespace {

struct Tensor {
  std::string gguf;
  std::string safetensors;
  std::vector<std::int64_t> shape;
  std::vector<float> values;
  int permuted_heads = 0;  ///< in GGUF; 0: none
  bool is_norm = false;
};

class Weights {
 public:
  explicit Weights(const ToyModel& model) : model_(model) {
    const std::int64_t d = model.d_model, q = model.n_heads * model.head_dim, kv = model.n_kv_heads * model.head_dim;
    matrix("token_embd", "model.embed_tokens", model.n_vocab, d);
    for (int i = 0; i < model.n_layers; ++i) {
      gguf_ = "blk." + std::to_string(i) + ".";
      safetensors_ = "model.layers." + std::to_string(i) + ".";
      norm("attn_norm", "input_layernorm", d);
      matrix("attn_q", "self_attn.q_proj", q, d, model.n_heads);
      matrix("attn_k", "self_attn.k_proj", kv, d, model.n_kv_heads);
      matrix("attn_v", "self_attn.v_proj", kv, d);
      matrix("attn_output", "self_attn.o_proj", d, q);
      norm("ffn_norm", model.is_gemma ? "pre_feedforward_layernorm" : "post_attention_layernorm", d);
      matrix("ffn_gate", "mlp.gate_proj", model.d_ff, d);
      matrix("ffn_up", "mlp.up_proj", model.d_ff, d);
      matrix("ffn_down", "mlp.down_proj", d, model.d_ff);
      if (!model.is_gemma) continue;
      norm("attn_q_norm", "self_attn.q_norm", model.head_dim);
      norm("attn_k_norm", "self_attn.k_norm", model.head_dim);
      norm("post_attention_norm", "post_attention_layernorm", d);
      norm("post_ffw_norm", "post_feedforward_layernorm", d);
    }
    gguf_ = safetensors_ = "";
    norm("output_norm", "model.norm", d);
    if (model.tied_head) return;
    matrix("output", "lm_head", model.n_vocab, d);
    for (float& value : tensors_.back().values) value *= model.head_gain;
  }

  const std::vector<Tensor>& tensors() const { return tensors_; }

 private:
  void matrix(const std::string& gguf, const std::string& safetensors, std::int64_t rows, std::int64_t cols,
              int permuted_heads = 0) {
    Tensor& tensor = add(gguf, safetensors, {rows, cols}, rows * cols);
    const float scale = 2.0f / std::sqrt(static_cast<float>(cols));
    for (float& value : tensor.values) value *= scale;
    tensor.permuted_heads = model_.is_gemma ? 0 : permuted_heads;
  }
  void norm(const std::string& gguf, const std::string& safetensors, std::int64_t n) {
    Tensor& tensor = add(gguf, safetensors, {n}, n);
    const float centre = model_.is_gemma ? 0.0f : 1.0f;
    for (float& value : tensor.values) value = centre + 0.25f * value;
    tensor.is_norm = true;
  }
  Tensor& add(const std::string& gguf, const std::string& safetensors, std::vector<std::int64_t> shape,
              std::int64_t n) {
    const std::string name = safetensors_ + safetensors + ".weight";
    tensors_.push_back({gguf_ + gguf + ".weight", name, std::move(shape), noise(name, model_.seed, n)});
    return tensors_.back();
  }

  const ToyModel& model_;
  std::string gguf_, safetensors_;
  std::vector<Tensor> tensors_;
};

}  // namespace

std::string toy_gguf(const ToyModel& model) {
  GgufWriter writer;
  const std::string prefix = model.is_gemma ? "gemma3." : "llama.";
  const auto u32 = [&](const char* key, int value) { writer.u32(prefix + key, static_cast<std::uint32_t>(value)); };
  writer.text("general.architecture", model.is_gemma ? "gemma3" : "llama");
  u32("block_count", model.n_layers);
  u32("context_length", 4096);
  u32("embedding_length", model.d_model);
  u32("feed_forward_length", model.d_ff);
  u32("attention.head_count", model.n_heads);
  u32("attention.head_count_kv", model.n_kv_heads);
  u32("attention.key_length", model.head_dim);
  u32("attention.value_length", model.head_dim);
  if (model.is_gemma) u32("attention.sliding_window", model.window);
  writer.f32(prefix + "attention.layer_norm_rms_epsilon", 1e-6f);
  writer.f32(prefix + "rope.freq_base", model.is_gemma ? 1000000.0f : 10000.0f);
  const Weights weights(model);
  for (Tensor tensor : weights.tensors()) {
    if (tensor.permuted_heads > 0)
      tensor.values = interleaved_rows(tensor.values, tensor.permuted_heads, tensor.shape[1]);
    if (tensor.is_norm && model.is_gemma) {
      for (float& value : tensor.values) value += 1.0f;
    }
    if (tensor.is_norm || model.matrices == DType::kF32) {
      writer.tensor(float_tensor(tensor.gguf, tensor.shape, tensor.values));
    } else {
      writer.tensor({tensor.gguf, DType::kQ8_0, tensor.shape, q8_0_bytes(tensor.values)});
    }
  }
  return writer.bytes();
}

std::string toy_config(const ToyModel& model) {
  Json config = {{"model_type", model.is_gemma ? "gemma3_text" : "llama"},
                 {"num_hidden_layers", model.n_layers},
                 {"hidden_size", model.d_model},
                 {"intermediate_size", model.d_ff},
                 {"num_attention_heads", model.n_heads},
                 {"num_key_value_heads", model.n_kv_heads},
                 {"head_dim", model.head_dim},
                 {"vocab_size", model.n_vocab},
                 {"max_position_embeddings", 4096},
                 {"rms_norm_eps", 1e-6},
                 {"tie_word_embeddings", model.tied_head},
                 {"rope_theta", model.is_gemma ? 1000000.0 : 10000.0}};
  if (model.is_gemma) {
    config["sliding_window"] = model.window;
    config["query_pre_attn_scalar"] = model.head_dim;
  }
  return dump_json(config);
}

std::string toy_safetensors(const ToyModel& model) {
  std::vector<ToyTensor> tensors;
  const Weights weights(model);
  for (const Tensor& tensor : weights.tensors()) {
    tensors.push_back(float_tensor(tensor.safetensors, tensor.shape, tensor.values));
  }
  return safetensors_bytes(tensors);
}

}  // namespace commissure::testing
