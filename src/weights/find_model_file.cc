#include "weights/find_model_file.h"

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <vector>

#include <fmt/ranges.h>

#include "weights/location.h"

namespace commissure {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxNamed = 8;

/// The folder's files with this extension, sorted; of a series only the first.
Result<std::vector<std::string>> list_files(const std::string& folder, std::string_view extension) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    const auto series = parse_series_name(name);
    if (name.ends_with(extension) && (!series || series->number == 1)) names.push_back(name);
  }
  if (error) return Error(Code::kPermissionDenied, folder, ": cannot list the folder: ", error.message());
  std::ranges::sort(names);
  return names;
}

Error several(const std::string& folder, std::vector<std::string> names) {
  const std::size_t n = names.size();
  names.resize(std::min(n, kMaxNamed));
  return Error(Code::kInvalidArgument, folder, ": holds ", n,
               " models; name one of them: ", fmt::to_string(fmt::join(names, ", ")), n > kMaxNamed ? ", ..." : "");
}

}  // namespace

Result<std::string> find_model_file(const std::string& location) {
  std::error_code error;
  if (is_url(location) || !fs::is_directory(location, error)) return location;
  const std::string folder = location.ends_with('/') ? location : location + "/";
  // Safetensors first: where a folder has both, its config.json and tokenizer.json belong to these.
  for (const char* name : {"model.safetensors.index.json", "model.safetensors"}) {
    if (fs::exists(folder + name, error)) return folder + name;
  }
  for (const char* extension : {".safetensors", ".gguf"}) {
    auto names = TRY(list_files(folder, extension));
    if (names.size() == 1) return folder + names[0];
    if (names.size() > 1) return several(location, std::move(names));
  }
  return Error(Code::kNotFound, location,
               ": holds no model; expected model.safetensors (or model.safetensors.index.json and its shards) with "
               "config.json, or one .gguf file");
}

}  // namespace commissure
