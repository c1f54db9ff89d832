#include "wire/listener.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <optional>

#include "support/eventually.h"
#include "support/fake_stage.h"

namespace commissure {
namespace {

using namespace std::chrono_literals;
using testing::eventually;

const Endpoint kAnyPort{"127.0.0.1:0", false, true};

/// A socket on loopback: its descriptor is there before it connects.
class Client {
 public:
  Client() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {}
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client() { close(fd_); }

  bool connect(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    return ::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  std::string name() const {
    sockaddr_in address{};
    socklen_t n_bytes = sizeof address;
    getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &n_bytes);
    return fmt::format("ipv4:127.0.0.1:{}", ntohs(address.sin_port));
  }
  bool is_closed() const {
    char byte = 0;
    const ssize_t n = recv(fd_, &byte, 1, MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno == ECONNRESET);
  }

 private:
  int fd_;
};

/// What gRPC is in the server: it closes a connection that ends.
class Taker {
 public:
  explicit Taker(Listener& listener) {
    listener.begin([this](std::size_t door, int, int fd) {
      const std::lock_guard lock(mutex_);
      doors_.push_back(door);
      fds_.push_back(fd);
    });
  }
  ~Taker() {
    for (const int fd : fds_) close(fd);
  }
  std::size_t n_taken() const {
    const std::lock_guard lock(mutex_);
    return doors_.size();
  }
  std::vector<std::size_t> doors() const {
    const std::lock_guard lock(mutex_);
    return doors_;
  }
  void close_ended() {
    const std::lock_guard lock(mutex_);
    std::erase_if(fds_, [](int fd) {
      pollfd ended{fd, 0, 0};
      return poll(&ended, 1, 0) == 1 && close(fd) == 0;
    });
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::size_t> doors_;
  std::vector<int> fds_;
};

TEST(Listener, HandsOnWhatComesAtEveryEndpoint) {
  const SocketDir dir;
  const auto listener = Listener::open({dir.endpoint("b"), kAnyPort}, {}).value();
  const Taker taker(*listener);
  ASSERT_GT(listener->port(), 0);
  Client client;
  ASSERT_TRUE(client.connect(listener->port()));
  ASSERT_TRUE(eventually([&] { return taker.n_taken() == 1; }));
  EXPECT_EQ(taker.doors(), std::vector{Listener::kDoors});
  EXPECT_TRUE(std::filesystem::exists(dir.path / "b"));
  listener->stop();
  EXPECT_FALSE(std::filesystem::exists(dir.path / "b"));
  EXPECT_FALSE(client.is_closed());
  EXPECT_FALSE(Client().connect(listener->port()));
}

TEST(Listener, SaysWhyItCannotListen) {
  const auto first = Listener::open({kAnyPort}, {}).value();
  const std::string taken = fmt::format("127.0.0.1:{}", first->port());
  const auto second = Listener::open({{taken, false, true}}, {});
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code(), Code::kUnavailable);
  EXPECT_NE(second.error().message().find(taken), std::string::npos) << second.error().message();
  EXPECT_NE(second.error().message().find("another program has the port"), std::string::npos);
  EXPECT_FALSE(Listener::open({{"unix:/no/such/folder/b", false, true}}, {}).has_value());
}

TEST(Listener, TheLongestSilentConnectionMakesRoomAndOneWithACallStays) {
  const auto listener = Listener::open({kAnyPort}, {.max_connections = 3}).value();
  const Taker taker(*listener);
  std::array<Client, 5> clients;
  for (std::size_t i = 0; i < 3; ++i) {
    ASSERT_TRUE(clients[i].connect(listener->port()));
    ASSERT_TRUE(eventually([&] { return taker.n_taken() == i + 1; }));
  }
  listener->on_call(clients[0].name());
  ASSERT_TRUE(clients[3].connect(listener->port()));
  EXPECT_TRUE(eventually([&] { return clients[1].is_closed(); }));
  EXPECT_FALSE(clients[0].is_closed() || clients[2].is_closed() || clients[3].is_closed());
  for (const std::size_t i : {2, 3}) listener->on_call(clients[i].name());
  ASSERT_TRUE(clients[4].connect(listener->port()));
  EXPECT_TRUE(eventually([&] { return clients[4].is_closed(); })) << "each of the others has a call";
  EXPECT_FALSE(clients[0].is_closed() || clients[2].is_closed() || clients[3].is_closed());
}

TEST(Listener, GoesOnAcceptingAfterTheFilesRanOut) {
  const auto listener = Listener::open({kAnyPort}, {.max_connections = 1000}).value();
  Taker taker(*listener);
  std::array<Client, 12> clients;
  Client late;
  rlimit files{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &files), 0);
  const int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
  close(next);
  const rlimit few{static_cast<rlim_t>(next) + 4, files.rlim_max};  // two connections
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  int n_connected = 0;
  for (Client& client : clients) n_connected += client.connect(listener->port()) ? 1 : 0;
  const bool dropped = eventually([&] {
    taker.close_ended();
    return taker.n_taken() > 2;
  });
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &files), 0);
  EXPECT_EQ(n_connected, 12) << "the kernel lets them wait";
  EXPECT_TRUE(dropped) << "an idle one made room";
  EXPECT_TRUE(eventually([&] { return taker.n_taken() == 12; }));
  ASSERT_TRUE(late.connect(listener->port()));
  EXPECT_TRUE(eventually([&] { return taker.n_taken() == 13; }));
}

