#include "support/raw_client.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <utility>

namespace commissure::testing {

RawClient::RawClient(int port, int receive_buffer) {
  socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (receive_buffer > 0) ::setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) close();
}

RawClient::~RawClient() { close(); }

void RawClient::close() {
  if (socket_ >= 0) ::close(socket_);
  socket_ = -1;
}

void RawClient::reset() {
  const linger now{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(socket_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  close();
}

void RawClient::send(std::string_view bytes) const {
  while (!bytes.empty()) {
    const ssize_t n = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
}

bool RawClient::fill(std::chrono::milliseconds timeout) {
  pollfd wait{.fd = socket_, .events = POLLIN, .revents = 0};
  if (ended_ || ::poll(&wait, 1, static_cast<int>(timeout.count())) <= 0) return false;
  std::array<char, 65536> chunk;
  const ssize_t n = ::recv(socket_, chunk.data(), chunk.size(), 0);
  if (n <= 0) {
    ended_ = true;
    return false;
  }
  received_.append(chunk.data(), static_cast<std::size_t>(n));
  return true;
}

void RawClient::finish_sending() const { shutdown(socket_, SHUT_WR); }

std::string RawClient::read_until(std::string_view mark, int count, std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  std::size_t from = 0;
  while (true) {
    for (std::size_t at; count > 0 && (at = received_.find(mark, from)) != std::string::npos; --count)
      from = at + mark.size();
    if (count == 0) {
      std::string result = received_.substr(0, from);
      received_.erase(0, from);
      return result;
    }
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0 || !fill(left)) return std::exchange(received_, {});
  }
}

bool RawClient::closed_within(std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (!ended_) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) return false;
    fill(left);
    received_.clear();
  }
  return true;
}

std::string RawClient::read_response() {
  std::string head = read_until("\r\n\r\n");
  const auto field = head.find("content-length: ");
  if (field == std::string::npos) return head;
  const auto length = static_cast<std::size_t>(std::atoll(head.c_str() + field + 16));
  while (received_.size() < length && fill(std::chrono::seconds(30))) {
  }
  head += received_.substr(0, length);
  received_.erase(0, length);
  return head;
}

std::string http_request(std::string_view method, std::string_view path, std::string_view body,
                         std::string_view headers) {
  std::string text = fmt::format("{} {} HTTP/1.1\r\nHost: test\r\n{}", method, path, headers);
  if (!body.empty()) text += fmt::format("Content-Length: {}\r\n", body.size());
  return text + "\r\n" + std::string(body);
}

std::string body_of(const std::string& response) {
  const auto at = response.find("\r\n\r\n");
  return at == std::string::npos ? "" : response.substr(at + 4);
}

}  // namespace commissure::testing
