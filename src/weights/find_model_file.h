#pragma once

#include <string>
#include <vector>

#include "core/result.h"

namespace commissure {

/// The file that stands for a model: the location itself, or what a folder (local or gs://) holds
/// (model.safetensors.index.json, else model.safetensors, else the only other .safetensors file or series, else the
/// only GGUF file or split, beside image encoders). A gs:// name that is not a model file's is looked up as a folder
/// first. Errors: kNotFound, nothing there, or a folder without a model; kInvalidArgument, several candidates, all
/// named; as CloudAccess::fetch_json.
Result<std::string> find_model_file(const std::string& location);

/// The names in a folder, local or gs://; none where there is no such folder, and of a URL. Errors: kPermissionDenied;
/// as CloudAccess::fetch_json.
Result<std::vector<std::string>> list_folder(const std::string& folder);

}  // namespace commissure
