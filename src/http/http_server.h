#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "core/result.h"
#include "http/http.h"

namespace commissure {

/// Limits that keep one client from hurting the others; the defaults suit a public endpoint.
struct HttpServerOptions {
  std::string address = "127.0.0.1";  ///< a numeric address, IPv6 with or without brackets, or "localhost"
  int port = 8080;                    ///< 0: any free one, see HttpServer::port
  int n_threads = 2;                  ///< connections
  int n_workers = 2;  ///< bodies that are not quick are read here, so that streams and health checks never wait for
                      ///< one; as many again are for long ones, so that those do not hold up the short

  std::size_t max_header_bytes = 16 << 10;  ///< more is 431
  std::size_t max_body_bytes = 8 << 20;     ///< more is 413
  std::size_t max_queued_bytes = 1 << 20;   ///< stream bytes a slow reader may leave unsent before it is cut off
  std::size_t max_total_bytes = 64 << 20;   ///< bodies and unsent answers together; more are 503 (see ByteBudget)
  std::size_t long_body_bytes = 256 << 10;  ///< bodies from this size go to the workers of long ones
  int send_buffer_bytes = 0;                ///< of the socket; 0: the system's choice
  int max_connections = 1024;               ///< more get 503 and are closed; each holds a file

  /// Whether a request of any size may take seconds of a core: it goes to the workers of long ones.
  std::function<bool(const HttpRequest&)> is_long = [](const HttpRequest&) { return false; };
  /// Whether a request with a body is so little work that a hop to a worker would cost more: it is answered on its
  /// connection's thread.
  std::function<bool(const HttpRequest&)> is_quick = [](const HttpRequest&) { return false; };

  std::chrono::milliseconds idle_timeout{620'000};  ///< between requests; above Google load balancers' 600 s
  std::chrono::milliseconds read_timeout{60'000};   ///< from a request's first byte to its last
  std::chrono::milliseconds write_timeout{60'000};  ///< without the client taking a byte
};

/// HTTP/1.1 with keep-alive over plain TCP. Requests of one connection are answered one after the other.
/// Threading: start, stop and the destructor from one thread; `handler` is called from the server's threads.
class HttpServer {
 public:
  /// Binds and serves. Errors: kInvalidArgument, address or port; kAlreadyExists, the port is in use (named);
  /// kUnavailable, the system refuses, a thread for example.
  static Result<std::unique_ptr<HttpServer>> start(HttpServerOptions options, HttpHandler handler);

  /// As stop with no grace.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  /// The port in use.
  int port() const;

  /// Accepts nothing new, closes idle connections, lets running responses finish for `grace`, then cuts the rest.
  /// No handler and no callback runs after it returns. Further calls do nothing.
  void stop(std::chrono::milliseconds grace);

 private:
  class State;
  explicit HttpServer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace commissure
