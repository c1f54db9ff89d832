#pragma once

#include <functional>
#include <optional>
#include <string>

namespace commissure {

/// Looks a variable up; empty optional when unset. A test passes a map.
using Environment = std::function<std::optional<std::string>(const std::string& name)>;

/// The process's own environment; a variable set to "" counts as unset.
std::optional<std::string> process_environment(const std::string& name);

}  // namespace commissure
