#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "core/json.h"
#include "core/metadata.h"
#include "model/decoder_spec.h"
#include "model/tensor_names.h"

namespace commissure::testing {

/// The config.json of a small model of `family`, with members added or replaced.
inline std::string small_config(const std::string& family, const std::string& changes) {
  Json config = *parse_json(R"({"num_hidden_layers":4,"hidden_size":64,"intermediate_size":96,
    "num_attention_heads":4,"num_key_value_heads":2,"vocab_size":100})");
  config["model_type"] = family;
  config.update(*parse_json(changes));
  return dump_json(config);
}

/// A small GGUF header of `family`, without what a family has beyond the others.
inline Metadata small_gguf_header(const std::string& family) {
  Metadata metadata;
  metadata.set("general.architecture", family);
  for (const auto& [key, value] : {std::pair{"block_count", 2},
                                   {"context_length", 64},
                                   {"embedding_length", 64},
                                   {"feed_forward_length", 96},
                                   {"attention.head_count", 4}}) {
    metadata.set(family + "." + key, std::int64_t{value});
  }
  metadata.set(family + ".attention.layer_norm_rms_epsilon", 1e-6);
  return metadata;
}

/// A published model.
struct ModelSize {
  const char* name;
  const char* family;
  int layers, width, heads, kv_heads, head_dim, feed_forward, vocabulary;
  bool tied;
  std::int64_t parameters;
  std::int64_t active = 0;  ///< of them without the experts that a row does not take; 0: all are
  const char* more = "{}";  ///< of its config.json
};

/// Its config.json; heads of the even share go unsaid, as files leave them out.
inline std::string size_config(const ModelSize& size) {
  Json config = {{"model_type", size.family},         {"num_hidden_layers", size.layers},
                 {"hidden_size", size.width},         {"intermediate_size", size.feed_forward},
                 {"num_attention_heads", size.heads}, {"num_key_value_heads", size.kv_heads},
                 {"vocab_size", size.vocabulary},     {"tie_word_embeddings", size.tied}};
  if (size.head_dim * size.heads != size.width) config["head_dim"] = size.head_dim;
  config.update(*parse_json(size.more));
  return dump_json(config);
}

struct Parameters {
  std::int64_t all = 0;
  std::int64_t active = 0;  ///< without the experts that a row does not take
};

inline Parameters count_parameters(const DecoderSpec& spec) {
  Parameters sum;
  const ModelPart whole = {0, spec.n_layers(), true, true};
  if (const auto table = expected_table(spec, whole)) sum.all = sum.active = *count_elements(table->shape);
  for (const ExpectedTensor& tensor : expected_tensors(spec, whole)) {
    const std::int64_t n = *count_elements(tensor.shape);
    sum.all += n;
    if (tensor.expert < 0 || tensor.expert < spec.layers[tensor.layer].experts.n_used) sum.active += n;
  }
  return sum;
}

}  // namespace commissure::testing
