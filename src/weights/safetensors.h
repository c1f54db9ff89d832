#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/result.h"
#include "weights/byte_source.h"
#include "weights/tensor_info.h"

namespace commissure {

/// What stands before the tensor data of one safetensors file.
struct SafetensorsHeader {
  std::vector<TensorInfo> tensors;  ///< by offset; `source` is left 0
  /// Name and dtype of tensors in types we do not compute with (I64, F8_E4M3, ...): listed, not refused, because many
  /// checkpoints carry such a buffer that nothing needs.
  std::vector<std::pair<std::string, std::string>> unsupported;
  /// Those of them that are plain bytes (U8), as packed formats keep their codes.
  std::vector<TensorInfo> bytes;
  std::uint64_t n_bytes = 0;  ///< header bytes with the length before them
};

/// Reads and checks a safetensors header: tensors must fill the data section without gap or overlap.
/// Errors: kInvalidArgument, not a safetensors file; kDataLoss, truncated or corrupt, with numbers and names;
/// kUnavailable, the read failed.
/// Source: the safetensors README, "Format".
Result<SafetensorsHeader> read_safetensors_header(ByteSource& source);

/// The shards that hold the tensors of a `*.safetensors.index.json`: plain file names, sorted, each once.
/// Errors: kInvalidArgument, malformed, or a name that points outside the folder.
Result<std::vector<std::string>> parse_safetensors_index(std::string_view text, const std::string& name);

}  // namespace commissure
