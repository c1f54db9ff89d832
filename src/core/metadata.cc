#include "core/metadata.h"

#include <cmath>

namespace commissure {

std::optional<std::int64_t> Metadata::integer(std::string_view key) const {
  if (const auto* value = find<std::int64_t>(key)) return *value;
  if (const auto* value = find<double>(key); value && std::trunc(*value) == *value && std::abs(*value) < 0x1p53) {
    return static_cast<std::int64_t>(*value);
  }
  return std::nullopt;
}

std::optional<double> Metadata::number(std::string_view key) const {
  if (const auto* value = find<double>(key)) return *value;
  if (const auto* value = find<std::int64_t>(key)) return static_cast<double>(*value);
  return std::nullopt;
}

std::optional<bool> Metadata::boolean(std::string_view key) const {
  if (const auto* value = find<bool>(key)) return *value;
  return std::nullopt;
}

}  // namespace commissure
