#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "core/mutex.h"
#include "core/result.h"
#include "wire/endpoint.h"

namespace commissure {

/// Accepts a stage's connections in gRPC's place, whose own listener (1.51) never accepts again after one accept that
/// found no free file descriptor, knows no bound, and lets one peer open and drop calls as fast as it can write.
///
/// A TCP connection without a call makes room for a new one when there are too many or no file descriptor is left, the
/// longest silent first; one that wastes or floods calls is cut. Connections of unix sockets, which only this
/// machine's own users reach, are handed on as they come.
class Listener {
 public:
  struct Limits {
    int max_connections = 0;  ///< over TCP; 0: as the process's limit of open files allows, at most 512
    int max_wasted = 100;     ///< calls a connection may drop, or have refused for want of room, in `window`
    std::chrono::milliseconds window{10'000};
  };
  /// An endpoint's connections are spread over so many doors: a flood is seen by the door it comes through.
  static constexpr std::size_t kDoors = 16;
  /// Takes a connection of door `door % kDoors` of endpoint `door / kDoors`; owns `fd` from then on.
  using Take = std::function<void(std::size_t door, int listener_fd, int fd)>;

  /// Listens; connections wait until begin(). "0.0.0.0" and "[::]" are all interfaces, port 0 takes a free one.
  /// Errors: kUnavailable, naming the endpoint and the cause.
  static Result<std::unique_ptr<Listener>> open(const std::vector<Endpoint>& endpoints, const Limits& limits);
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  ~Listener();

  /// The port of the first TCP endpoint, 0 without one.
  int port() const { return port_; }

  /// Accepts from now on, on a thread of its own, which calls `take`.
  void begin(Take take);
  /// Accepts no more and frees the port; connections live on. Once at most.
  void stop();

  // What becomes of the calls of `peer`, a connection as gRPC names it; from any thread.
  void on_call(const std::string& peer);
  void on_call_over(const std::string& peer);
  void on_call_wasted(const std::string& peer);
  /// More calls come through a door than it takes: its TCP connections are cut. From any thread, at once.
  void on_flood(std::size_t door);

 private:
  using Clock = std::chrono::steady_clock;
  struct Socket {
    std::size_t endpoint;
    int fd;
    std::string path;  // of a unix socket
  };
  struct Connection {
    int fd;  // a duplicate: gRPC closes its own whenever it likes
    std::size_t door;
    Clock::time_point quiet_since;
    int n_calls = 0;
    int n_wasted = 0;
    bool is_cut = false;
    Clock::time_point window_begin = {};
  };

  explicit Listener(const Limits& limits);
  Status listen(std::size_t index, const Endpoint& endpoint);
  Status listen_unix(std::size_t index, const std::string& path);
  Status listen_tcp(std::size_t index, const std::string& target);
  void run();
  /// Waits for connections and takes them; where it `pauses`, for a moment, and only for those that end. False: no file
  /// descriptor or no memory is left.
  bool accept_waiting(bool pauses);
  /// False: no file descriptor or no memory is left.
  bool accept_from(const Socket& socket);
  std::optional<std::size_t> enter(const std::string& peer, int copy, std::size_t endpoint);
  void reap(const std::vector<int>& gone);
  bool drop_idle() REQUIRES(mutex_);
  /// The one with the fewest connections.
  std::size_t choose_door(std::size_t endpoint) const REQUIRES(mutex_);
  void cut(const std::string& peer, Connection& connection) REQUIRES(mutex_);
  void warn(Clock::time_point& last, const char* what, const std::string& peer) REQUIRES(mutex_);

  const Limits limits_;
  std::vector<Socket> sockets_;
  int port_ = 0;
  int wake_ = -1;  // an eventfd
  Take take_;
  std::atomic<bool> stopping_ = false;
  Mutex mutex_;
  std::unordered_map<std::string, Connection> connections_ GUARDED_BY(mutex_);    // by peer
  Clock::time_point last_full_ GUARDED_BY(mutex_), last_cut_ GUARDED_BY(mutex_);  // when the log said so
  std::jthread thread_;
};

}  // namespace commissure
