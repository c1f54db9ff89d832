#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/json.h"
#include "support/small_config.h"

/// What the files of published models say of them.
namespace commissure::testing {

inline constexpr ModelSize kGptOss20B = {"gpt-oss-20b",
                                         "gpt_oss",
                                         24,
                                         2880,
                                         64,
                                         8,
                                         64,
                                         2880,
                                         201088,
                                         false,
                                         20914757184,
                                         0,
                                         R"({"num_local_experts":32,"experts_per_token":4})"};
inline constexpr ModelSize kGptOss120B = {"gpt-oss-120b",
                                          "gpt_oss",
                                          36,
                                          2880,
                                          64,
                                          8,
                                          64,
                                          2880,
                                          201088,
                                          false,
                                          116829156672,
                                          0,
                                          R"({"num_local_experts":128})"};
/// Bytes of all tensors, as their index's total_size says: experts' matrices in MXFP4, all else in bf16.
inline constexpr std::int64_t kGptOss20BBytes = 13761264768, kGptOss120BBytes = 65248815744;

/// Gemma 4 as published, its text_config as first written.
struct Gemma4Size {
  const char* name;
  int layers, width, heads, kv_heads, full_kv_heads, feed_forward, per_layer, sharing, window;
  bool value_is_key, double_wide;
  std::int64_t parameters;          ///< published
  std::int64_t full_kv_bytes;       ///< bf16, of a position in the layers that see all of them
  std::int64_t sliding_ring_bytes;  ///< of a full window in the others
  int experts = 0, expert_width = 0;
};

inline const std::vector<Gemma4Size>& gemma4_sizes() {
  constexpr std::int64_t kMib = 1 << 20;
  static const std::vector<Gemma4Size> sizes = {
      {"E2B", 35, 1536, 8, 1, 1, 6144, 256, 20, 512, false, true, 4628569379, 6144, 6 * kMib},
      {"E4B", 42, 2560, 8, 2, 2, 10240, 256, 18, 512, false, false, 7463013418, 16384, 20 * kMib},
      {"12B", 48, 3840, 16, 8, 1, 15360, 0, 0, 1024, true, false, 11907350320, 16384, 320 * kMib},
      {"26B-A4B", 30, 2816, 16, 8, 2, 2112, 0, 0, 1024, true, false, 25233141790, 20480, 200 * kMib, 128, 704},
      {"31B", 60, 5376, 32, 16, 4, 21504, 0, 0, 1024, true, false, 30697345340, 81920, 800 * kMib},
  };
  return sizes;
}

/// Its config.json, whole.
inline Json gemma4_config(const Gemma4Size& size) {
  Json types = Json::array();
  const int period = size.layers == 35 ? 5 : 6;
  for (int i = 0; i < size.layers; ++i) types.push_back((i + 1) % period == 0 ? "full_attention" : "sliding_attention");
  Json text = {{"model_type", "gemma4_text"},
               {"num_hidden_layers", size.layers},
               {"hidden_size", size.width},
               {"intermediate_size", size.feed_forward},
               {"num_attention_heads", size.heads},
               {"num_key_value_heads", size.kv_heads},
               {"num_global_key_value_heads", size.value_is_key ? Json(size.full_kv_heads) : Json()},
               {"head_dim", 256},
               {"global_head_dim", 512},
               {"layer_types", types},
               {"sliding_window", size.window},
               {"final_logit_softcapping", 30.0},
               {"attention_k_eq_v", size.value_is_key},
               {"num_kv_shared_layers", size.sharing},
               {"use_double_wide_mlp", size.double_wide},
               {"enable_moe_block", size.experts > 0},
               {"num_experts", size.experts > 0 ? Json(size.experts) : Json()},
               {"top_k_experts", size.experts > 0 ? Json(8) : Json()},
               {"moe_intermediate_size", size.experts > 0 ? Json(size.expert_width) : Json()},
               {"hidden_size_per_layer_input", size.per_layer},
               {"vocab_size_per_layer_input", 262144},
               {"use_bidirectional_attention", size.value_is_key ? Json("vision") : Json()},
               {"rope_parameters", *parse_json(R"({"full_attention":{"rope_type":"proportional","rope_theta":1000000.0,
                  "partial_rotary_factor":0.25},"sliding_attention":{"rope_type":"default","rope_theta":10000.0}})")}};
  return {{"model_type", "gemma4"}, {"text_config", text}};
}

}  // namespace commissure::testing
