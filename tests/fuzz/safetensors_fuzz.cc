#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "support/memory_source.h"
#include "weights/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

/// A header that is accepted promises that every tensor can be read; an index, that its shards are plain names.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace commissure;
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  if (const auto shards = parse_safetensors_index(bytes, "index")) {
    for (const std::string& shard : *shards) {
      if (shard.empty() || shard.find('/') != std::string::npos) std::abort();
    }
  }
  MemorySource source(bytes);
  const auto header = read_safetensors_header(source);
  if (!header) return 0;
  for (const TensorInfo& tensor : header->tensors) {
    if (!source.read(tensor.offset, tensor.n_bytes)) std::abort();
  }
  return 0;
}
