#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "http/http.h"

namespace commissure {

/// Reads one HTTP/1 request from bytes as they arrive; the only file that sees Beast stands behind it.
/// Threading: one thread at a time.
class HttpParser {
 public:
  HttpParser(std::size_t max_header_bytes, std::size_t max_body_bytes);
  ~HttpParser();

  struct Step {
    std::size_t used = 0;  ///< bytes to drop from the front; feed the rest again together with what follows
    int status = 0;        ///< not 0: refuse with this status; the connection cannot go on
    std::string problem;   ///< why
  };
  Step feed(std::string_view bytes);

  bool done() const;
  /// Of the body, so far.
  std::size_t body_bytes() const;
  /// True once: the head is in and the client waits for "100 Continue" before it sends the body.
  bool take_expectation();
  bool keep_alive() const;
  /// HTTP/1.0 clients know no chunks.
  bool knows_chunks() const;

  /// The request, once done. False: the target is not a valid path.
  bool take(HttpRequest& request);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace commissure
