#include "vision/vision_names.h"

#include <vector>

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

/// `root` stands before all names.
VisionNames gemma4_hub_names(const std::string& root) {
  return {.weight = ".linear.weight",
          .patch = root + "vision_tower.patch_embedder.input_proj",
          .patch_is_flat = true,
          .position = root + "vision_tower.patch_embedder.position_embedding_table",
          .layers = root + "vision_tower.encoder.layers.",
          .norm1 = "input_layernorm",
          .norm2 = "pre_feedforward_layernorm",
          .query = "self_attn.q_proj",
          .key = "self_attn.k_proj",
          .value = "self_attn.v_proj",
          .output = "self_attn.o_proj",
          .up = "mlp.up_proj",
          .down = "mlp.down_proj",
          .gate = "mlp.gate_proj",
          .query_norm = "self_attn.q_norm",
          .key_norm = "self_attn.k_norm",
          .branch_norm1 = "post_attention_layernorm",
          .branch_norm2 = "post_feedforward_layernorm",
          .row_shift = root + "vision_tower.std_bias",
          .row_factor = root + "vision_tower.std_scale",
          .projection = root + "embed_vision.embedding_projection.weight"};
}

VisionNames gemma4_mmproj_names() {
  VisionNames names = mmproj_names();
  names.gate = "ffn_gate";
  names.query_norm = "attn_q_norm";
  names.key_norm = "attn_k_norm";
  names.branch_norm1 = "attn_post_norm";
  names.branch_norm2 = "ffn_post_norm";
  names.row_shift = "v.std_bias";
  names.row_factor = "v.std_scale";
  return names;
}

std::vector<VisionNames> names_of(VisionFamily family) {
  if (family == VisionFamily::kGemma4) return {gemma4_hub_names("model."), gemma4_hub_names(""), gemma4_mmproj_names()};
  return {hub_names("vision_tower.vision_model.", "multi_modal_projector."),
          hub_names("model.vision_tower.vision_model.", "model.multi_modal_projector."),
          hub_names("vision_tower.", "multi_modal_projector."),
          hub_names("model.vision_tower.", "model.multi_modal_projector."),
          mmproj_names(),
          single_file_names()};
}

}  // namespace

std::optional<VisionNames> find_vision_names(const Checkpoint& checkpoint, VisionFamily family) {
  for (const VisionNames& names : names_of(family)) {
    if (checkpoint.find(names.patch + ".weight") != nullptr) return names;
  }
  return std::nullopt;
}

}  // namespace commissure
