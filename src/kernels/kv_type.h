#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/result.h"

namespace commissure {

/// How the KV cache stores keys and values; the same on every stage of a chain. kBF16: rounded to bf16. kInt8: rounded
/// to int8, with one float scale for the key and one for the value of each position and kv head, chosen so that the
/// largest magnitude is 127. Each position is rounded by itself, so its bits depend on no other position.
enum class KvType : std::uint8_t { kBF16, kInt8 };

std::string_view kv_type_name(KvType type);

/// "bf16", "int8", or "auto" for bf16. Errors: kInvalidArgument, listing the names.
Result<KvType> parse_kv_type(std::string_view name);

/// Bytes of one position's key and value over all kv heads of a layer; a head takes padded_head_dim() values.
std::size_t kv_position_bytes(KvType type, int n_kv_heads, int head_dim);

}  // namespace commissure
