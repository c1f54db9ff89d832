#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/result.h"
#include "kernels/backend.h"
#include "model/layer_weights.h"
#include "vision/vision_spec.h"
#include "weights/checkpoint.h"

namespace commissure {

/// A product with its bias.
struct VisionProduct {
  std::unique_ptr<Matrix> weight;
  DeviceBuffer bias;
};

/// A layer norm.
struct VisionNorm {
  DeviceBuffer weight, bias;
};

/// One layer of the tower.
struct VisionLayer {
  VisionNorm norm1, norm2;                  // [d_model]
  VisionProduct query, key, value, output;  // [d_model, d_model]
  VisionProduct up;                         // [d_ff, d_model]
  VisionProduct down;                       // [d_model, d_ff]
};

/// An image encoder's weights on the device.
struct VisionWeights {
  VisionProduct patch;    ///< [d_model, 3 * patch_size^2]: red, green and blue of a patch one after the other
  DeviceBuffer position;  ///< [n_patches, d_model]
  std::vector<VisionLayer> layers;
  VisionNorm post_norm;                ///< [d_model]
  DeviceBuffer row_norm;               ///< [d_model], the spec's offset added
  std::unique_ptr<Matrix> projection;  ///< [d_text, d_model]: turned while it is loaded
};

/// The encoder's tensors, shapes checked, in the order they are used; of as many as the spec has.
/// Errors: kInvalidArgument, a tensor has another shape, with name, found and expected; kNotFound, one is missing.
Result<std::vector<TensorInfo>> vision_tensors(const Checkpoint& checkpoint, const VisionSpec& spec);

/// Bytes of these tensors as they are stored. Errors: as vision_tensors.
Result<std::uint64_t> vision_weight_bytes(const Checkpoint& checkpoint, const VisionSpec& spec);

/// Errors: as vision_tensors; kInvalidArgument and kUnimplemented, the backend cannot read a tensor; kCancelled,
/// `progress` returned false; as Checkpoint::load.
Result<VisionWeights> load_vision_weights(Backend& backend, const Checkpoint& checkpoint, const VisionSpec& spec,
                                          const LoadProgress& progress);

}  // namespace commissure
