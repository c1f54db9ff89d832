#pragma once

#include <string>
#include <string_view>

#include "model/decoder_spec.h"
#include "model/tensor_names.h"

namespace commissure {

/// The middle part of a layer tensor's name in both formats; ".weight" or ".bias" follows.
struct RoleName {
  std::string_view gguf;
  std::string_view safetensors;
};

/// Some families have names of their own for what others call otherwise.
RoleName role_name(TensorRole role, const LayerSpec& layer, bool is_gpt_oss = false);

/// The whole name of a layer's tensor, in the spec's format.
std::string layer_tensor_name(const DecoderSpec& spec, TensorRole role, int layer);

}  // namespace commissure
