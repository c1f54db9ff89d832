#include "model/decoder_spec.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include <fmt/format.h>

#include "model/raw_spec.h"
#include "model/tensor_names.h"

namespace commissure {
namespace {

/// A short list of floats; absent is empty.
Result<std::vector<float>> read_rope_list(const Checkpoint& checkpoint, const char* name) {
  const TensorInfo* tensor = checkpoint.find(name);
  if (tensor == nullptr) return std::vector<float>{};
  if (tensor->dtype != DType::kF32 || tensor->shape.size() != 1 || tensor->n_bytes > 4096) {
    return Error(Code::kInvalidArgument, checkpoint.location(), ": ", name, " must be a short list of F32");
  }
  const ByteRange range = TRY(checkpoint.load(*tensor));
  std::vector<float> divisors(range.bytes.size() / sizeof(float));
  std::memcpy(divisors.data(), range.bytes.data(), divisors.size() * sizeof(float));
  return divisors;
}

/// Files do not say it in the header: layers whose values are their keys have no value projection.
bool has_keys_without_values(const Checkpoint& checkpoint) {
  constexpr std::string_view kKey = ".attn_k.weight", kValue = ".attn_v.weight";
  return std::ranges::any_of(checkpoint.tensors(), [&](const TensorInfo& tensor) {
    if (!tensor.name.starts_with("blk.") || !tensor.name.ends_with(kKey)) return false;
    const std::string layer = tensor.name.substr(0, tensor.name.size() - kKey.size());
    return checkpoint.find(layer + std::string(kValue)) == nullptr;
  });
}

Result<DecoderSpec> read_gguf(const Checkpoint& checkpoint) {
  TRY(check_gguf_family(checkpoint.metadata()));
  GgufFacts facts;
  if (const TensorInfo* table = checkpoint.find("token_embd.weight"); table != nullptr && table->shape.size() == 2) {
    facts.n_vocab = table->shape[0];
  } else {
    return Error(Code::kInvalidArgument, "tensor token_embd.weight is missing or no matrix; is this a language model?");
  }
  facts.has_head = checkpoint.find("output.weight") != nullptr;
  facts.has_qkv_bias = checkpoint.find("blk.0.attn_q.bias") != nullptr;
  facts.has_output_bias = checkpoint.find("blk.0.attn_output.bias") != nullptr;
  facts.full_value_is_key = has_keys_without_values(checkpoint);
  facts.has_fused_qkv = checkpoint.find("blk.0.attn_qkv.weight") != nullptr;
  facts.has_separate_gate = checkpoint.find("blk.0.ffn_gate.weight") != nullptr;
  facts.has_packed_experts = checkpoint.find("blk.0.ffn_gate_up_exps.weight") != nullptr;
  facts.rope_divisors = TRY(read_rope_list(checkpoint, "rope_freqs.weight"));
  facts.long_factors = TRY(read_rope_list(checkpoint, "rope_factors_long.weight"));
  facts.short_factors = TRY(read_rope_list(checkpoint, "rope_factors_short.weight"));
  return spec_from_gguf(checkpoint.metadata(), facts);
}

/// Names differ by how the model was saved: text only, multimodal, multimodal by newer libraries.
struct NamingForm {
  std::string_view prefix;
  std::string_view head;
};
constexpr std::array<NamingForm, 3> kNamingForms = {{
    {"model.", "lm_head.weight"},
    {"language_model.model.", "language_model.lm_head.weight"},
    {"model.language_model.", "lm_head.weight"},
}};

/// Both forms are about: libraries save the experts of a layer one by one, or as they hold them.
bool has_packed_experts(const Checkpoint& checkpoint, const DecoderSpec& spec) {
  for (int layer = 0; layer < spec.n_layers(); ++layer) {
    if (spec.layers[layer].experts.n_experts == 0) continue;
    const std::string_view branch = spec.layers[layer].experts.beside_dense ? "" : "mlp.";
    return checkpoint.find(fmt::format("{}layers.{}.{}experts.gate_up_proj", spec.naming.prefix, layer, branch)) !=
           nullptr;
  }
  return false;
}

Result<DecoderSpec> read_safetensors(const Checkpoint& checkpoint) {
  TRY(check_config_family(checkpoint.config()));
  for (const NamingForm& form : kNamingForms) {
    const std::string name = std::string(form.prefix) + "embed_tokens.weight";
    if (const std::string dtype = checkpoint.unsupported_dtype(name); !dtype.empty()) {
      return Error(Code::kUnimplemented, "tensor ", name, " has dtype ", dtype,
                   ", which is not supported; supported: F32, F16, BF16");
    }
    const TensorInfo* table = checkpoint.find(name);
    if (table == nullptr) continue;
    DecoderSpec spec = TRY(spec_from_config(checkpoint.config(), table->dtype));
    spec.naming.prefix = form.prefix;
    spec.naming.head = form.head;
    spec.naming.packed_experts = has_packed_experts(checkpoint, spec);
    return spec;
  }
  return Error(Code::kInvalidArgument,
               "no embed_tokens.weight under model., language_model.model. or "
               "model.language_model.; is this a language model?");
}

}  // namespace

std::string supported_architectures() {
  return "gemma2, gemma3, gemma4, gpt_oss, granite, llama, ministral3, mistral, mistral3, olmo2, phi3, qwen2, "
         "qwen2_moe, qwen3, "
         "qwen3_5, qwen3_5_moe, qwen3_moe, smollm3";
}

std::string_view precision_name(Precision precision) { return precision == Precision::kExact ? "exact" : "fast"; }

Result<Precision> parse_precision(std::string_view name) {
  for (const Precision precision : {Precision::kFast, Precision::kExact}) {
    if (name == precision_name(precision)) return precision;
  }
  return Error(Code::kInvalidArgument, "precision is \"", name, "\", must be fast or exact");
}

int widest_window(const DecoderSpec& spec) {
  int widest = 0;
  for (const LayerSpec& layer : spec.layers) widest = std::max(widest, layer.window);
  return widest;
}

bool has_states(const DecoderSpec& spec) { return std::ranges::any_of(spec.layers, &LayerSpec::is_recurrent); }

bool shares_kv(const DecoderSpec& spec, int layer) {
  return std::ranges::find(spec.layers, layer, &LayerSpec::kv_owner) != spec.layers.end();
}

Result<DecoderSpec> read_decoder_spec(const Checkpoint& checkpoint) {
  Result<DecoderSpec> spec =
      checkpoint.format() == CheckpointFormat::kGguf ? read_gguf(checkpoint) : read_safetensors(checkpoint);
  if (!spec) return spec.error().within(checkpoint.location());
  const ModelPart whole = {0, spec->n_layers(), true, true};
  TRY(part_tensors(checkpoint, *spec, whole));
  TRY(table_tensor(checkpoint, *spec, whole));
  TRY(refuse_surplus(checkpoint, *spec));
  return spec;
}

}  // namespace commissure
