#include "weights/find_model_file.h"

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <vector>

#include <fmt/ranges.h>

#include "weights/cloud_access.h"
#include "weights/location.h"

namespace commissure {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxNamed = 8;

bool is_model_file_name(std::string_view name) {
  return name.ends_with(".gguf") || name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json");
}

Result<std::vector<std::string>> list_local_folder(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  if (error) return Error(Code::kPermissionDenied, folder, ": cannot list the folder: ", error.message());
  return names;
}

/// The names with this extension, sorted; of a series only the first. An image encoder is no model.
std::vector<std::string> with_extension(const std::vector<std::string>& names, std::string_view extension) {
  std::vector<std::string> chosen;
  for (const std::string& name : names) {
    const auto series = parse_series_name(name);
    if (name.ends_with(extension) && !is_mmproj_name(name) && (!series || series->number == 1)) chosen.push_back(name);
  }
  std::ranges::sort(chosen);
  return chosen;
}

Error several(const std::string& folder, std::vector<std::string> names) {
  const std::size_t n = names.size();
  names.resize(std::min(n, kMaxNamed));
  return Error(Code::kInvalidArgument, folder, ": holds ", n,
               " models; name one of them: ", fmt::to_string(fmt::join(names, ", ")), n > kMaxNamed ? ", ..." : "");
}

/// The file that a folder with these names is opened by.
Result<std::string> choose(const std::string& folder, const std::vector<std::string>& names) {
  // Safetensors first: where a folder has both, its config.json and tokenizer.json belong to these.
  for (const char* name : {"model.safetensors.index.json", "model.safetensors"}) {
    if (std::ranges::find(names, name) != names.end()) return folder + name;
  }
  for (const char* extension : {".safetensors", ".gguf"}) {
    auto chosen = with_extension(names, extension);
    if (chosen.size() == 1) return folder + chosen[0];
    if (chosen.size() > 1) return several(folder, std::move(chosen));
  }
  return Error(Code::kNotFound, folder,
               ": holds no model; expected model.safetensors (or model.safetensors.index.json and its shards) with "
               "config.json, or one .gguf file");
}

/// Cloud Storage has no folders to ask about: a name that is not a model file's may be one, with or without a slash.
Result<std::string> find_in_cloud(const std::string& location) {
  if (is_model_file_name(location)) return location;
  const std::string folder = location.ends_with('/') ? location : location + "/";
  CloudAccess access(CloudOptions::from_environment());
  const auto names = TRY(list_cloud_folder(access, folder));
  if (names.empty() && folder != location && !TRY(parse_cloud_name(location)).object.empty()) return location;
  return choose(folder, names);
}

}  // namespace

Result<std::string> find_model_file(const std::string& location) {
  if (is_cloud(location)) return find_in_cloud(location);
  std::error_code error;
  if (is_url(location) || !fs::is_directory(location, error)) return location;
  const std::string folder = location.ends_with('/') ? location : location + "/";
  return choose(folder, TRY(list_local_folder(folder)));
}

Result<std::vector<std::string>> list_folder(const std::string& folder) {
  if (is_cloud(folder)) {
    CloudAccess access(CloudOptions::from_environment());
    return list_cloud_folder(access, folder + "/");
  }
  std::error_code error;
  if (is_url(folder) || !fs::is_directory(folder, error)) return std::vector<std::string>();
  auto names = TRY(list_local_folder(folder));
  std::ranges::sort(names);
  return names;
}

}  // namespace commissure
