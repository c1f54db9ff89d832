#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace commissure {

/// Header fields in order; names in lower case.
using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

/// One request, whole: the routes see these values and nothing of the HTTP library.
struct HttpRequest {
  std::string method;  ///< "GET"
  std::string path;    ///< percent-decoded, without the query
  std::string query;
  HttpHeaders headers = {};
  std::string body = {};

  /// The first field of that name (lower case), or nullptr.
  const std::string* header(std::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  std::string body = {};
  std::string content_type = "application/json";
  HttpHeaders headers = {};
};

/// The way back to one client: either `send`, or `begin_stream`, `write`..., `end_stream`. Calls after the end, or
/// after the client went away, are ignored. A responder that is dropped unanswered answers 500 itself. Threading: any
/// thread may call any function; callbacks run one after the other on the connection's strand.
class Responder {
 public:
  virtual ~Responder() = default;

  /// Runs `task` on the strand, after what was posted before.
  virtual void post(std::function<void()> task) = 0;

  virtual void send(HttpResponse response) = 0;

  /// Sends the head; the body follows in pieces (`head.body` is ignored).
  virtual void begin_stream(HttpResponse head) = 0;
  virtual void write(std::string bytes) = 0;
  /// `close`: the connection ends with this response.
  virtual void end_stream(bool close) = 0;

  /// Whether the client is known to have gone away, so that work for it may stop.
  virtual bool is_gone() const { return false; }

  /// Calls back at most once: the client went away, or reads too slowly, before the response was complete.
  virtual void on_gone(std::function<void()> callback) = 0;

  /// Calls back whenever nothing was written for `silence`, until the response is complete.
  virtual void on_silence(std::chrono::milliseconds silence, std::function<void()> callback) = 0;
};

/// Answers requests. Threading: several connections call it at the same time.
using HttpHandler = std::function<void(HttpRequest, std::shared_ptr<Responder>)>;

/// "Not Found" for 404.
std::string_view reason_phrase(int status);

/// Resolves %XX; "+" stays. Empty when an escape is broken or means NUL.
std::optional<std::string> percent_decode(std::string_view text);

}  // namespace commissure
