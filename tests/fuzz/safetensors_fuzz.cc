// A safetensors file, and the same bytes as the index of a sharded model.

#include "fuzz/fuzz.h"
#include "support/memory_source.h"
#include "weights/location.h"
#include "weights/safetensors.h"

/// A header that is accepted promises that every tensor can be read; an index, that its shards are plain names.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace commissure;
  const std::string bytes(fuzz::as_text(data, size));
  if (const auto shards = parse_safetensors_index(bytes, "index"); fuzz::is_accepted(shards)) {
    for (const std::string& shard : *shards) CHECK(is_plain_file_name(shard));
  }
  MemorySource source(bytes);
  const auto header = read_safetensors_header(source);
  if (!fuzz::is_accepted(header)) return 0;
  for (const TensorInfo& tensor : header->tensors) CHECK(source.read(tensor.offset, tensor.n_bytes).has_value());
  return 0;
}
