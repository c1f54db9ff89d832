#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/json.h"

namespace commissure {

enum class Severity { kDebug, kInfo, kWarning, kError };

/// How log lines look: one JSON object a line (Cloud Logging's fields), or short text for people.
enum class LogFormat { kJson, kText };

/// Fields beside the message, e.g. {{"stage", "b"}, {"layers", "10-20"}}.
using LogFields = std::vector<std::pair<std::string, Json>>;

/// Sets format, threshold and the name every line carries ("stage a"). Called once, by main.
void configure_log(LogFormat format, Severity threshold, std::string_view name);

/// Writes one line to standard error. Never pass prompts or secrets.
/// Threading: any thread.
void log(Severity severity, std::string_view message, const LogFields& fields = {});

inline void log_info(std::string_view message, const LogFields& fields = {}) { log(Severity::kInfo, message, fields); }
inline void log_warning(std::string_view message, const LogFields& fields = {}) {
  log(Severity::kWarning, message, fields);
}
inline void log_error(std::string_view message, const LogFields& fields = {}) {
  log(Severity::kError, message, fields);
}

}  // namespace commissure
