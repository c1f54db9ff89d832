#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/dtype.h"
#include "core/json.h"
#include "core/metadata.h"
#include "core/result.h"
#include "kernels/backend.h"
#include "weights/checkpoint.h"

/// A decoder described by data: one forward pass (model/decoder.h) runs whatever this says.
namespace commissure {

/// One layer: attention plus gated feed-forward with their norms.
struct LayerSpec {
  HeadLayout heads;
  int d_ff = 0;
  int rope = 0;                  ///< index into DecoderSpec::ropes
  int window = 0;                ///< 0: sees all earlier positions; W: itself and the W - 1 before it
  float attention_scale = 1.0f;  ///< multiplies q.k
  bool qk_norm = false;          ///< RMS norm of every query and key head before rotation
  bool post_norms = false;       ///< RMS norm of both branches before they join the residual stream
  Activation activation = Activation::kSilu;
};

/// How the checkpoint spells its tensors (model/tensor_names.h turns it into names).
struct TensorNaming {
  CheckpointFormat format = CheckpointFormat::kGguf;
  std::string prefix;  ///< safetensors: what stands before "embed_tokens.weight", e.g. "model."
  std::string head;    ///< full name of the output matrix when it is not tied
  bool operator==(const TensorNaming&) const = default;
};

/// What quantised weights meet in the layers, a property of the whole chain. Fast: activations as int8 per 32, but for
/// the down projection and the head, which get a second int8 plane. Exact: two planes everywhere; what is left of the
/// error is the bf16 of the residual and the rounding of the KV.
enum class Precision { kFast, kExact };
std::string_view precision_name(Precision precision);
/// Errors: kInvalidArgument, listing the names.
Result<Precision> parse_precision(std::string_view name);

/// The whole model in numbers. Values are validated: a spec that left this room is safe to size buffers with.
struct DecoderSpec {
  std::string architecture;  ///< "gemma3", "llama", "mistral"
  int d_model = 0;
  int n_vocab = 0;    ///< rows of the embedding; may exceed the tokenizer's vocabulary
  int n_context = 0;  ///< positions the model was made for
  float norm_eps = 1e-6f;
  float norm_offset = 0.0f;  ///< added to norm weights on load: 1 where a checkpoint stores w of (1 + w)
  float embedding_scale = 1.0f;
  bool tied_head = false;  ///< the embedding matrix is the head
  std::vector<RopeSpec> ropes;
  std::vector<LayerSpec> layers;
  TensorNaming naming;
  // Chosen by who runs the chain, not by the model:
  Precision precision = Precision::kFast;
  KvType kv_type = KvType::kBF16;

  int n_layers() const { return static_cast<int>(layers.size()); }
};

/// The most positions that a layer with a sliding window looks back on, itself included; 0: no layer has a window.
int widest_window(const DecoderSpec& spec);

/// Reads and validates the spec, then checks every tensor it needs (of the whole model) for presence and shape.
/// Errors: kUnimplemented, a family or feature that is not supported, with the list of those that are;
/// kInvalidArgument, a missing or absurd value, or a tensor of another shape, named with what was found and expected.
Result<DecoderSpec> read_decoder_spec(const Checkpoint& checkpoint);

/// What a GGUF spec needs from beyond the key-value header.
struct GgufFacts {
  std::int64_t n_vocab = 0;          ///< rows of token_embd.weight
  bool has_head = false;             ///< output.weight exists
  std::vector<float> rope_divisors;  ///< rope_freqs.weight, or empty
};
Result<DecoderSpec> spec_from_gguf(const Metadata& metadata, const GgufFacts& facts);

/// The spec of a config.json. `embedding_dtype` decides how the embedding scale is rounded, as transformers does.
Result<DecoderSpec> spec_from_config(const Json& config, DType embedding_dtype);

/// "gemma3, llama, mistral", for messages.
std::string supported_architectures();

}  // namespace commissure
