#include "api/ollama_error.h"

#include <fmt/format.h>

#include <array>
#include <ctime>
#include <utility>

namespace commissure {

bool is_ollama_path(std::string_view path) { return path.starts_with("/api/"); }

HttpResponse ollama_error(const ApiError& error) {
  HttpResponse response = error.response();  // its header fields
  response.body = dump_json(ollama_error_body(error));
  return response;
}

Json ollama_error_body(const ApiError& error) {
  const Json shown = error.body()["error"]["message"];
  return {{"error", shown}};
}

std::string ollama_line(const Json& value) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 3> kLineEnds = {
      {{"\u2028", "\\u2028"}, {"\u2029", "\\u2029"}, {"\u0085", "\\u0085"}}};
  std::string line = dump_json(value);
  for (const auto& [raw, escaped] : kLineEnds) {  // they stand in strings alone
    if (line.find(raw) == line.npos) continue;
    std::string all;
    std::size_t from = 0;
    for (std::size_t at; (at = line.find(raw, from)) != line.npos; from = at + raw.size()) {
      all.append(line, from, at - from).append(escaped);
    }
    line = all.append(line, from);
  }
  return line + "\n";
}

std::string ollama_time(std::chrono::system_clock::time_point moment) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(moment);
  const auto since = std::chrono::duration_cast<std::chrono::nanoseconds>(moment.time_since_epoch());
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:09}Z", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday,
                     utc.tm_hour, utc.tm_min, utc.tm_sec, since.count() % 1'000'000'000);
}

}  // namespace commissure
