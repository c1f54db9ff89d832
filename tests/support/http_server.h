#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace commissure::testing {

/// A request as it came.
struct ServedRequest {
  std::string method;
  std::string target;                          ///< with the query
  std::map<std::string, std::string> headers;  ///< names in lower case
};

/// What to answer, and how to misbehave.
struct ServedReply {
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers = {};
  std::string body = {};
  std::optional<std::size_t> cut_after = {};  ///< closes the connection after so many bytes of the body
  std::chrono::milliseconds pause{0};         ///< before the first byte
};

/// A small HTTP/1.1 server on a loopback port for tests: keep-alive, GET and HEAD, any fault a test scripts.
/// Threading: the handler runs on one thread per connection, one call at a time.
class HttpServer {
 public:
  using Handler = std::function<ServedReply(const ServedRequest&)>;

  explicit HttpServer(Handler handler);
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;
  /// Cuts all connections and waits for their threads.
  ~HttpServer();

  /// "http://127.0.0.1:PORT" and `target`.
  std::string url(std::string_view target) const;
  /// All requests so far.
  std::vector<ServedRequest> requests() const;
  int n_connections() const;

 private:
  void accept_all(std::stop_token stop);
  void serve_connection(int connection, std::stop_token stop);
  ServedReply answer(const ServedRequest& request);

  const Handler handler_;
  int listener_ = -1;
  int port_ = 0;
  mutable std::mutex mutex_;  // guards requests_, and the handler's calls
  std::vector<ServedRequest> requests_;
  int n_connections_ = 0;
  std::vector<std::jthread> connections_;  // touched by the accepting thread only
  std::jthread acceptor_;
};

/// The answer to a GET or HEAD of `bytes`, whole (200) or the Range asked for (206 or 416), with an ETag.
ServedReply serve_bytes(const ServedRequest& request, std::string_view bytes);

}  // namespace commissure::testing
