#include "support/http_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <functional>

#include <fmt/format.h>

#include "core/check.h"

namespace commissure::testing {

namespace {

constexpr int kPollMs = 20;  // how soon a thread notices the stop

/// Waits until the socket can be read; false when stopped.
bool wait_readable(int socket, const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    pollfd entry{socket, POLLIN, 0};
    if (::poll(&entry, 1, kPollMs) > 0) return true;
  }
  return false;
}

/// A request's head, up to the empty line; nothing when the client has gone.
std::optional<std::string> read_head(int connection, const std::stop_token& stop) {
  std::string head;
  while (head.find("\r\n\r\n") == std::string::npos) {
    char buffer[2048];
    if (!wait_readable(connection, stop)) return std::nullopt;
    const ssize_t got = ::recv(connection, buffer, sizeof buffer, 0);
    if (got <= 0) return std::nullopt;
    head.append(buffer, static_cast<std::size_t>(got));
  }
  return head;
}

ServedRequest parse_head(const std::string& head) {
  ServedRequest request;
  const auto method_end = head.find(' ');
  const auto target_end = head.find(' ', method_end + 1);
  request.method = head.substr(0, method_end);
  request.target = head.substr(method_end + 1, target_end - method_end - 1);
  for (std::size_t at = head.find("\r\n") + 2; at < head.size();) {
    const auto end = head.find("\r\n", at);
    const auto colon = head.find(": ", at);
    if (end == at || end == std::string::npos || colon > end) break;
    std::string name = head.substr(at, colon - at);
    std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    request.headers[name] = head.substr(colon + 2, end - colon - 2);
    at = end + 2;
  }
  return request;
}

bool send_all(int connection, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(connection, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

std::string head_of(const ServedReply& reply) {
  std::string head = fmt::format("HTTP/1.1 {} x\r\nContent-Length: {}\r\n", reply.status, reply.body.size());
  for (const auto& [name, value] : reply.headers) head += fmt::format("{}: {}\r\n", name, value);
  return head + "\r\n";
}

}  // namespace

HttpServer::HttpServer(Handler handler) : handler_(std::move(handler)) {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  CHECK(::bind(listener_, reinterpret_cast<sockaddr*>(&address), length) == 0 && ::listen(listener_, 16) == 0);
  CHECK(::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length) == 0);
  port_ = ntohs(address.sin_port);
  acceptor_ = std::jthread([this](std::stop_token stop) { accept_all(stop); });
}

HttpServer::~HttpServer() {
  acceptor_.request_stop();
  acceptor_.join();
  connections_.clear();  // jthreads: stop and join
  ::close(listener_);
}

std::string HttpServer::url(std::string_view target) const {
  return fmt::format("http://127.0.0.1:{}{}", port_, target);
}

std::vector<ServedRequest> HttpServer::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

int HttpServer::n_connections() const {
  const std::lock_guard lock(mutex_);
  return n_connections_;
}

void HttpServer::accept_all(std::stop_token stop) {
  while (wait_readable(listener_, stop)) {
    const int connection = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection < 0) continue;
    {
      const std::lock_guard lock(mutex_);
      ++n_connections_;
    }
    connections_.emplace_back([this, connection](std::stop_token own) { serve_connection(connection, own); });
  }
}

ServedReply HttpServer::answer(const ServedRequest& request) {
  const std::lock_guard lock(mutex_);
  requests_.push_back(request);
  return handler_(request);
}

void HttpServer::serve_connection(int connection, std::stop_token stop) {
  while (const auto head = read_head(connection, stop)) {
    const ServedRequest request = parse_head(*head);
    const ServedReply reply = answer(request);
    // Paused outside the lock: other connections go on.
    for (auto left = reply.pause; left.count() > 0 && !stop.stop_requested();
         left -= std::chrono::milliseconds(kPollMs)) {
      std::this_thread::sleep_for(std::chrono::milliseconds(kPollMs));
    }
    // In one piece: a head and a body sent apart wait for the client's delayed acknowledgement.
    std::string message = head_of(reply);
    if (request.method != "HEAD") message += reply.body.substr(0, reply.cut_after.value_or(reply.body.size()));
    if (!send_all(connection, message)) break;
    if (reply.cut_after) break;
  }
  ::close(connection);
}

ServedReply serve_bytes(const ServedRequest& request, std::string_view bytes) {
  ServedReply reply;
  reply.headers = {{"ETag", fmt::format("\"{:x}\"", std::hash<std::string_view>()(bytes))}, {"Accept-Ranges", "bytes"}};
  const auto range = request.headers.find("range");
  unsigned long long first = 0, last = 0;
  if (range == request.headers.end()) {
    reply.body = bytes;
    return reply;
  }
  const int n_fields = std::sscanf(range->second.c_str(), "bytes=%llu-%llu", &first, &last);
  if (n_fields < 1 || first >= bytes.size()) {
    reply.status = 416;
    reply.headers.emplace_back("Content-Range", fmt::format("bytes */{}", bytes.size()));
    return reply;
  }
  if (n_fields < 2 || last >= bytes.size()) last = bytes.size() - 1;
  reply.status = 206;
  reply.headers.emplace_back("Content-Range", fmt::format("bytes {}-{}/{}", first, last, bytes.size()));
  reply.body = bytes.substr(first, last - first + 1);
  return reply;
}

}  // namespace commissure::testing
