#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "api/api_error.h"
#include "api/api_service.h"
#include "api/request_log.h"

namespace commissure {

/// One request on its way through the routes. Every route ends in exactly one answer.
struct ApiService::Call {
  HttpRequest request;
  std::shared_ptr<Responder> responder;
  std::string id;  ///< x-request-id, the client's or ours
  TraceContext trace;
  std::string cloud_project;
  std::shared_ptr<LogLimiter> refusals;
  const std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();

  /// The body as an object; answers 400 itself when it is none.
  std::optional<Json> body();

  /// Whether its client has left, for work that takes long.
  std::function<bool()> is_unwanted() const;

  RequestInfo info() const;
  void answer(const Json& value, int status = 200);
  /// An error as the clients of the call's path know it.
  HttpResponse refusal(const ApiError& error) const;
  void fail(const ApiError& error);
};

/// One line of the table of endpoints.
struct ApiService::Route {
  std::string_view method;
  std::string_view path;  ///< ending in '*': any path that begins so
  void (ApiService::*run)(Call&) const;

  bool matches(std::string_view requested) const {
    return path.ends_with('*')
               ? requested.starts_with(path.substr(0, path.size() - 1)) && requested.size() >= path.size()
               : requested == path;
  }
};

}  // namespace commissure
