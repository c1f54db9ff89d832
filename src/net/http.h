#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/result.h"

namespace commissure {

/// One HTTP request.
struct HttpFetch {
  std::string method = "GET";
  std::string url = {};
  std::vector<std::pair<std::string, std::string>> headers = {};
  std::string body = {};
  std::chrono::milliseconds connect_timeout{10'000};
  std::chrono::milliseconds timeout{0};             ///< for the whole exchange; 0: none
  std::chrono::milliseconds stall_timeout{60'000};  ///< without a single byte
  bool use_proxy = true;                            ///< false: straight to the host, whatever the environment says
  bool follow_redirects = true;              ///< credentials stay with the first host; https never falls back to http
  std::uint64_t max_body_bytes = 64u << 20;  ///< of a body without a receiver
  /// true ends the exchange (kCancelled) and closes the connection. Asked whenever something comes, when a signal
  /// interrupts the wait, and at least once a second. May be empty.
  std::function<bool()> is_cancelled = {};
};

struct HttpReply {
  int status = 0;
  std::map<std::string, std::string> headers;  ///< names in lower case; the last response's after redirects
  std::string body;                            ///< empty when a receiver took it
};

/// Gets the body piece by piece; false ends the transfer (the result is then kCancelled).
using HttpReceiver = std::function<bool(const HttpReply& head, std::string_view piece)>;

/// One blocking exchange. Any HTTP status is a success of the exchange. Proxies and certificate stores come from the
/// usual variables (https_proxy, no_proxy, SSL_CERT_FILE, CURL_CA_BUNDLE). Errors: kUnavailable (name, connection,
/// TLS), kDeadlineExceeded, kDataLoss (cut short), kCancelled, kInvalidArgument (no such URL), kResourceExhausted (too
/// long, or no memory). Messages show the URL without user, password and query. Threading: any thread.
Result<HttpReply> http_fetch(const HttpFetch& request, const HttpReceiver& receiver = {});

/// Makes exchanges one after the other over kept connections: for many requests to one host.
/// Threading: any thread, several at once (each then has a connection of its own).
class HttpClient {
 public:
  HttpClient();
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  /// As http_fetch.
  Result<HttpReply> fetch(const HttpFetch& request, const HttpReceiver& receiver = {});

 private:
  struct Connections;
  std::unique_ptr<Connections> connections_;
};

/// The file of certificates that CURL_CA_BUNDLE or SSL_CERT_FILE names; null: the system's.
const char* trust_file();

/// The error for an HTTP status of 400 and above: 401, 403, 404, 416, 429 and 5xx have codes of their own, any other
/// status is kInvalidArgument. The message names the URL (without secrets) and the status.
Error http_status_error(std::string_view url, int status);

/// The URL fit for messages: no user, password, query or fragment.
std::string public_url(std::string_view url);

/// `text` as one segment or value of a URL: everything but letters, digits and -_.~ becomes %XX.
std::string percent_encoded(std::string_view text);

}  // namespace commissure
