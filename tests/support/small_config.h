#pragma once

#include <string>

#include "core/json.h"

namespace commissure::testing {

/// The config.json of a small model of `family`, with members added or replaced.
inline std::string small_config(const std::string& family, const std::string& changes) {
  Json config = *parse_json(R"({"num_hidden_layers":4,"hidden_size":64,"intermediate_size":96,
    "num_attention_heads":4,"num_key_value_heads":2,"vocab_size":100})");
  config["model_type"] = family;
  config.update(*parse_json(changes));
  return dump_json(config);
}

}  // namespace commissure::testing
