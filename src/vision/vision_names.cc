#include "vision/vision_names.h"

namespace commissure {
namespace {

/// `tower` and `projector` stand before all names of a part.
VisionNames hub_names(const std::string& tower, const std::string& projector) {
  return {.patch = tower + "embeddings.patch_embedding",
          .position = tower + "embeddings.position_embedding.weight",
          .layers = tower + "encoder.layers.",
          .norm1 = "layer_norm1",
          .norm2 = "layer_norm2",
          .query = "self_attn.q_proj",
          .key = "self_attn.k_proj",
          .value = "self_attn.v_proj",
          .output = "self_attn.out_proj",
          .up = "mlp.fc1",
          .down = "mlp.fc2",
          .post_norm = tower + "post_layernorm",
          .row_norm = projector + "mm_soft_emb_norm.weight",
          .projection = projector + "mm_input_projection_weight"};
}

VisionNames mmproj_names() {
  return {.patch = "v.patch_embd",
          .position = "v.position_embd.weight",
          .layers = "v.blk.",
          .norm1 = "ln1",
          .norm2 = "ln2",
          .query = "attn_q",
          .key = "attn_k",
          .value = "attn_v",
          .output = "attn_out",
          .up = "ffn_up",
          .down = "ffn_down",
          .post_norm = "v.post_ln",
          .row_norm = "mm.soft_emb_norm.weight",
          .projection = "mm.input_projection.weight"};
}

VisionNames single_file_names() {
  return {.patch = "v.patch_embedding",
          .position = "v.position_embedding.weight",
          .layers = "v.blk.",
          .norm1 = "layer_norm1",
          .norm2 = "layer_norm2",
          .query = "attn_q",
          .key = "attn_k",
          .value = "attn_v",
          .output = "attn_output",
          .up = "mlp.fc1",
          .down = "mlp.fc2",
          .post_norm = "v.post_layernorm",
          .row_norm = "mm.mm_soft_emb_norm.weight",
          .projection = "mm.mm_input_projection.weight"};
}

}  // namespace

std::optional<VisionNames> find_vision_names(const Checkpoint& checkpoint) {
  for (const VisionNames& names :
       {hub_names("vision_tower.vision_model.", "multi_modal_projector."),
        hub_names("model.vision_tower.vision_model.", "model.multi_modal_projector."),
        hub_names("vision_tower.", "multi_modal_projector."),
        hub_names("model.vision_tower.", "model.multi_modal_projector."), mmproj_names(), single_file_names()}) {
    if (checkpoint.find(names.patch + ".weight") != nullptr) return names;
  }
  return std::nullopt;
}

}  // namespace commissure
