#include "api/messages_error.h"

namespace commissure {

namespace {

/// A full queue: 429 would mean a limit of the client's own.
constexpr int kOverloaded = 529;

int status_of(const ApiError& error) { return error.status == 429 ? kOverloaded : error.status; }

std::string_view type_of(int status) {
  switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 503:
    case kOverloaded: return "overloaded_error";
    case 504: return "timeout_error";
    default: return status >= 499 ? "api_error" : "invalid_request_error";
  }
}

Json body_of(ApiError error, std::string_view request_id) {
  // Clients look for these words, and shorten the conversation.
  if (error.code == "context_length_exceeded") error.message = "prompt is too long: " + error.message;
  const Json shown = error.body()["error"]["message"];
  return {{"type", "error"},
          {"error", {{"type", type_of(status_of(error))}, {"message", shown}}},
          {"request_id", request_id}};
}

}  // namespace

bool is_messages_path(std::string_view path) {
  constexpr std::string_view kPath = "/v1/messages";
  return path == kPath || (path.starts_with(kPath) && path[kPath.size()] == '/');
}

HttpResponse messages_error(const ApiError& error, std::string_view request_id) {
  HttpResponse response = error.response();  // its header fields
  response.status = status_of(error);
  response.body = dump_json(body_of(error, request_id));
  return response;
}

std::string messages_error_event(const ApiError& error, std::string_view request_id) {
  return "event: error\ndata: " + dump_json(body_of(error, request_id)) + "\n\n";
}

}  // namespace commissure
