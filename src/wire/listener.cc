#include "wire/listener.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include "core/log.h"
#include "core/scarce.h"

namespace commissure {
namespace {

constexpr int kMostConnections = 512;
constexpr int kFewestConnections = 8;
constexpr int kOwnFiles = 32;           // weights, logs, links, the library's own
constexpr int kAcceptedAtOnce = 64;     // between two looks at connections that ended
constexpr int kOutOfFilesPauseMs = 50;  // gRPC needs a moment to close what was dropped
constexpr int kUserTimeoutMs = 10'000;  // as gRPC sets it where keep-alive is on
constexpr std::chrono::seconds kLogPause(10);

int connections_allowed(int asked) {
  if (asked > 0) return asked;
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return kFewestConnections;
  const auto n_files = static_cast<int>(std::min<rlim_t>(files.rlim_cur, 1 << 20));
  return std::clamp((n_files - kOwnFiles) / 2, kFewestConnections, kMostConnections);  // each takes two
}

Error cannot_listen(const std::string& target, int cause) {
  return Error(Code::kUnavailable, "cannot listen on ", target, ": ", std::generic_category().message(cause),
               cause == EADDRINUSE ? ": another program has the port" : "");
}

/// As gRPC spells a peer: "ipv4:1.2.3.4:5" or "ipv6:%5B::1%5D:5"; IPv4 also where it comes through an IPv6 socket.
std::string peer_name(const sockaddr_storage& address) {
  char text[INET6_ADDRSTRLEN] = {};
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
    return fmt::format("ipv4:{}:{}", text, ntohs(v4.sin_port));
  }
  if (address.ss_family != AF_INET6) return {};
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
  if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
    inet_ntop(AF_INET, &v6.sin6_addr.s6_addr[12], text, sizeof text);
    return fmt::format("ipv4:{}:{}", text, ntohs(v6.sin6_port));
  }
  inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
  const std::string scope = v6.sin6_scope_id != 0 ? fmt::format("%25{}", v6.sin6_scope_id) : "";
  return fmt::format("ipv6:%5B{}{}%5D:{}", text, scope, ntohs(v6.sin6_port));
}

void set_option(int fd, int level, int name, int value) { setsockopt(fd, level, name, &value, sizeof value); }

/// A socket that listens at `address`, or -1 with the cause in errno.
int listening_socket(const sockaddr* address, socklen_t n_bytes, bool both_families) {
  const int fd = ::socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  if (address->sa_family != AF_UNIX) set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);  // over what still waits to close
  if (address->sa_family == AF_INET6) set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, both_families ? 0 : 1);
  if (::bind(fd, address, n_bytes) == 0 && ::listen(fd, SOMAXCONN) == 0) return fd;
  const int cause = errno;
  ::close(fd);
  errno = cause;
  return -1;
}

/// Ends a TCP connection at once, with all that was received and not read yet; gRPC sees that and closes its own
/// descriptor. shutdown() would leave the peer's bytes to be read, and a peer that fills the window undisturbed.
void reset(int fd) {
  const sockaddr nobody{.sa_family = AF_UNSPEC, .sa_data = {}};
  ::connect(fd, &nobody, sizeof nobody);
}

int port_of(int fd) {
  sockaddr_storage address{};
  socklen_t n_bytes = sizeof address;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &n_bytes) != 0) return 0;
  const bool v4 = address.ss_family == AF_INET;
  return ntohs(v4 ? reinterpret_cast<const sockaddr_in&>(address).sin_port
                  : reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
}

}  // namespace

Listener::Listener(const Limits& limits)
    : limits_{connections_allowed(limits.max_connections), limits.max_wasted, limits.window},
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

Result<std::unique_ptr<Listener>> Listener::open(const std::vector<Endpoint>& endpoints, const Limits& limits) {
  std::unique_ptr<Listener> listener(new Listener(limits));
  for (std::size_t i = 0; i < endpoints.size(); ++i) TRY(listener->listen(i, endpoints[i]));
  return listener;
}

Status Listener::listen(std::size_t index, const Endpoint& endpoint) {
  if (endpoint.target.starts_with("unix:")) return listen_unix(index, endpoint.target.substr(5));
  return listen_tcp(index, endpoint.target);
}

