#include "api/ollama_error.h"

#include <fmt/format.h>

#include <ctime>

namespace commissure {

bool is_ollama_path(std::string_view path) { return path.starts_with("/api/"); }

HttpResponse ollama_error(const ApiError& error) {
  HttpResponse response = error.response();  // its header fields
  const Json shown = error.body()["error"]["message"];
  response.body = dump_json({{"error", shown}});
  return response;
}

std::string ollama_line(const Json& value) { return dump_json(value) + "\n"; }

std::string ollama_time(std::chrono::system_clock::time_point moment) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(moment);
  const auto since = std::chrono::duration_cast<std::chrono::nanoseconds>(moment.time_since_epoch());
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:09}Z", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday,
                     utc.tm_hour, utc.tm_min, utc.tm_sec, since.count() % 1'000'000'000);
}

}  // namespace commissure
