#include "kernels/kv_type.h"

#include "kernels/padded_head.h"

namespace commissure {

std::string_view kv_type_name(KvType type) { return type == KvType::kInt8 ? "int8" : "bf16"; }

Result<KvType> parse_kv_type(std::string_view name) {
  if (name == "auto") return KvType::kBF16;
  for (const KvType type : {KvType::kBF16, KvType::kInt8}) {
    if (name == kv_type_name(type)) return type;
  }
  return Error(Code::kInvalidArgument, "KV type is \"", name, "\", must be auto, bf16 or int8");
}

std::size_t kv_position_bytes(KvType type, int n_kv_heads, int head_dim) {
  const std::size_t n_values = padded_head_dim(head_dim);
  const std::size_t vector_bytes = type == KvType::kInt8 ? n_values + sizeof(float) : n_values * sizeof(std::uint16_t);
  return 2 * n_kv_heads * vector_bytes;
}

}  // namespace commissure
