#pragma once

#include <chrono>
#include <string>
#include <string_view>

namespace commissure::testing {

/// A blocking client on a bare socket, so that tests decide about every byte.
class RawClient {
 public:
  /// `receive_buffer`: bytes the kernel may hold for us, 0 for its choice.
  explicit RawClient(int port, int receive_buffer = 0);
  ~RawClient();
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  bool connected() const { return socket_ >= 0; }
  void send(std::string_view bytes) const;
  /// Says that no more will be sent; the answer may still come.
  void finish_sending() const;

  /// What arrives until `mark` was seen `count` times, the server closes, or `timeout` is over.
  std::string read_until(std::string_view mark, int count = 1,
                         std::chrono::milliseconds timeout = std::chrono::seconds(30));
  /// Whether the server closes (or resets) within `timeout`; what arrives before is dropped.
  bool closed_within(std::chrono::milliseconds timeout);
  /// One response with a content-length, head and body; what follows stays for the next call.
  std::string read_response();
  void close();
  /// Closes with a reset instead of a goodbye.
  void reset();

 private:
  bool fill(std::chrono::milliseconds timeout);

  int socket_ = -1;
  bool ended_ = false;
  std::string received_;
};

/// A request with the headers every test needs.
std::string http_request(std::string_view method, std::string_view path, std::string_view body = "",
                         std::string_view headers = "");

/// What follows the empty line.
std::string body_of(const std::string& response);

}  // namespace commissure::testing
