#include "serve/served_adapters.h"

#include <filesystem>
#include <set>
#include <system_error>
#include <utility>

#include "model/adapter_shares.h"
#include "weights/adapter_file.h"
#include "weights/adapter_reader.h"

namespace commissure {

namespace {

namespace fs = std::filesystem;

std::pair<std::string, std::string> split_named(const std::string& named) {
  const std::size_t equals = named.find('=');
  if (equals == std::string::npos) return {named, ""};
  return {named.substr(0, equals), named.substr(equals + 1)};
}

/// As other stages find it, too, wherever they were started, and without a slash at its end.
std::string full_path(const std::string& path) {
  const fs::path full = fs::absolute(path).lexically_normal();
  return (full.has_filename() ? full : full.parent_path()).string();
}

Result<AdapterSource> read_adapter(const std::string& name, const std::string& path, const DecoderSpec& spec) {
  const auto reader = TRY(AdapterReader::open(path));
  TRY(find_adapter_shares(spec, *reader));
  return AdapterSource{TRY(adapter_id(path)), name, path};
}

}  // namespace

AdapterSettings with_full_paths(AdapterSettings settings) {
  for (std::string& named : settings.named) {
    const auto [name, path] = split_named(named);
    if (!path.empty()) named = name + "=" + full_path(path);
  }
  if (!settings.folder.empty()) settings.folder = full_path(settings.folder);
  return settings;
}

Status validate(const AdapterSettings& settings) {
  std::set<std::string> names;
  for (const std::string& named : settings.named) {
    const auto [name, path] = split_named(named);
    if (!is_adapter_name(name) || path.empty()) {
      return Error(Code::kInvalidArgument, "--adapter (COMMISSURE_ADAPTERS) is \"", named,
                   "\"; write NAME=PATH, the name of letters, digits and . _ -");
    }
    if (!names.insert(name).second)
      return Error(Code::kInvalidArgument, "--adapter (COMMISSURE_ADAPTERS) names \"", name, "\" twice");
  }
  if (settings.bytes == 0)
    return Error(Code::kInvalidArgument, "--adapter-bytes (COMMISSURE_ADAPTER_BYTES) is 0; it must be more");
  return {};
}

Result<AdapterOptions> read_adapters(const AdapterSettings& settings, const DecoderSpec& spec) {
  TRY(validate(settings));
  AdapterOptions options;
  options.most_bytes = settings.bytes;
  if (settings.named.empty() && settings.folder.empty()) return options;
  options.identify = adapter_id;
  for (const std::string& named : settings.named) {
    const auto [name, path] = split_named(named);
    auto source = read_adapter(name, full_path(path), spec);
    if (!source) return source.error().within("--adapter " + name);
    options.known.push_back(std::move(*source));
  }
  if (settings.folder.empty()) return options;
  options.folder = full_path(settings.folder);
  std::error_code problem;
  if (!fs::is_directory(options.folder, problem)) {
    return Error(Code::kNotFound, "--adapter-dir (COMMISSURE_ADAPTER_DIR): ", options.folder, " is no folder");
  }
  return options;
}

}  // namespace commissure
