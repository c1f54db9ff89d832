#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/result.h"
#include "kernels/backend.h"
#include "model/decoder_spec.h"
#include "model/per_layer_table.h"
#include "model/tensor_names.h"
#include "weights/checkpoint.h"

namespace commissure {

/// One expert's matrices.
struct ExpertWeights {
  std::unique_ptr<Matrix> gate, up;  // [d_ff of an expert, d_model]
  std::unique_ptr<Matrix> gate_up;   // the rows of both instead, those of gate first
  std::unique_ptr<Matrix> down;      // [d_model, d_ff of an expert]
};

/// One layer's weights on the device. Norms and biases that the layer's spec does not have stay empty.
struct LayerWeights {
  DeviceBuffer attention_norm;                          // [d_model]
  std::unique_ptr<Matrix> query;                        // [n_heads * head_dim, d_model], with output_gate twice as many
  std::unique_ptr<Matrix> key, value;                   // [n_kv_heads * head_dim, d_model]
  DeviceBuffer query_bias;                              // [n_heads * head_dim]
  DeviceBuffer key_bias, value_bias;                    // [n_kv_heads * head_dim]
  DeviceBuffer sinks;                                   // [n_heads]
  std::unique_ptr<Matrix> delta_channels;               // [n_channels of the delta net, d_model]
  std::unique_ptr<Matrix> delta_gate;                   // [n_value_heads * value_dim, d_model]
  std::unique_ptr<Matrix> delta_beta, delta_decay;      // [n_value_heads, d_model]
  std::unique_ptr<Matrix> delta_output;                 // [d_model, n_value_heads * value_dim]
  DeviceBuffer delta_decay_bias, delta_rate;            // [n_value_heads]
  DeviceBuffer delta_convolution;                       // [kernel, n_channels]
  DeviceBuffer delta_norm;                              // [value_dim]
  DeviceBuffer query_norm, key_norm;                    // [head_dim], or as wide as query and key
  std::unique_ptr<Matrix> attention_output;             // [d_model, n_heads * head_dim]
  DeviceBuffer attention_output_bias;                   // [d_model]
  DeviceBuffer post_attention_norm, feed_forward_norm;  // [d_model]
  std::unique_ptr<Matrix> gate, up;                     // [d_ff, d_model]
  std::unique_ptr<Matrix> down;                         // [d_model, d_ff]
  DeviceBuffer post_feed_forward_norm;                  // [d_model]
  std::unique_ptr<Matrix> router;                       // [n_experts, d_model]
  DeviceBuffer router_bias;                             // [n_experts]
  DeviceBuffer expert_gate_bias, expert_up_bias;        // [n_experts, d_ff of an expert]
  DeviceBuffer expert_gate_up_bias;                     // of both instead, [n_experts, 2 * d_ff of an expert]
  DeviceBuffer expert_down_bias;                        // [n_experts, d_model]
  std::vector<ExpertWeights> experts;                   // of a mapped file untouched until a row takes one
  DeviceBuffer router_norm, expert_norm;                // [d_model]
  DeviceBuffer post_expert_norm, post_dense_norm;       // [d_model]
  std::vector<float> expert_scale;                      // [n_experts], on the host
  std::unique_ptr<Matrix> shared_router;                // [1, d_model]
  ExpertWeights shared;                                 // every row takes it
  std::unique_ptr<Matrix> per_layer_gate;               // [per_layer_width, d_model]
  std::unique_ptr<Matrix> per_layer_output;             // [d_model, per_layer_width]
  DeviceBuffer post_per_layer_norm;                     // [d_model]
  DeviceBuffer output_scale;                            // [1]
};

/// The weights of one part of a model on the device.
struct PartWeights {
  std::unique_ptr<Matrix> embedding;  ///< [n_vocab, d_model]; null where the part neither embeds nor ties its head
  std::vector<LayerWeights> layers;   ///< the part's layers, first layer first
  DeviceBuffer final_norm;            ///< [d_model]; empty without the head
  std::unique_ptr<Matrix> own_head;   ///< null when tied to `embedding`
  std::unique_ptr<Matrix>
      per_layer_projection;                ///< [n_layers * per_layer_width, d_model]; null without per-layer inputs
  DeviceBuffer per_layer_projection_norm;  ///< [per_layer_width]
  std::optional<PerLayerTable> per_layer_table;  ///< on the host

  const Matrix* head() const { return own_head ? own_head.get() : embedding.get(); }
};

/// Called after every tensor with the bytes loaded so far and the part's total. False stops the load.
using LoadProgress = std::function<bool(std::uint64_t done_bytes, std::uint64_t total_bytes)>;

/// A pack file that was written.
struct PackedModel {
  std::string path;
  std::uint64_t n_bytes = 0;
};

/// Packs every matrix of the model that `backend` reads faster in a layout of its own and writes them beside the
/// checkpoint, where load_weights finds them; returns the file's path and size.
/// Errors: kFailedPrecondition, the backend has no layout of its own or the model no matrix for it; else as PackWriter.
Result<PackedModel> pack_weights(Backend& backend, const Checkpoint& checkpoint, const DecoderSpec& spec);

/// Loads the tensors of `part`, and no byte of any other, in the order they are used. Matrices found in the
/// checkpoint's pack file are loaded from there as well; a pack file that does not fit is ignored with one line of log.
/// Errors: kInvalidArgument, a tensor is missing, of another shape or unreadable by the backend; kCancelled, `progress`
/// returned false; else as Checkpoint::load. After an error nothing stays loaded.
Result<PartWeights> load_weights(Backend& backend, const Checkpoint& checkpoint, const DecoderSpec& spec,
                                 const ModelPart& part, const LoadProgress& progress);

}  // namespace commissure
