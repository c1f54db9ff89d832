// A GGUF file: header, then what is made of its keys.

#include "core/json.h"
#include "fuzz/fuzz.h"
#include "fuzz/model_facts.h"
#include "support/memory_source.h"
#include "text/tokenizer.h"
#include "weights/gguf.h"

namespace {

using namespace commissure;

/// Whatever the vocabulary, text becomes ids of it.
void check_tokenizer(const Metadata& metadata) {
  const auto tokenizer = Tokenizer::from_metadata(metadata);
  if (!fuzz::is_accepted(tokenizer)) return;
  const auto tokens = (*tokenizer)->encode("Hello, w\u00f6rld 123", {});
  for (const TokenId token : tokens) CHECK((*tokenizer)->contains(token));
  (void)(*tokenizer)->decode(tokens);
}

}  // namespace

/// A header that is accepted promises that every tensor can be read, and that keeping the vocabulary changes nothing
/// else.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  MemorySource source(std::string(fuzz::as_text(data, size)));
  const auto header = read_gguf_header(source);
  const auto lean = read_gguf_header(source, Vocabulary::kSkip);
  if (!fuzz::is_accepted(header)) return 0;
  CHECK(lean && lean->tensors.size() == header->tensors.size());
  for (const TensorInfo& tensor : header->tensors) {
    CHECK(tensor.n_elements() > 0 && source.read(tensor.offset, tensor.n_bytes).has_value());
  }
  fuzz::check_spec(spec_from_gguf(header->metadata, {.n_vocab = 3, .has_head = true, .rope_divisors = {}}));
  fuzz::check_defaults(defaults_of_gguf(header->metadata));
  check_tokenizer(header->metadata);
  return 0;
}