TEST(Listener, CutsAConnectionThatWastesItsCalls) {
  const auto listener = Listener::open({kAnyPort}, {.max_wasted = 10, .window = 1h}).value();
  const Taker taker(*listener);
  Client good, bad;
  ASSERT_TRUE(good.connect(listener->port()) && bad.connect(listener->port()));
  ASSERT_TRUE(eventually([&] { return taker.n_taken() == 2; }));
  for (int i = 0; i < 9; ++i) listener->on_call_wasted(bad.name());
  EXPECT_FALSE(bad.is_closed());
  listener->on_call_wasted("ipv4:127.0.0.1:1");  // nobody's
  listener->on_call_wasted(bad.name());
  EXPECT_TRUE(eventually([&] { return bad.is_closed(); }));
  EXPECT_FALSE(good.is_closed());
}

TEST(Listener, CutsTheConnectionsOfAFloodedDoorAndNoOther) {
  const auto listener = Listener::open({kAnyPort}, {}).value();
  const Taker taker(*listener);
  std::array<Client, 3> clients;
  for (std::size_t i = 0; i < clients.size(); ++i) {
    ASSERT_TRUE(clients[i].connect(listener->port()));
    ASSERT_TRUE(eventually([&] { return taker.n_taken() == i + 1; }));
  }
  listener->on_flood(taker.doors()[1]);
  EXPECT_TRUE(eventually([&] { return clients[1].is_closed(); }));
  EXPECT_FALSE(clients[0].is_closed() || clients[2].is_closed());
}

/// A peer that speaks just enough HTTP/2 to open calls and drop them.
class Resetter {
 public:
  explicit Resetter(const sockaddr_storage& server, socklen_t n_bytes)
      : fd_(socket(server.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const timeval patience{20, 0};
    setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    connected_ = connect(fd_, reinterpret_cast<const sockaddr*>(&server), n_bytes) == 0 &&
                 send_all("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, ""));
  }
  ~Resetter() { close(fd_); }
  /// Whether the server cut the connection before `n` calls were opened and dropped.
  bool is_cut_within(int n) {
    for (int i = 0; connected_ && i < n; ++i) {
      const auto stream = static_cast<std::uint32_t>(2 * i + 1);
      if (!send_all(frame(1, 4, stream, headers()) + frame(3, 0, stream, std::string("\0\0\0\x08", 4)))) return true;
    }
    return false;
  }

 private:
  static std::string frame(char type, char flags, std::uint32_t stream, const std::string& payload) {
    const auto byte = [](std::size_t value, int shift) { return static_cast<char>(value >> shift); };
    const std::size_t n = payload.size();
    return std::string{byte(n, 16),      byte(n, 8),       byte(n, 0),      type,           flags,
                       byte(stream, 24), byte(stream, 16), byte(stream, 8), byte(stream, 0)} +
           payload;
  }
  static std::string headers() {
    std::string block;
    for (const auto& [name, value] :
         std::initializer_list<std::pair<std::string, std::string>>{{":method", "POST"},
                                                                    {":scheme", "http"},
                                                                    {":path", "/commissure.v1.Stage/Open"},
                                                                    {":authority", "x"},
                                                                    {"content-type", "application/grpc"},
                                                                    {"te", "trailers"}}) {
      block += '\0';  // a literal, not indexed
      for (const std::string& text : {name, value}) block += static_cast<char>(text.size()) + text;
    }
    return block;
  }
  bool send_all(const std::string& bytes) const {
    return send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
  }
  int fd_;
  bool connected_ = false;
};

TEST(StageServer, CutsAConnectionOfRapidResetsOfEitherFamilyAndServesOthers) {
  for (const bool v6 : {false, true}) {
    const std::string host = v6 ? "[::1]" : "127.0.0.1";
    FakeProcess b(fake_info(1, 2), Endpoint{host + ":0", false, true});
    sockaddr_storage address{};
    const auto port = htons(static_cast<std::uint16_t>(b.server->port()));
    if (v6) {
      reinterpret_cast<sockaddr_in6&>(address) = {AF_INET6, port, 0, in6addr_loopback, 0};
    } else {
      reinterpret_cast<sockaddr_in&>(address) = {AF_INET, port, {htonl(INADDR_LOOPBACK)}, {}};
    }
    StageClient good(parse_endpoint(fmt::format("{}:{}", host, b.server->port())).value());
    ASSERT_TRUE(good.describe(20s).has_value());
    Resetter bad(address, v6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in));
    EXPECT_TRUE(bad.is_cut_within(100'000)) << host;
    EXPECT_TRUE(good.describe(20s).has_value()) << host;
  }
}

}  // namespace
}  // namespace commissure
