#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/result.h"
#include "model/decoder_spec.h"
#include "model/rope.h"

namespace commissure {

/// Far above every published model.
inline constexpr std::int64_t kMaxLayers = 1024;

/// One rope as a configuration states it.
struct RawRope {
  double theta = 10000.0;
  double linear_factor = 1.0;
  std::optional<Llama3Scaling> llama3;
  std::optional<YarnScaling> yarn;
  std::vector<float> divisors;        ///< of every frequency: a file's rope_freqs, or the factors of a longrope
  double magnitude = 1.0;             ///< multiplies cosines and sines; with yarn, yarn's is taken
  double query_growth = 0.0;          ///< RopeSpec::growth of queries; 0: they turn as keys do
  double query_growth_context = 0.0;  ///< RopeSpec::growth_context of queries
  double rotated = 1.0;  ///< share of a head's pairs that turn; the frequencies are those of the whole head
  bool interleaved = false;
};

/// The experts of a layer as a configuration states them; ExpertSpec has the meanings.
struct RawExperts {
  std::int64_t n_experts = 0;
  std::int64_t n_used = 0;
  std::int64_t d_ff = 0;
  std::int64_t shared_d_ff = 0;
  bool normalised = false;
  bool softmax_of_used = false;
  bool has_biases = false;
  bool beside_dense = false;
};

/// The gated delta nets of a model as a configuration states them; DeltaShape has the meanings.
struct RawDelta {
  std::int64_t n_key_heads = 0;
  std::int64_t n_value_heads = 0;
  std::int64_t key_dim = 0;
  std::int64_t value_dim = 0;
  std::int64_t kernel = 0;
  bool is_tiled = false;
};

/// A model's numbers as read, before any range check: the common ground of GGUF headers and config.json.
struct RawSpec {
  std::string architecture;
  std::int64_t n_layers = 0;
  std::int64_t d_model = 0;
  std::int64_t n_vocab = 0;
  std::int64_t n_context = 0;
  std::int64_t n_heads = 0;
  std::int64_t n_kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t n_rotated = 0;      ///< first values of a head that turn, the frequencies being theirs alone; 0: all
  std::int64_t full_kv_heads = 0;  ///< of layers that see every position, where `sliding` has both kinds; 0: as others
  std::int64_t full_head_dim = 0;  ///< the same of their heads' width
  std::int64_t d_ff = 0;
  std::vector<std::int64_t> d_ff_of = {};  ///< by layer; empty: every layer has d_ff
  std::int64_t window = 0;
  double norm_eps = 0.0;
  double attention_scale = 0.0;    ///< 0: 1 / sqrt(head_dim)
  double attention_softcap = 0.0;  ///< 0: none, here and below
  double final_softcap = 0.0;
  double norm_offset = 0.0;
  double embedding_scale = 1.0;
  double residual_scale = 1.0;
  double logit_scale = 1.0;
  std::int64_t n_sharing = 0;  ///< so many last layers read the keys and values of the last layer of their kind before
  std::int64_t per_layer_width = 0;  ///< DecoderSpec::per_layer_width
  ImageSight image_sight = ImageSight::kEveryLayer;
  bool tied_head = false;
  bool sinks = false;
  bool qkv_bias = false;
  bool output_bias = false;
  bool output_gate = false;
  bool qk_norm = false;
  bool wide_qk_norm = false;
  bool value_norm = false;
  bool full_value_is_key = false;  ///< in layers that see every position
  bool output_scale = false;
  bool pre_norms = true;
  bool post_norms = false;
  Activation activation = Activation::kSilu;
  std::vector<bool> sliding;  ///< by layer: it sees `window` positions only; empty: every layer does
  std::vector<bool> rotates;  ///< by layer: queries and keys are rotated; empty: in every layer
  std::vector<bool> sparse;   ///< by layer: it has experts; empty: all have, where there are experts
  RawExperts experts;
  std::vector<bool> recurrent;  ///< by layer: it has `delta` instead of attention; empty: none does
  RawDelta delta;
  RawRope rope;
  std::optional<RawRope> sliding_rope;  ///< of sliding layers; absent: they use `rope` too
};

/// Which layers are unlike every `period`-th one: those that slide, rotate or are recurrent, where layers alternate.
std::vector<bool> all_but_every(std::int64_t n_layers, std::int64_t period);

/// Whether a configuration or header is of a family that we know, told by its name alone.
/// Errors: kUnimplemented, naming it and the known ones; kInvalidArgument, it names none.
Status check_config_family(const Json& config);
Status check_gguf_family(const Metadata& metadata);

/// What all published gpt-oss models have, for files that leave it out.
inline constexpr std::int64_t kGptOssWindow = 128;
YarnScaling usual_gpt_oss_yarn();

/// Checks every range, then builds the spec (without naming).
/// Errors: kInvalidArgument, naming the value and its range.
Result<DecoderSpec> build_spec(const RawSpec& raw);

}  // namespace commissure
