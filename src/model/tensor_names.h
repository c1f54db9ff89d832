#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/result.h"
#include "model/decoder_spec.h"
#include "weights/checkpoint.h"

namespace commissure {

/// What a tensor is for, whatever its file calls it.
enum class TensorRole {
  kEmbedding,
  kFinalNorm,
  kHead,
  kAttentionNorm,
  kQuery,
  kKey,
  kValue,
  kQueryNorm,
  kKeyNorm,
  kQueryBias,
  kKeyBias,
  kValueBias,
  kAttentionOutput,
  kAttentionOutputBias,
  kSinks,
  kPostAttentionNorm,
  kFeedForwardNorm,
  kGate,
  kUp,
  kDown,
  kPostFeedForwardNorm,
  kRouter,
  kRouterBias,
  kRouterNorm,
  kExpertScale,
  kExpertNorm,
  kPostExpertNorm,
  kPostDenseNorm,
  kExpertGate,
  kExpertUp,
  kExpertDown,
  kExpertGateUp,
  kExpertGateBias,
  kExpertUpBias,
  kExpertDownBias,
  kExpertGateUpBias,
  kSharedRouter,
  kSharedGate,
  kSharedUp,
  kSharedDown,
  kOutputScale,
  kPerLayerProjection,
  kPerLayerProjectionNorm,
  kPerLayerGate,
  kPerLayerOutput,
  kPostPerLayerNorm,
  kPerLayerTable,
  kDeltaChannels,
  kDeltaGate,
  kDeltaBeta,
  kDeltaDecay,
  kDeltaDecayBias,
  kDeltaRate,
  kDeltaConvolution,
  kDeltaNorm,
  kDeltaOutput,
};

/// The biases of all experts of a layer, [n_experts, outputs].
inline bool is_expert_bias(TensorRole role) {
  return role == TensorRole::kExpertGateBias || role == TensorRole::kExpertUpBias ||
         role == TensorRole::kExpertDownBias || role == TensorRole::kExpertGateUpBias;
}

inline bool is_bias(TensorRole role) {
  return role == TensorRole::kQueryBias || role == TensorRole::kKeyBias || role == TensorRole::kValueBias ||
         role == TensorRole::kAttentionOutputBias || role == TensorRole::kRouterBias || is_expert_bias(role);
}

inline bool is_norm(TensorRole role) {
  return role == TensorRole::kFinalNorm || role == TensorRole::kAttentionNorm || role == TensorRole::kQueryNorm ||
         role == TensorRole::kKeyNorm || role == TensorRole::kPostAttentionNorm ||
         role == TensorRole::kFeedForwardNorm || role == TensorRole::kPostFeedForwardNorm ||
         role == TensorRole::kPerLayerProjectionNorm || role == TensorRole::kPostPerLayerNorm ||
         role == TensorRole::kRouterNorm || role == TensorRole::kExpertNorm || role == TensorRole::kPostExpertNorm ||
         role == TensorRole::kPostDenseNorm;
}

/// Factors: of a layer's output, or one for each of its experts.
inline bool is_scale(TensorRole role) { return role == TensorRole::kOutputScale || role == TensorRole::kExpertScale; }

/// What a delta net computes with in f32.
inline bool is_delta_vector(TensorRole role) {
  return role == TensorRole::kDeltaDecayBias || role == TensorRole::kDeltaRate ||
         role == TensorRole::kDeltaConvolution || role == TensorRole::kDeltaNorm;
}

inline bool is_matrix(TensorRole role) {
  return !is_norm(role) && !is_bias(role) && !is_scale(role) && !is_delta_vector(role) && role != TensorRole::kSinks;
}

/// Which part of a model is wanted: layers [first_layer, last_layer) and what stands before and after them.
struct ModelPart {
  int first_layer = 0;
  int last_layer = 0;
  bool has_embedding = true;  ///< looks tokens up (the first stage)
  bool has_head = true;       ///< final norm and head (the last stage)
};

/// A tensor that a model of this spec must have. `shape` is [outputs, inputs] for matrices, [n] for norms, biases and
/// sinks.
struct ExpectedTensor {
  TensorRole role;
  int layer = -1;  ///< -1: outside the layers
  std::string name;
  std::vector<std::int64_t> shape;
  /// Where the tensor is some rows of a larger one in the file: the larger one's shape, and the first of the rows, all
  /// dimensions but the last counted as rows. Else empty. Of expected_table: columns instead of rows.
  std::vector<std::int64_t> whole_shape = {};
  std::int64_t first = 0;
  int expert = -1;  ///< of an expert's own matrices

  /// The shape of the file's tensor.
  const std::vector<std::int64_t>& stored_shape() const { return whole_shape.empty() ? shape : whole_shape; }
};

/// Name of the output matrix's tensor; the embedding's when the head is tied.
std::string head_name(const DecoderSpec& spec);

/// Every tensor of `part`, in the order it is used. A tied head is the embedding's tensor, listed once even where the
/// part has both.
std::vector<ExpectedTensor> expected_tensors(const DecoderSpec& spec, const ModelPart& part);

/// The table of per-layer embeddings, of which a part's layers take their columns: a row for every token,
/// per_layer_width values for every layer. It stays on the host and is not among expected_tensors. Nothing where the
/// model has none, or the part no layers.
std::optional<ExpectedTensor> expected_table(const DecoderSpec& spec, const ModelPart& part);

/// The checkpoint's entry for that table, whole, its shape checked; nothing where there is none to look for.
/// Errors: as part_tensors; kUnimplemented, its values are none that are looked up row by row.
Result<std::optional<TensorInfo>> table_tensor(const Checkpoint& checkpoint, const DecoderSpec& spec,
                                               const ModelPart& part);

/// Bytes of the part's columns of the table as it is stored.
Result<std::uint64_t> table_bytes(const Checkpoint& checkpoint, const DecoderSpec& spec, const ModelPart& part);

/// The checkpoint's entries for `part`, shapes checked, in the order of expected_tensors; of a larger tensor the rows
/// alone, which are part of the entry's name then (the projection to per-layer inputs is whole where it is made while
/// it is loaded). The first that is missing ends it: a configuration may ask for far more than its file holds. Errors:
/// kInvalidArgument, a missing tensor or one of another shape, with name, found and expected.
Result<std::vector<TensorInfo>> part_tensors(const Checkpoint& checkpoint, const DecoderSpec& spec,
                                             const ModelPart& part);

/// Errors: kUnimplemented, the checkpoint holds tensors of the text model that this spec does not use, and which would
/// change its answers; the first five are named. What belongs to other parts (an image encoder) or repeats what the
/// spec says (rotation frequencies, the copy of a tied head) is no surplus.
Status refuse_surplus(const Checkpoint& checkpoint, const DecoderSpec& spec);

}  // namespace commissure
