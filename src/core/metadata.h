#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace commissure {

/// One value of a model file's key-value header, widened to the largest type of its kind.
using MetadataValue = std::variant<bool, std::int64_t, double, std::string, std::vector<bool>,
                                   std::vector<std::int64_t>, std::vector<float>, std::vector<std::string>>;

/// A model file's key-value header (GGUF), free of the file it came from.
class Metadata {
 public:
  void set(std::string key, MetadataValue value) { values_.insert_or_assign(std::move(key), std::move(value)); }
  void erase(std::string_view key) {
    if (const auto it = values_.find(key); it != values_.end()) values_.erase(it);
  }
  bool has(std::string_view key) const { return values_.find(key) != values_.end(); }

  /// The value of `key` as T, or nullptr when the key is absent or of another kind.
  template <typename T>
  const T* find(std::string_view key) const {
    const auto it = values_.find(key);
    return it == values_.end() ? nullptr : std::get_if<T>(&it->second);
  }

  /// Numbers convert between integer and float when the value is exact.
  std::optional<std::int64_t> integer(std::string_view key) const;
  std::optional<double> number(std::string_view key) const;
  std::optional<bool> boolean(std::string_view key) const;
  const std::string* text(std::string_view key) const { return find<std::string>(key); }

  const std::map<std::string, MetadataValue, std::less<>>& values() const { return values_; }

 private:
  std::map<std::string, MetadataValue, std::less<>> values_;
};

}  // namespace commissure
