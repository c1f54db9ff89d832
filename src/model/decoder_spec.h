#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/dtype.h"
#include "core/index.h"
#include "core/json.h"
#include "core/metadata.h"
#include "core/result.h"
#include "kernels/backend.h"
#include "weights/checkpoint.h"

/// A decoder described by data: one forward pass (model/decoder.h) runs whatever this says.
namespace commissure {

/// Gated feed-forwards of which every row takes a few, as a router says: the n_used experts with the largest of the
/// router's logits, each weighed by its probability.
struct ExpertSpec {
  int n_experts = 0;             ///< 0: the layer has none
  int n_used = 0;                ///< of a row
  int d_ff = 0;                  ///< of every expert
  int shared_d_ff = 0;           ///< of one more expert that every row takes, weighed by a sigmoid; 0: there is none
  bool normalised = false;       ///< the weights of a row's experts are divided by their sum
  bool softmax_of_used = false;  ///< probabilities are those among a row's experts instead of among all
  bool has_biases = false;       ///< the router and all experts' matrices have one
  /// They join the layer's dense feed-forward, each of the two with norms of its own; the router has a norm, too, and
  /// every expert a factor.
  bool beside_dense = false;
  bool operator==(const ExpertSpec&) const = default;
};

/// One layer: attention, or a gated delta net, plus gated feed-forward with their norms.
struct LayerSpec {
  HeadLayout heads;
  DeltaShape delta;  ///< where it has heads, it takes the place of attention, and `heads` has none
  int d_ff = 0;      ///< of the dense feed-forward; 0: the layer has experts alone
  ExpertSpec experts;
  int rope = 0;                    ///< index into DecoderSpec::ropes; -1: queries and keys are not rotated
  int query_rope = -1;             ///< the same of queries alone, where they turn by another one than keys
  int window = 0;                  ///< positions a row sees; 0: all earlier ones; W: its own and the W - 1 before it
  float attention_scale = 1.0f;    ///< multiplies q.k
  float attention_softcap = 0.0f;  ///< 0: none; else a scaled q.k becomes softcap * tanh(q.k / softcap)
  bool sinks = false;              ///< every head has one more score, without a value (AttendOptions::sinks)
  bool qkv_bias = false;           ///< queries, keys and values have a bias
  bool output_bias = false;        ///< attention's output has a bias
  bool output_gate = false;        ///< each head's result is weighed by a sigmoid of as many values beside its query
  bool qk_norm = false;            ///< RMS norm of every query and key head before rotation
  bool wide_qk_norm = false;       ///< with qk_norm: one norm over all heads of a row instead of one for each head
  bool value_norm = false;         ///< RMS norm of every value head, without weights
  bool value_is_key = false;       ///< values are the keys as projected, before their norm and rotation
  int kv_owner = -1;               ///< an earlier layer of the same kind whose keys and values it reads; -1: its own
  bool pre_norms = true;           ///< RMS norm of the residual stream before both branches
  float residual_scale = 1.0f;     ///< multiplies both branches before they join the residual stream
  bool post_norms = false;         ///< RMS norm of both branches before they join the residual stream
  bool output_scale = false;       ///< the residual is multiplied by a weight at the layer's end
  Activation activation = Activation::kSilu;

