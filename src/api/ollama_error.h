#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "api/api_error.h"

namespace commissure {

/// What Ollama's streams are: a line of JSON for each piece.
inline constexpr std::string_view kNdjson = "application/x-ndjson";

/// Whether a path of the API speaks Ollama's, errors included.
bool is_ollama_path(std::string_view path);

/// An error as Ollama's clients know it: {"error": "..."}
HttpResponse ollama_error(const ApiError& error);
Json ollama_error_body(const ApiError& error);

/// One line of a stream, also where a reader takes each of Unicode's line ends for one (Python's str.splitlines).
std::string ollama_line(const Json& value);

/// "2026-11-30T22:00:00.123456789Z"
std::string ollama_time(std::chrono::system_clock::time_point moment);

}  // namespace commissure
