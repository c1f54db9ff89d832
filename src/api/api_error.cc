#include "api/api_error.h"

#include "core/short_text.h"

namespace commissure {

namespace {

constexpr std::size_t kMaxShown = 1000;  // bytes of a message

std::string_view type_of(int status) {
  switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 429: return "rate_limit_error";
    case 499: return "cancelled_error";
    case 501: return "not_supported_error";
    case 503: return "unavailable_error";
    case 504: return "timeout_error";
    default: return status >= 500 ? "server_error" : "invalid_request_error";
  }
}

}  // namespace

Json ApiError::body() const {
  const std::string shown = short_text(message, kMaxShown);  // it may quote the body it refuses: megabytes
  const auto text_or_null = [](const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); };
  return {
      {"error", {{"message", shown}, {"type", type}, {"param", text_or_null(param)}, {"code", text_or_null(code)}}}};
}

HttpResponse ApiError::response() const {
  HttpResponse response{.status = status, .body = dump_json(body())};
  if (status == 429) response.headers.emplace_back("retry-after", "1");
  if (status == 503) response.headers.emplace_back("retry-after", "2");
  if (status == 401) response.headers.emplace_back("www-authenticate", "Bearer");
  return response;
}

int http_status(Code code) {
  switch (code) {
    case Code::kOk: return 200;
    case Code::kInvalidArgument: return 400;
    case Code::kOutOfRange: return 400;
    case Code::kUnauthenticated: return 401;
    case Code::kPermissionDenied: return 403;
    case Code::kNotFound: return 404;
    case Code::kAlreadyExists: return 409;
    case Code::kResourceExhausted: return 429;
    case Code::kCancelled: return 499;
    case Code::kUnimplemented: return 501;
    case Code::kUnavailable: return 503;
    case Code::kAborted: return 503;
    case Code::kFailedPrecondition: return 503;  // a chain that does not fit together: not the client's fault
    case Code::kDeadlineExceeded: return 504;
    case Code::kUnknown:
    case Code::kInternal:
    case Code::kDataLoss: return 500;
  }
  return 500;
}

ApiError to_api_error(const Error& error) {
  ApiError result;
  result.status = http_status(error.code());
  result.message = error.message();
  result.type = type_of(result.status);
  if (error.code() == Code::kOutOfRange) {
    result.code = "context_length_exceeded";
  } else if (error.code() == Code::kResourceExhausted) {
    result.code = "queue_full";
  } else if (error.code() == Code::kDeadlineExceeded) {
    result.code = "timeout";
  }
  return result;
}

ApiError bad_field(std::string_view param, std::string message) {
  return {.status = 400, .message = std::move(message), .param = std::string(param), .code = "invalid_value"};
}

ApiError context_overflow(int context_length, int n_prompt, int n_completion, std::string_view param) {
  ApiError error{.param = std::string(param), .code = "context_length_exceeded"};
  error.message = fmt::format("This model's maximum context length is {} tokens. ", context_length);
  if (n_completion >= 0) {
    error.message += fmt::format("However, your request has {} tokens ({} in the prompt, {} for the completion). ",
                                 static_cast<long long>(n_prompt) + n_completion, n_prompt, n_completion);
  } else {
    error.message += fmt::format("However, your request has {} tokens in the prompt. ", n_prompt);
  }
  error.message += "Shorten the prompt or ask for fewer tokens.";
  return error;
}

}  // namespace commissure
