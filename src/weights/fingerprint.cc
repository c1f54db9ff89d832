#include <algorithm>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/sha256.h"
#include "weights/checkpoint.h"

namespace commissure {

namespace {

/// Keys that say where a file came from or how it was cut, not what it computes.
bool is_identity(std::string_view key) {
  return key == "general.architecture" || !(key.starts_with("general.") || key.starts_with("split."));
}

/// Numbers in full precision, so that two models that differ in the last bit differ here.
std::string value_text(const MetadataValue& value) {
  return std::visit(
      [](const auto& held) {
        using T = std::decay_t<decltype(held)>;
        if constexpr (std::is_arithmetic_v<T> || std::is_same_v<T, std::string>) {
          return fmt::format("{}", held);
        } else {
          std::string text;
          for (const auto& element : held) fmt::format_to(std::back_inserter(text), "{},", element);
          return text;
        }
      },
      value);
}

/// Adds one field so that no two lists of fields give the same bytes.
void add(Sha256& hash, std::string_view field) {
  hash.update(fmt::format("{}:", field.size()));
  hash.update(field);
}

void add_metadata(Sha256& hash, const Metadata& metadata) {
  for (const auto& [key, value] : metadata.values()) {
    // Vocabulary arrays are megabytes, and stages that do not tokenise lack them: their lengths must do.
    const bool is_array = value.index() >= 4;
    if (!is_identity(key) || (is_array && key.starts_with("tokenizer."))) continue;
    add(hash, key);
    add(hash, value_text(value));
  }
}

/// The configuration with its keys in order and without the keys that name its origin.
std::string canonical_config(const Json& config) {
  nlohmann::json sorted = config;  // std::map order
  for (const char* key : {"_name_or_path", "transformers_version"}) {
    if (sorted.is_object()) sorted.erase(key);
  }
  return sorted.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

std::string Checkpoint::fingerprint() const {
  if (!written_fingerprint_.empty()) return written_fingerprint_;
  Sha256 hash;
  if (format_ == CheckpointFormat::kGguf) {
    add_metadata(hash, metadata_);
    for (const auto& [key, length] : array_lengths_) {
      if (is_identity(key)) add(hash, fmt::format("{}#{}", key, length));
    }
  } else {
    add(hash, canonical_config(config_));
  }
  std::vector<const TensorInfo*> by_name;
  for (const TensorInfo& tensor : tensors_) by_name.push_back(&tensor);
  std::ranges::sort(by_name, {}, &TensorInfo::name);
  for (const TensorInfo* tensor : by_name) {
    const auto made = made_.find(tensor->name);
    const bool as_stored = made != made_.end() && !made->second.bnb;
    add(hash, tensor->name);
    add(hash, fmt::format("{}{}", dtype_name(as_stored ? made->second.stored.dtype : tensor->dtype),
                          shape_text(tensor->shape)));
  }
  return hash.finish();
}

std::string Checkpoint::quantised_fingerprint() const {
  return quantisation_.empty() ? fingerprint() : fingerprint() + "+" + quantisation_;
}

}  // namespace commissure
