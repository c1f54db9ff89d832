#include "http/http_server.h"

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <future>
#include <map>
#include <new>
#include <thread>
#include <vector>

#include "core/log.h"
#include "core/scarce.h"
#include "http/connection.h"

namespace commissure {

namespace net = boost::asio;
using boost::system::error_code;
using net::ip::tcp;

/// The listening socket and the list of connections, both touched only on `strand_`.
class HttpServer::State {
 public:
  State(HttpServerOptions options, HttpHandler handler)
      : context_(std::make_shared<ConnectionContext>(std::move(options), std::move(handler))),
        strand_(net::make_strand(context_->io)),
        work_(net::make_work_guard(context_->io)),
        acceptor_(strand_),
        retry_(strand_) {
    context_->closed = [this](std::uint64_t number) { net::post(strand_, [this, number] { forget(number); }); };
  }

  /// Where not all of its threads were granted, the others end.
  ~State() { context_->io.stop(); }

  Status listen();
  void run();
  void stop(std::chrono::milliseconds grace);
  int port() const { return port_; }

 private:
  void accept();
  void accepted(error_code error, tcp::socket socket);
  void begin(std::uint64_t number, tcp::socket socket);
  void forget(std::uint64_t number);

  std::shared_ptr<ConnectionContext> context_;  // shared: a responder kept by the engine may outlive the server
  net::strand<net::io_context::executor_type> strand_;
  net::executor_work_guard<net::io_context::executor_type> work_;
  tcp::acceptor acceptor_;
  net::steady_timer retry_;
  int port_ = 0;
  std::map<std::uint64_t, std::shared_ptr<Connection>> connections_;
  std::uint64_t next_number_ = 0;
  bool stopping_ = false;
  std::promise<void> all_closed_;
  std::vector<std::jthread> threads_;
  bool stopped_ = false;
};

Status HttpServer::State::listen() {
  const HttpServerOptions& options = context_->options;
  if (options.port < 0 || options.port > 65535) {
    return Error(Code::kInvalidArgument, "port ", options.port, " is not between 0 and 65535");
  }
  error_code error;
  std::string text = options.address == "localhost" ? "127.0.0.1" : options.address;
  if (text.size() > 2 && text.front() == '[' && text.back() == ']') text = text.substr(1, text.size() - 2);
  const auto address = net::ip::make_address(text, error);
  if (error) {
    return Error(Code::kInvalidArgument, "\"", options.address,
                 "\" is no numeric address to listen on, like 127.0.0.1, 0.0.0.0 or ::1");
  }
  const tcp::endpoint endpoint(address, static_cast<unsigned short>(options.port));
  acceptor_.open(endpoint.protocol(), error);
  if (!error && address.is_v6() && address.is_unspecified()) acceptor_.set_option(net::ip::v6_only(false), error);
  if (!error) acceptor_.set_option(net::socket_base::reuse_address(true), error);
  if (!error) acceptor_.bind(endpoint, error);
  if (!error) acceptor_.listen(net::socket_base::max_listen_connections, error);
  if (error == net::error::address_in_use) {
    return Error(Code::kAlreadyExists, "port ", options.port, " on ", options.address,
                 " is already in use: stop the program that holds it or choose another port");
  }
  if (error) {
    return Error(Code::kUnavailable, "cannot listen on port ", options.port, " of ", options.address, ": ",
                 error.message());
  }
  port_ = acceptor_.local_endpoint(error).port();
  return {};
}

void HttpServer::State::run() {
  net::post(strand_, [this] { accept(); });
  for (int i = 0; i < std::max(1, context_->options.n_threads); ++i) {
    threads_.emplace_back([context = context_] {
      while (!context->io.stopped()) {
        try {
          context->io.run();
        } catch (const std::bad_alloc&) {  // what was under way is dropped; its timer ends it
          done_unless_scarce([] { log_warning("out of memory", {{"for", "a connection"}}); });
        }
      }
    });
  }
}

void HttpServer::State::accept() {
  acceptor_.async_accept(net::make_strand(context_->io),
                         net::bind_executor(strand_, [this](error_code error, tcp::socket socket) {
                           accepted(error, std::move(socket));
                         }));
}

void HttpServer::State::accepted(error_code error, tcp::socket socket) {
  if (stopping_) return;
  if (error) {  // out of file descriptors, most likely: wait for some to be closed rather than spin
    log_warning("cannot accept a connection", {{"reason", error.message()}});
    retry_.expires_after(std::chrono::milliseconds(100));
    retry_.async_wait([this](error_code cancelled) {
      if (!cancelled && !stopping_) accept();
    });
    return;
  }
  const std::uint64_t number = next_number_++;
  if (!done_unless_scarce([&] { begin(number, std::move(socket)); })) connections_.erase(number);
  accept();
}

void HttpServer::State::begin(std::uint64_t number, tcp::socket socket) {
  const auto connection = std::make_shared<Connection>(context_, std::move(socket), number);
  const bool full = static_cast<int>(connections_.size()) >= context_->options.max_connections;
  connections_.emplace(number, connection);
  full ? connection->refuse() : connection->start();
}

void HttpServer::State::forget(std::uint64_t number) {
  connections_.erase(number);
  if (stopping_ && connections_.empty()) all_closed_.set_value();
}

void HttpServer::State::stop(std::chrono::milliseconds grace) {
  if (stopped_) return;
  stopped_ = true;
  auto all_closed = all_closed_.get_future();
  net::post(strand_, [this] {
    stopping_ = true;
    error_code ignored;
    acceptor_.close(ignored);
    retry_.cancel(ignored);
    for (const auto& [number, connection] : connections_) connection->drain();
    if (connections_.empty()) all_closed_.set_value();
  });
  if (all_closed.wait_for(grace) == std::future_status::timeout) {
    net::post(strand_, [this] {
      for (const auto& [number, connection] : connections_) connection->cut();
    });
    all_closed.wait();  // each cut connection reports itself; nothing in that path waits for a client
  }
  context_->workers.join();
  context_->long_workers.join();
  work_.reset();
  context_->io.stop();
  threads_.clear();
  // What was posted last still holds connections, and they hold the context: run it, so that all can go.
  context_->io.restart();
  context_->io.poll();
}

Result<std::unique_ptr<HttpServer>> HttpServer::start(HttpServerOptions options, HttpHandler handler) {
  // Where the system grants a pool of Asio's only some threads, that one waits for these without end.
  TRY(try_threads(std::max(1, options.n_threads) + 2 * options.n_workers));
  auto state = std::make_unique<State>(std::move(options), std::move(handler));
  TRY(state->listen());
  state->run();
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(state)));
}

HttpServer::HttpServer(std::unique_ptr<State> state) : state_(std::move(state)) {}

HttpServer::~HttpServer() { state_->stop(std::chrono::milliseconds(0)); }

int HttpServer::port() const { return state_->port(); }

void HttpServer::stop(std::chrono::milliseconds grace) { state_->stop(grace); }

}  // namespace commissure
