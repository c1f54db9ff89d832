#pragma once

#include <array>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>

#include "http/byte_budget.h"
#include "http/http.h"
#include "http/http_parser.h"
#include "http/http_server.h"

namespace commissure {

/// What all connections of a server share; lives until the last of them is gone.
struct ConnectionContext {
  HttpServerOptions options;
  HttpHandler handler;
  boost::asio::io_context io;
  boost::asio::thread_pool workers;
  boost::asio::thread_pool long_workers;
  ByteBudget budget;
  std::atomic<bool> trim_is_due{false};
  std::function<void(std::uint64_t)> closed;  ///< by connection number, on the connection's strand

  ConnectionContext(HttpServerOptions o, HttpHandler h)
      : options(std::move(o)),
        handler(std::move(h)),
        workers(static_cast<std::size_t>(options.n_workers)),
        long_workers(static_cast<std::size_t>(options.n_workers)),
        budget(options.max_total_bytes) {}

  /// Called when large bytes may have gone: once none are left, what the allocator kept of them goes back to the system
  /// soon. Threading: any thread.
  void trim_later();
};

/// One client: reads requests, answers them in turn, watches for the client's going away while it answers.
/// Threading: everything runs on the socket's strand; the public functions may be called from any thread.
class Connection final : public std::enable_shared_from_this<Connection> {
 public:
  Connection(std::shared_ptr<ConnectionContext> context, boost::asio::ip::tcp::socket socket, std::uint64_t number);

  void start();
  /// Answers 503 without reading anything, and closes.
  void refuse();
  /// Closes when idle, else after the running response.
  void drain();
  /// Closes now.
  void cut();

 private:
  class Exchange;
  using Clock = std::chrono::steady_clock;

  static constexpr std::size_t kTrimBytes = 256 << 10;  // what is worth giving back to the system
  static constexpr std::string_view kOutOfMemory =
      "the server has no memory left for this request; try again later or ask for less";
  static constexpr std::string_view kFault = "the server failed on this request";
  static constexpr std::string_view kTooMuchAtOnce =
      "the server holds as many bytes of large requests and answers as it may; try again later";

  /// kLingering: all is said; bytes still arriving are dropped so that the client can read the answer before the close.
  enum class Phase { kIdle, kReading, kBusy, kLingering, kClosed };

  void read_more();
  void received(std::size_t n_bytes);
  void peer_closed(const boost::system::error_code& error);
  void watch_for_reset();
  void probe();
  void advance();
  void dispatch();
  /// Threading: any thread.
  void handle(HttpRequest request, const std::shared_ptr<Responder>& responder, std::uint64_t number);
  void reject(int status, std::string_view problem);

  // In connection_answers.cc, from here to drained().
  std::shared_ptr<Responder> make_responder();
  static HttpResponse error_answer(int status, std::string_view problem);
  void respond(HttpResponse response);
  void begin_stream(const HttpResponse& head);
  void write_piece(std::string_view bytes);
  void end_stream(bool close);
  void release_body();
  void finish_exchange();
  std::string head_text(const HttpResponse& head, std::string_view framing) const;

  /// Runs a piece of a connection's work; without memory for it, or by a fault in it, the connection ends, and no
  /// other.
  template <typename Action>
  void guarded(Action&& action) {
    try {
      action();
    } catch (const std::bad_alloc&) {
      out_of_memory();
    } catch (const std::exception& error) {
      broke(error.what());
    }
  }
  void out_of_memory();
  void broke(std::string_view problem);
  /// Answers so what runs where no answer has begun; else the connection ends.
  void give_up(int status, std::string_view problem);

  std::size_t queued() const { return pending_.size() + inflight_.size() - written_; }
  void enqueue(std::string bytes);
  void flush();
  void drained();

  void linger();
  void close();

  void arm_timer();
  void check_deadlines();

  std::shared_ptr<ConnectionContext> context_;  // first: the socket needs its io_context to the end
  boost::asio::ip::tcp::socket socket_;
  boost::asio::steady_timer timer_;
  const std::uint64_t number_;

  Phase phase_ = Phase::kIdle;
  std::atomic<bool> closed_{false};  // lets other threads drop their work early
  bool draining_ = false;

  std::array<char, 16 << 10> chunk_;
  std::string in_;
  bool reading_ = false;
  bool half_closed_ = false;  // the client sends no more, but may still read
  Clock::time_point next_probe_;
  std::shared_ptr<ByteBudget::Share> body_share_;  // shared with the worker that reads the body
  std::optional<HttpParser> parser_;
  Clock::time_point read_deadline_;

  std::string pending_;   // not yet given to the socket
  std::string inflight_;  // being written, from written_ on
  std::size_t written_ = 0;
  bool writing_ = false;
  ByteBudget::Share answer_share_;
  Clock::time_point write_deadline_;
  Clock::time_point last_write_;

  std::uint64_t exchange_ = 0;  // the running exchange's number, 0 between two
  std::uint64_t last_exchange_ = 0;
  std::atomic<std::uint64_t> lost_exchange_{
      0};  // of which something could not be handed to the strand: the timer ends it
  bool keep_alive_ = true;
  bool chunks_ = true;
  bool head_only_ = false;
  bool streaming_ = false;
  std::function<void()> on_gone_;
  std::chrono::milliseconds silence_{0};
  std::function<void()> on_silence_;
};

}  // namespace commissure