  /// Whether it keeps one state of a sequence instead of keys and values of all its rows.
  bool is_recurrent() const { return delta.n_value_heads > 0; }
};

/// How the checkpoint spells its tensors (model/tensor_names.h turns it into names).
struct TensorNaming {
  CheckpointFormat format = CheckpointFormat::kGguf;
  std::string prefix;               ///< safetensors: what stands before "embed_tokens.weight", e.g. "model."
  std::string head;                 ///< safetensors: full name of the output matrix, when it is not the embedding
  bool fused_qkv = false;           ///< queries, keys and values are the rows of one matrix
  bool fused_gate_up = false;       ///< so are a feed-forward's gate and up
  bool packed_experts = false;      ///< all experts of a layer in one tensor, gate and up fused
  bool has_further_layers = false;  ///< GGUF: behind the last layer there are some that predict tokens further ahead
  bool fused_experts = false;       ///< an expert's gate and up are one matrix, and stay it
  bool operator==(const TensorNaming&) const = default;
};

/// How activations are rounded where they meet quantised weights; the same on every stage of a chain. Fast: to one int8
/// plane, except in the down projection and the head, which take two (see InputPlanes). Exact: to two planes
/// everywhere, which leaves only two roundings, the residual's to bf16 and the KV's.
enum class Precision { kFast, kExact };
std::string_view precision_name(Precision precision);
/// Errors: kInvalidArgument, listing the names.
Result<Precision> parse_precision(std::string_view name);

/// Where the rows of an image see one another, those behind them too; elsewhere each sees the rows up to its own.
enum class ImageSight { kEveryLayer, kWindowedLayers, kNoLayer };

/// The whole model in numbers. read_decoder_spec() has checked every value's range, so buffers may be sized by them.
struct DecoderSpec {
  std::string architecture;  ///< "gemma3", "llama", "mistral", "qwen2", ...
  int d_model = 0;
  int n_vocab = 0;    ///< rows of the embedding; may exceed the tokenizer's vocabulary
  int n_context = 0;  ///< positions the model was made for
  float norm_eps = 1e-6f;
  float norm_offset = 0.0f;  ///< added to norm weights on load: 1 where a checkpoint stores w of (1 + w)
  float embedding_scale = 1.0f;
  float logit_scale = 1.0f;    ///< multiplies the logits; the final norm's weights take it up on load
  float final_softcap = 0.0f;  ///< 0: none; else a logit y becomes final_softcap * tanh(y / final_softcap)
  /// Values that every layer gets of a second table, by the row's token (per-layer embeddings); 0: there is none.
  int per_layer_width = 0;
  ImageSight image_sight = ImageSight::kEveryLayer;  ///< of families that take images
  bool tied_head = false;                            ///< the embedding matrix is also the head
  std::vector<RopeSpec> ropes;
  std::vector<LayerSpec> layers;
  TensorNaming naming;
  // Chosen by who runs the chain, not by the model:
  Precision precision = Precision::kFast;
  KvType kv_type = KvType::kBF16;

  int n_layers() const { return count_of(layers); }
};

/// The most positions that a layer with a sliding window looks back on, itself included; 0: no layer has a window.
int widest_window(const DecoderSpec& spec);

/// Whether some layer is recurrent: then a stage keeps states of sequences beside keys and values.
bool has_states(const DecoderSpec& spec);

/// Whether a later layer reads this layer's keys and values.
bool shares_kv(const DecoderSpec& spec, int layer);

/// Reads and validates the spec, then checks every tensor it needs (of the whole model) for presence and shape.
/// Errors: kUnimplemented, a family or feature that is not supported, with the list of supported ones;
/// kInvalidArgument, a missing or absurd value, or a tensor of another shape, named with what was found and expected.
Result<DecoderSpec> read_decoder_spec(const Checkpoint& checkpoint);

/// What spec_from_gguf() needs beside a GGUF file's key-value header.
struct GgufFacts {
  std::int64_t n_vocab = 0;               ///< rows of token_embd.weight
  bool has_head = false;                  ///< output.weight exists
  bool has_qkv_bias = false;              ///< blk.0.attn_q.bias exists
  bool has_output_bias = false;           ///< blk.0.attn_output.bias exists
  bool full_value_is_key = false;         ///< a layer that has attn_k.weight has no attn_v.weight
  bool has_fused_qkv = false;             ///< blk.0.attn_qkv.weight exists
  bool has_separate_gate = false;         ///< blk.0.ffn_gate.weight exists
  bool has_packed_experts = false;        ///< blk.0.ffn_gate_up_exps.weight exists
  std::vector<float> rope_divisors = {};  ///< rope_freqs.weight, or empty
  std::vector<float> long_factors = {};   ///< rope_factors_long.weight, or empty
  std::vector<float> short_factors = {};  ///< rope_factors_short.weight, or empty
};
/// The spec of a GGUF header, tensors not checked. Errors: as read_decoder_spec.
Result<DecoderSpec> spec_from_gguf(const Metadata& metadata, const GgufFacts& facts);

/// The spec of a config.json. `embedding_dtype` decides how the embedding scale is rounded, as the transformers library
/// does. Errors: as read_decoder_spec.
Result<DecoderSpec> spec_from_config(const Json& config, DType embedding_dtype);

/// The supported families as text, "gemma3, llama, ...", for messages.
std::string supported_architectures();

}  // namespace commissure
