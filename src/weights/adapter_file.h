#pragma once

#include <cstdint>
#include <string>

#include "core/result.h"
#include "step/adapter.h"

namespace commissure {

/// The most bytes that the files of an adapter may have together.
inline constexpr std::uint64_t kMaxAdapterBytes = std::uint64_t{4} << 30;

/// Where the files of an adapter lie.
struct AdapterFiles {
  std::string config;   ///< adapter_config.json of a PEFT folder; empty for GGUF
  std::string tensors;  ///< adapter_model.safetensors, or the GGUF file

  bool is_gguf() const { return config.empty(); }
};

/// `path` is a GGUF adapter where its name ends in .gguf, else a PEFT folder. Nothing is looked up.
AdapterFiles adapter_files(const std::string& path);

/// The id of an adapter by its content: the first 8 bytes, little endian, of a SHA-256 over its files, each with its
/// length before it. Reads them whole, some MiB at a time.
/// Errors: kNotFound, there is no adapter; kInvalidArgument, a file is empty or they are larger than kMaxAdapterBytes;
/// else as open_byte_source and ByteSource::read.
Result<AdapterId> adapter_id(const std::string& path);

}  // namespace commissure
