#pragma once

#include <string_view>

#include "api/api_error.h"

namespace commissure {

/// Whether a path of the API speaks Anthropic's Messages API, errors included.
bool is_messages_path(std::string_view path);

/// An error as clients of the Messages API know it, with a status that they understand:
///   {"type": "error", "error": {"type", "message"}, "request_id"}
HttpResponse messages_error(const ApiError& error, std::string_view request_id);

/// The same as a stream's last event.
std::string messages_error_event(const ApiError& error, std::string_view request_id);

}  // namespace commissure
