#include <algorithm>

#include "model/config_fields.h"

namespace commissure {
namespace {

/// Which layers have experts: every decoder_sparse_step-th that mlp_only_layers does not list.
Result<std::vector<bool>> read_sparse_layers(const ConfigFields& fields, std::int64_t n_layers) {
  const std::int64_t step = TRY(fields.integer_or("decoder_sparse_step", 1));
  if (step < 1)
    return Error(Code::kInvalidArgument, "config.json: decoder_sparse_step is ", step, ", must be positive");
  std::vector<bool> sparse;
  for (std::int64_t layer = 0; layer < std::min(n_layers, kMaxLayers); ++layer)
    sparse.push_back((layer + 1) % step == 0);
  const Json* dense = fields.find("mlp_only_layers");
  if (dense == nullptr) return sparse;
  if (!dense->is_array()) return Error(Code::kInvalidArgument, "config.json: mlp_only_layers must be a list");
  for (const Json& layer : *dense) {
    if (!layer.is_number_unsigned() || layer.get<std::uint64_t>() >= sparse.size()) {
      return Error(Code::kInvalidArgument, "config.json: mlp_only_layers lists ", dump_json(layer),
                   ", which is no layer of ", n_layers);
    }
    sparse[layer.get<std::uint64_t>()] = false;
  }
  return sparse;
}

}  // namespace

Status read_qwen_experts(const ConfigFields& fields, bool has_shared, RawSpec& raw) {
  RawExperts& experts = raw.experts;
  // Libraries have written either name.
  const std::int64_t local = TRY(fields.integer_or("num_local_experts", has_shared ? 60 : 128));
  experts.n_experts = TRY(fields.integer_or("num_experts", local));
  if (fields.find("num_local_experts") != nullptr && local != experts.n_experts) {
    return Error(Code::kInvalidArgument, "config.json: num_experts is ", experts.n_experts, ", num_local_experts ",
                 local);
  }
  experts.n_used = TRY(fields.integer_or("num_experts_per_tok", has_shared ? 4 : 8));
  experts.d_ff = TRY(fields.integer_or("moe_intermediate_size", has_shared ? 1408 : 768));
  experts.normalised = TRY(fields.boolean_or("norm_topk_prob", false));
  if (has_shared) experts.shared_d_ff = TRY(fields.integer_or("shared_expert_intermediate_size", 5632));
  raw.sparse = TRY(read_sparse_layers(fields, raw.n_layers));
  return {};
}

}  // namespace commissure
