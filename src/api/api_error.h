#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "core/json.h"
#include "core/result.h"
#include "http/http.h"

namespace commissure {

/// An error as clients of the OpenAI API know it.
struct ApiError {
  int status = 400;
  std::string message = {};
  std::string type = "invalid_request_error";
  std::string param = {};  ///< the field at fault; "" is null
  std::string code = {};   ///< "" is null

  /// {"error": {message, type, param, code}}
  Json body() const;
  /// With Retry-After where it makes sense, WWW-Authenticate on 401.
  HttpResponse response() const;
};

template <typename T>
using ApiResult = tl::expected<T, ApiError>;

/// The HTTP status for an error code.
int http_status(Code code);

/// An error of the engine or of another room, as the client sees it.
ApiError to_api_error(const Error& error);

/// A 400 that names one field.
ApiError bad_field(std::string_view param, std::string message);

/// 400 context_length_exceeded with both numbers.
///   n_completion   tokens asked for, or -1 when the request left that open
ApiError context_overflow(int context_length, int n_prompt, int n_completion, std::string_view param);

}  // namespace commissure
