#include "core/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <chrono>
#include <memory>

namespace commissure {

namespace {

struct LogSettings {
  LogFormat format = LogFormat::kText;
  Severity threshold = Severity::kInfo;
  std::string name;
  std::shared_ptr<spdlog::logger> sink;  // shared: spdlog hands loggers out no other way
};

// The one exception to "nothing is global": every room logs, and a logger holds no state that matters.
LogSettings& settings() {
  static LogSettings value = [] {
    LogSettings made;
    made.sink = std::make_shared<spdlog::logger>("", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made.sink->set_pattern("%v");
    made.sink->set_level(spdlog::level::trace);
    made.sink->flush_on(spdlog::level::trace);
    return made;
  }();
  return value;
}

std::string_view severity_name(Severity severity) {
  switch (severity) {
    case Severity::kDebug: return "DEBUG";
    case Severity::kInfo: return "INFO";
    case Severity::kWarning: return "WARNING";
    case Severity::kError: return "ERROR";
  }
  return "INFO";
}

std::string timestamp() {
  const auto now = std::chrono::system_clock::now();
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  const auto millis = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday,
                     utc.tm_hour, utc.tm_min, utc.tm_sec, millis);
}

}  // namespace

void configure_log(LogFormat format, Severity threshold, std::string_view name) {
  LogSettings& current = settings();
  current.format = format;
  current.threshold = threshold;
  current.name = name;
}

void log(Severity severity, std::string_view message, const LogFields& fields) {
  const LogSettings& current = settings();
  if (severity < current.threshold) return;
  if (current.format == LogFormat::kJson) {
    Json line = {{"severity", severity_name(severity)}, {"time", timestamp()}, {"message", message}};
    if (!current.name.empty()) line["component"] = current.name;
    for (const auto& [key, value] : fields) line[key] = value;
    current.sink->log(spdlog::level::info, dump_json(line));
    return;
  }
  std::string line = fmt::format("{} {:<7} ", timestamp(), severity_name(severity));
  if (!current.name.empty()) line += fmt::format("[{}] ", current.name);
  line += message;
  for (const auto& [key, value] : fields) {
    line += fmt::format(" {}={}", key, value.is_string() ? value.get<std::string>() : dump_json(value));
  }
  current.sink->log(spdlog::level::info, line);
}

}  // namespace commissure
