// A GGUF file: header, then what is made of its keys.

#include <algorithm>
#include <cstring>
#include <vector>

#include "core/json.h"
#include "fuzz/fuzz.h"
#include "fuzz/model_facts.h"
#include "support/memory_source.h"
#include "text/tokenizer.h"
#include "vision/vision_spec.h"
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

/// What the tensors say of the model, as read_decoder_spec() takes it from them.
GgufFacts facts_of(MemorySource& source, const GgufHeader& header) {
  GgufFacts facts = {.n_vocab = 3, .has_head = true, .rope_divisors = {}, .long_factors = {}, .short_factors = {}};
  const auto list_of = [&](const TensorInfo& tensor) {
    std::vector<float> values(std::min<std::uint64_t>(tensor.n_bytes, 4096) / sizeof(float));
    const auto range = source.read(tensor.offset, values.size() * sizeof(float));
    CHECK(range.has_value());
    std::memcpy(values.data(), range->bytes.data(), range->bytes.size());
    return values;
  };
  for (const TensorInfo& tensor : header.tensors) {
    if (tensor.name == "blk.0.attn_q.bias") facts.has_qkv_bias = true;
    if (tensor.name == "blk.0.attn_output.bias") facts.has_output_bias = true;
    if (tensor.name == "blk.0.attn_qkv.weight") facts.has_fused_qkv = true;
    if (tensor.name == "blk.0.attn_k.weight") facts.full_value_is_key = true;
    if (tensor.name == "blk.0.ffn_gate.weight") facts.has_separate_gate = true;
    if (tensor.name == "rope_freqs.weight") facts.rope_divisors = list_of(tensor);
    if (tensor.name == "rope_factors_long.weight") facts.long_factors = list_of(tensor);
    if (tensor.name == "rope_factors_short.weight") facts.short_factors = list_of(tensor);
  }
  return facts;
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
  fuzz::check_spec(spec_from_gguf(header->metadata, facts_of(source, *header)));
  fuzz::check_defaults(defaults_of_gguf(header->metadata));
  for (const auto& vision : {vision_spec_from_mmproj(header->metadata, 64), vision_spec_from_gguf(header->metadata)}) {
    if (fuzz::is_accepted(vision)) CHECK(vision->most_rows() > 0 && vision->head_dim() > 0 && vision->pool > 0);
  }
  check_tokenizer(header->metadata);
  return 0;
}