Status Listener::listen_unix(std::size_t index, const std::string& path) {
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  if (path.size() >= sizeof address.sun_path) return cannot_listen("unix:" + path, ENAMETOOLONG);
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  struct stat info{};
  if (::lstat(path.c_str(), &info) == 0 && S_ISSOCK(info.st_mode)) ::unlink(path.c_str());  // of one that was killed
  const int fd = listening_socket(reinterpret_cast<const sockaddr*>(&address), sizeof address, false);
  if (fd < 0) return cannot_listen("unix:" + path, errno);
  sockets_.push_back({index, fd, path});
  return {};
}

Status Listener::listen_tcp(std::size_t index, const std::string& target) {
  const std::size_t colon = target.rfind(':');
  std::string host = target.substr(0, colon), port = target.substr(colon + 1);
  if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
  const bool everywhere = host == "0.0.0.0" || host == "::";
  int cause = EADDRNOTAVAIL, own_port = 0;
  const std::vector<std::string> hosts = everywhere ? std::vector<std::string>{"::", "0.0.0.0"} : std::vector{host};
  for (const std::string& name : hosts) {
    addrinfo hints{}, *found = nullptr;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
    const int problem = ::getaddrinfo(name.c_str(), port.c_str(), &hints, &found);
    if (problem != 0) return Error(Code::kUnavailable, "cannot listen on ", target, ": ", ::gai_strerror(problem));
    for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
      const int fd = listening_socket(at->ai_addr, at->ai_addrlen, everywhere);
      if (fd < 0) {
        cause = errno;
        continue;
      }
      sockets_.push_back({index, fd, {}});
      if (own_port == 0) own_port = port_of(fd);
      port = std::to_string(own_port);  // the name's other addresses get the same one
    }
    ::freeaddrinfo(found);
    if (own_port != 0 || cause == EADDRINUSE) break;
  }
  if (own_port == 0) return cannot_listen(target, cause);
  if (port_ == 0) port_ = own_port;
  return {};
}

Listener::~Listener() {
  stop();
  const MutexLock lock(mutex_);
  for (const auto& [peer, connection] : connections_) ::close(connection.fd);
  ::close(wake_);
}

void Listener::begin(Take take) {
  take_ = std::move(take);
  thread_ = std::jthread([this] { run(); });
}

void Listener::stop() {
  stopping_ = true;
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_, &one, sizeof one);
  if (thread_.joinable()) thread_.join();
  for (const Socket& socket : std::exchange(sockets_, {})) {
    ::close(socket.fd);
    if (!socket.path.empty()) ::unlink(socket.path.c_str());
  }
}

void Listener::run() {
  bool is_short = false;  // of file descriptors or memory
  while (!stopping_) {
    const bool pauses = std::exchange(is_short, false);
    if (!done_unless_scarce([&] { is_short = !accept_waiting(pauses); })) {
      is_short = true;
      std::this_thread::sleep_for(std::chrono::milliseconds(kOutOfFilesPauseMs));
    }
  }
}

bool Listener::accept_waiting(bool pauses) {
  std::vector<pollfd> polled = {{wake_, POLLIN, 0}};
  for (const Socket& socket : sockets_) polled.push_back({pauses ? -1 : socket.fd, POLLIN, 0});
  {
    const MutexLock lock(mutex_);
    for (const auto& [peer, connection] : connections_) polled.push_back({connection.fd, 0, 0});
  }
  ::poll(polled.data(), polled.size(), pauses ? kOutOfFilesPauseMs : -1);
  std::vector<int> gone;
  for (std::size_t i = 1 + sockets_.size(); i < polled.size(); ++i) {
    if (polled[i].revents != 0) gone.push_back(polled[i].fd);
  }
  reap(gone);
  bool is_short = false;
  for (std::size_t i = 0; i < sockets_.size(); ++i) {
    if (polled[i + 1].revents != 0 && !accept_from(sockets_[i])) is_short = true;
  }
  return !is_short;
}

void Listener::reap(const std::vector<int>& gone) {
  const MutexLock lock(mutex_);
  std::erase_if(connections_, [&](const auto& entry) {
    if (std::ranges::find(gone, entry.second.fd) == gone.end()) return false;
    ::close(entry.second.fd);
    return true;
  });
}

