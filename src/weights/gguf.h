#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/metadata.h"
#include "core/result.h"
#include "weights/byte_source.h"
#include "weights/tensor_info.h"

namespace commissure {

/// Whether a vocabulary's large arrays (tokens, scores, types, merges) are kept in memory; only a stage that
/// tokenises needs them.
enum class Vocabulary { kKeep, kSkip };

/// What stands before the tensor data of one GGUF file.
struct GgufHeader {
  Metadata metadata;
  /// Element counts of all arrays by key, also of arrays that were not kept.
  std::map<std::string, std::uint64_t> array_lengths;
  std::vector<TensorInfo> tensors;  ///< in file order; `source` is left 0
  std::uint64_t n_bytes = 0;        ///< header bytes, before the padding
  std::uint64_t n_keys = 0;
  std::uint64_t keys_begin = 0, keys_end = 0;  ///< where the keys with their values stand in the file
};

/// Reads and checks a GGUF header, versions 2 and 3, little-endian. Touches no tensor data.
/// Errors: kInvalidArgument, not a GGUF file or one we do not support (version, byte order, tensor type);
/// kDataLoss, truncated or corrupt, with byte, numbers and names; kUnavailable, the read failed.
/// Source: ggml/docs/gguf.md.
Result<GgufHeader> read_gguf_header(ByteSource& source, Vocabulary vocabulary = Vocabulary::kKeep);

}  // namespace commissure
