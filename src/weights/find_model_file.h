#pragma once

#include <string>

#include "core/result.h"

namespace commissure {

/// The file that stands for a model: the location itself, or what a local folder holds (model.safetensors.index.json,
/// else model.safetensors, else the only other .safetensors file or series, else the only GGUF file or split).
/// Errors: kNotFound, nothing there, or a folder without a model; kInvalidArgument, several candidates, all named.
Result<std::string> find_model_file(const std::string& location);

}  // namespace commissure
