#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "support/memory_source.h"
#include "weights/gguf.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

/// A header that is accepted promises that every tensor can be read, and that keeping the vocabulary changes nothing
/// else.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace commissure;
  MemorySource source(std::string(reinterpret_cast<const char*>(data), size));
  const auto header = read_gguf_header(source);
  const auto lean = read_gguf_header(source, Vocabulary::kSkip);
  if (header && (!lean || lean->tensors.size() != header->tensors.size())) std::abort();
  if (!header) return 0;
  for (const TensorInfo& tensor : header->tensors) {
    if (tensor.n_elements() <= 0 || !source.read(tensor.offset, tensor.n_bytes)) std::abort();
  }
  return 0;
}
