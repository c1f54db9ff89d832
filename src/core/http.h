#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/result.h"

namespace commissure {

struct HttpFetch {
  std::string method = "GET";
  std::string url;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  std::chrono::milliseconds connect_timeout{10'000};
  std::chrono::milliseconds timeout{0};             ///< for the whole exchange; 0: none
  std::chrono::milliseconds stall_timeout{60'000};  ///< without a single byte
  bool follow_redirects = true;                     ///< credentials stay with the first host
};

struct HttpReply {
  int status = 0;
  std::map<std::string, std::string> headers;  ///< names in lower case; the last response's after redirects
  std::string body;                            ///< empty when a receiver took it
};

/// Gets the body piece by piece; false ends the transfer (the result is then kCancelled).
using HttpReceiver = std::function<bool(const HttpReply& head, std::string_view piece)>;

/// One blocking exchange. Any HTTP status is a success of the exchange. Proxies and certificate stores come from the
/// usual variables (https_proxy, no_proxy, SSL_CERT_FILE, CURL_CA_BUNDLE). Errors: kUnavailable (name, connection or
/// TLS, in words), kDeadlineExceeded, kDataLoss (cut short), kCancelled, kInvalidArgument (no such URL). Messages show
/// the URL without user, password and query. Threading: any thread.
Result<HttpReply> http_fetch(const HttpFetch& request, const HttpReceiver& receiver = {});

/// The URL fit for messages: no user, password, query or fragment.
std::string public_url(std::string_view url);

}  // namespace commissure