bool Listener::accept_from(const Socket& socket) {
  for (int i = 0; i < kAcceptedAtOnce && !stopping_; ++i) {
    sockaddr_storage address{};
    socklen_t n_bytes = sizeof address;
    const int fd = ::accept4(socket.fd, reinterpret_cast<sockaddr*>(&address), &n_bytes, SOCK_NONBLOCK | SOCK_CLOEXEC);
    const bool is_tcp = socket.path.empty();
    const int copy = fd >= 0 && is_tcp ? ::fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
    const bool exhausted =
        (fd < 0 || (is_tcp && copy < 0)) && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM);
    if (fd < 0 && !exhausted) return true;  // nobody waits, or who waited has left
    if (exhausted) {
      if (fd >= 0) ::close(fd);
      const MutexLock lock(mutex_);
      drop_idle();
      warn(last_full_, "no file descriptor is left for a connection", "");
      return false;
    }
    if (is_tcp) {
      set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
      set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, kUserTimeoutMs);
    }
    std::optional<std::size_t> door = socket.endpoint * kDoors;
    const auto enter_peer = [&] { door = enter(peer_name(address), copy, socket.endpoint); };
    const bool had_memory = !is_tcp || done_unless_scarce(enter_peer);
    if (had_memory && door) {
      take_(*door, socket.fd, fd);
      continue;
    }
    ::close(fd);
    ::close(copy);
    if (!had_memory) return false;
  }
  return true;
}

/// The door for a new connection; none: there are too many.
std::optional<std::size_t> Listener::enter(const std::string& peer, int copy, std::size_t endpoint) {
  const MutexLock lock(mutex_);
  if (std::ssize(connections_) >= limits_.max_connections && !drop_idle()) {
    warn(last_full_, "too many connections, each with a call", peer);
    return std::nullopt;
  }
  const std::size_t door = choose_door(endpoint);
  const auto [at, is_new] = connections_.try_emplace(peer);
  if (!is_new) ::close(at->second.fd);
  at->second = {copy, door, Clock::now()};
  return door;
}

bool Listener::drop_idle() {
  const auto oldest = std::ranges::min_element(connections_, {}, [](const auto& entry) {
    return entry.second.n_calls > 0 ? Clock::time_point::max() : entry.second.quiet_since;
  });
  if (oldest == connections_.end() || oldest->second.n_calls > 0) return false;
  reset(oldest->second.fd);
  ::close(oldest->second.fd);
  connections_.erase(oldest);
  return true;
}

void Listener::warn(Clock::time_point& last, const char* what, const std::string& peer) {
  if (Clock::now() - last < kLogPause && last != Clock::time_point()) return;
  last = Clock::now();
  done_unless_scarce(
      [&]() REQUIRES(mutex_) { log_warning(what, {{"peer", peer}, {"connections", connections_.size()}}); });
}

void Listener::on_call(const std::string& peer) {
  const MutexLock lock(mutex_);
  if (const auto found = connections_.find(peer); found != connections_.end()) ++found->second.n_calls;
}

void Listener::on_call_over(const std::string& peer) {
  const MutexLock lock(mutex_);
  const auto found = connections_.find(peer);
  if (found == connections_.end() || found->second.n_calls == 0) return;
  if (--found->second.n_calls == 0) found->second.quiet_since = Clock::now();
}

void Listener::on_call_wasted(const std::string& peer) {
  const MutexLock lock(mutex_);
  const auto found = connections_.find(peer);
  if (found == connections_.end()) return;
  Connection& connection = found->second;
  if (Clock::now() - connection.window_begin > limits_.window) {
    connection.window_begin = Clock::now();
    connection.n_wasted = 0;
  }
  if (++connection.n_wasted == limits_.max_wasted) cut(peer, connection);
}

void Listener::on_flood(std::size_t door) {
  const MutexLock lock(mutex_);
  for (auto& [peer, connection] : connections_) {
    if (connection.door == door) cut(peer, connection);
  }
}

void Listener::cut(const std::string& peer, Connection& connection) {
  if (std::exchange(connection.is_cut, true)) return;
  warn(last_cut_, "a connection that floods or drops its calls was cut", peer);
  reset(connection.fd);
}

std::size_t Listener::choose_door(std::size_t endpoint) const {
  std::array<int, kDoors> n_behind{};
  for (const auto& [peer, connection] : connections_) {
    if (connection.door / kDoors == endpoint) ++n_behind[connection.door % kDoors];
  }
  const auto emptiest = std::ranges::min_element(n_behind);
  return endpoint * kDoors + static_cast<std::size_t>(emptiest - n_behind.begin());
}

}  // namespace commissure
