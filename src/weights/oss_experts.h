#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/json.h"
#include "core/result.h"
#include "weights/tensor_info.h"

/// gpt-oss keeps all experts of a layer in a few tensors, in forms of its own: gate and up take turns, floats have
/// their inputs first, MXFP4 has its scales in another tensor. Here they become tensors as other models have them, one
/// matrix of gate and up (the gate's outputs first) and one of down for every expert.
namespace commissure {

/// How what is stored becomes such a tensor.
struct OssLayout {
  enum class Form { kBlocks, kTransposed, kVectors };
  Form form = Form::kBlocks;
  bool has_pairs = false;  ///< outputs 2i are the gate's, 2i + 1 those of up
  TensorInfo scales = {};  ///< kBlocks: U8 [outputs, blocks] beside the codes, U8 [outputs, 16 blocks]
};

/// A tensor of the model and what of the file it is made from. Without a layout it is stored so, under another name.
struct OssTensor {
  TensorInfo tensor;
  TensorInfo stored;
  std::optional<OssLayout> layout;
};

/// Tensors and the names of those that they take the place of.
struct OssTensors {
  std::vector<OssTensor> made;
  std::vector<std::string> replaced;
};

/// Whether a config.json is of this family.
bool is_gpt_oss(const Json& config);

/// The experts of a checkpoint. `bytes` are its tensors of bytes by name, `floats` all others.
/// Errors: kDataLoss or kInvalidArgument, naming the tensor: its scales are missing, its shape or type is none of
/// experts, or there are too many.
Result<OssTensors> find_oss_experts(const std::map<std::string, TensorInfo>& bytes,
                                    const std::vector<TensorInfo>& floats);

}  // namespace commissure
