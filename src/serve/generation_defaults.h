#pragma once

#include <string>
#include <vector>

#include "core/json.h"
#include "core/metadata.h"
#include "engine/generation.h"

namespace commissure {

/// What a model's makers advise, and what of their advice cannot be followed.
struct AdvisedDefaults {
  GenerationDefaults values;
  bool any = false;                        ///< whether the files advise anything but end tokens
  std::vector<std::string> warnings = {};  ///< one for each value that is out of range and therefore left out
};

/// The advice in a safetensors model's files: sampling values of generation_config.json (null where there is none;
/// `do_sample: false` means greedy), end tokens of generation_config.json or, where it names none, of config.json
/// (top level, or text_config). Source: transformers, GenerationConfig.from_model_config.
AdvisedDefaults defaults_of_config(const Json& generation_config, const Json& config);

/// The advice in a GGUF file: the keys general.sampling.*. Source: llama.cpp, which writes and reads them.
AdvisedDefaults defaults_of_gguf(const Metadata& metadata);

}  // namespace commissure
