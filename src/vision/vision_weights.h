#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "core/result.h"
#include "kernels/backend.h"
#include "model/layer_weights.h"
#include "vision/vision_spec.h"
#include "weights/checkpoint.h"

namespace commissure {

/// A range that values are cut to.
struct ValueRange {
  float low = -std::numeric_limits<float>::infinity();
  float high = std::numeric_limits<float>::infinity();

  bool is_limited() const { return !std::isinf(low) || !std::isinf(high); }
};

/// A product, with its bias and ranges where it has such.
struct VisionProduct {
  std::unique_ptr<Matrix> weight;
  DeviceBuffer bias;  // null: none
  ValueRange inputs, outputs;
};

/// A layer norm; without a bias, an RMS norm.
struct VisionNorm {
  DeviceBuffer weight, bias;
};

/// One layer of the tower.
struct VisionLayer {
  VisionNorm norm1, norm2;                  // [d_model]
  VisionProduct query, key, value, output;  // [d_model, d_model]
  VisionProduct up;                         // [d_ff, d_model]
  VisionProduct down;                       // [d_model, d_ff]
  // Gemma 4's. The middle quarters of every query and key head have changed places, in these and in the products: what
  // turns by a patch's column lies in the first and third quarter then, as halves are rotated.
  VisionProduct gate;                     // [d_ff, d_model]; null: the feed-forward has none
  VisionNorm query_norm, key_norm;        // [head_dim]; null: heads are neither normed nor rotated
  VisionNorm branch_norm1, branch_norm2;  // [d_model], of what a branch adds; null: none
};

/// An image encoder's weights on the device.
struct VisionWeights {
  VisionProduct patch;    ///< [d_model, 3 * patch_size^2]: red, green and blue of a patch one after the other
  DeviceBuffer position;  ///< [n_patches, d_model]; Gemma 4: [2 * n_positions, d_model], those of columns first
  std::vector<VisionLayer> layers;
  VisionNorm post_norm;                ///< [d_model]; null: none
  DeviceBuffer row_norm;               ///< [d_model], the spec's offset added; null: it has no weights
  std::vector<float> row_shift;        ///< [d_model], subtracted from pooled rows; empty: as row_factor, none
  std::vector<float> row_factor;       ///< [d_model], multiplies them then
  std::unique_ptr<Matrix> projection;  ///< [d_text, d_model]
};

/// The encoder's tensors, shapes checked, in the order they are used; of as many as the spec has.
/// Errors: kInvalidArgument, a tensor has another shape, with name, found and expected; kNotFound, one is missing.
/// Ranges of products may be missing.
Result<std::vector<TensorInfo>> vision_tensors(const Checkpoint& checkpoint, const VisionSpec& spec);

/// Bytes of these tensors as they are stored. Errors: as vision_tensors.
Result<std::uint64_t> vision_weight_bytes(const Checkpoint& checkpoint, const VisionSpec& spec);

/// Errors: as vision_tensors; kInvalidArgument and kUnimplemented, the backend cannot read a tensor; kInvalidArgument,
/// a range is empty; kCancelled, `progress` returned false; as Checkpoint::load.
Result<VisionWeights> load_vision_weights(Backend& backend, const Checkpoint& checkpoint, const VisionSpec& spec,
                                          const LoadProgress& progress);

}  // namespace commissure
