#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/result.h"

namespace commissure {

/// How keys and values lie in the KV cache, a property of the whole chain. kInt8: one float scale per position and kv
/// head for its key, one for its value; the largest magnitude is 127. A position is rounded by itself, so that its
/// bits depend on nothing else.
enum class KvType : std::uint8_t { kBF16, kInt8 };

std::string_view kv_type_name(KvType type);

/// "bf16", "int8", or "auto" for bf16. Errors: kInvalidArgument, listing the names.
Result<KvType> parse_kv_type(std::string_view name);

/// Bytes of one position's key and value over all kv heads of a layer; a head takes padded_head_dim() values.
std::size_t kv_position_bytes(KvType type, int n_kv_heads, int head_dim);

}  // namespace commissure
