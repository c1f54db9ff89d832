#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <utility>

#include "core/json.h"
#include "core/log.h"
#include "core/scarce.h"
#include "http/connection.h"

namespace commissure {

namespace net = boost::asio;
using boost::system::error_code;

/// The responder of one request; a stale one (its exchange is over) does nothing.
class Connection::Exchange final : public Responder {
 public:
  Exchange(std::shared_ptr<Connection> connection, std::uint64_t number)
      : connection_(std::move(connection)), number_(number) {}

  ~Exchange() override {
    run([n = number_](Connection& c) {
      if (c.streaming_) return c.close();
      if (c.lost_exchange_ == n) return c.out_of_memory();
      c.respond(error_answer(500, "the request was dropped"));
    });
  }

  void post(std::function<void()> task) override {
    if (connection_->closed_) return;
    handed_over([&] {
      net::post(connection_->socket_.get_executor(), [c = connection_, task = std::move(task)] { c->guarded(task); });
    });
  }
  void send(HttpResponse response) override {
    run([response = std::move(response)](Connection& c) mutable { c.respond(std::move(response)); });
  }
  void begin_stream(HttpResponse head) override {
    run([head = std::move(head)](Connection& c) { c.begin_stream(head); });
  }
  void write(std::string bytes) override {
    run([bytes = std::move(bytes)](Connection& c) { c.write_piece(bytes); });
  }
  void end_stream(bool close) override {
    run([close](Connection& c) { c.end_stream(close); });
  }
  bool is_gone() const override { return connection_->closed_; }
  void on_gone(std::function<void()> callback) override {
    net::dispatch(connection_->socket_.get_executor(),
                  [c = connection_, n = number_, f = std::move(callback)]() mutable {
                    if (c->exchange_ == n) {
                      c->on_gone_ = std::move(f);
                    } else if (c->phase_ == Phase::kClosed) {
                      f();
                    }
                  });
  }
  void on_silence(std::chrono::milliseconds silence, std::function<void()> callback) override {
    run([silence, callback = std::move(callback)](Connection& c) mutable {
      c.silence_ = silence;
      c.on_silence_ = std::move(callback);
      c.last_write_ = Clock::now();
      c.arm_timer();
    });
  }

 private:
  template <typename Action>
  void run(Action action) {
    if (connection_->closed_) return;
    handed_over([&] {
      net::dispatch(connection_->socket_.get_executor(),
                    [c = connection_, n = number_, action = std::move(action)]() mutable {
                      if (c->exchange_ == n) c->guarded([&] { action(*c); });
                    });
    });
  }
  /// Without memory for it, the connection's timer ends the exchange: nobody waits for what was lost.
  template <typename Work>
  void handed_over(Work work) {
    if (!done_unless_scarce(work)) connection_->lost_exchange_ = number_;
  }

  const std::shared_ptr<Connection> connection_;
  const std::uint64_t number_;
};

std::shared_ptr<Responder> Connection::make_responder() {
  return std::make_shared<Exchange>(shared_from_this(), exchange_);
}

// Answering --------------------------------------------------------------------------------------

HttpResponse Connection::error_answer(int status, std::string_view problem) {
  const Json body = {{"error",
                      {{"message", problem},
                       {"type", status == 503   ? "unavailable_error"
                                : status == 500 ? "server_error"
                                                : "invalid_request_error"},
                       {"param", nullptr},
                       {"code", status}}}};
  HttpResponse response{.status = status, .body = dump_json(body)};
  if (status == 503) response.headers.emplace_back("retry-after", "2");
  return response;
}

/// Whether answers of that status end with their head.
bool is_bodiless(int status) { return status == 204 || status == 304; }

std::string Connection::head_text(const HttpResponse& head, std::string_view framing) const {
  std::string text =
      fmt::format("{} {} {}\r\n", chunks_ ? "HTTP/1.1" : "HTTP/1.0", head.status, reason_phrase(head.status));
  if (!is_bodiless(head.status)) text += fmt::format("content-type: {}\r\n", head.content_type);
  text += framing;
  for (const auto& [name, value] : head.headers) {
    // A value that came from the client must not start a header of its own.
    if (value.find_first_of("\r\n") == std::string::npos) text += fmt::format("{}: {}\r\n", name, value);
  }
  text += keep_alive_ ? (chunks_ ? "\r\n" : "connection: keep-alive\r\n\r\n") : "connection: close\r\n\r\n";
  return text;
}

void Connection::respond(HttpResponse response) {
  if (streaming_) return close();  // a route's mistake: two answers
  if (!head_only_ && !answer_share_.resize(queued() + response.body.size())) {
    response = error_answer(503, kTooMuchAtOnce);
  }
  std::string text = head_text(
      response, is_bodiless(response.status) ? "" : fmt::format("content-length: {}\r\n", response.body.size()));
  if (!head_only_ && !is_bodiless(response.status)) text += std::exchange(response.body, {});
  enqueue(std::move(text));
  finish_exchange();
}

void Connection::out_of_memory() {
  done_unless_scarce([] { log_warning("out of memory", {{"for", "an answer"}}); });
  give_up(503, kOutOfMemory);
}

void Connection::broke(std::string_view problem) {
  done_unless_scarce([&] { log_error("an answer failed", {{"problem", std::string(problem)}}); });
  give_up(500, kFault);
}

void Connection::give_up(int status, std::string_view problem) {
  if (phase_ != Phase::kBusy || exchange_ == 0 || streaming_) return close();
  const auto gone = std::exchange(on_gone_, nullptr);
  if (!done_unless_scarce([&] { respond(error_answer(status, problem)); })) close();
  if (gone) guarded(gone);
}

void Connection::begin_stream(const HttpResponse& head) {
  if (streaming_) return;
  if (!chunks_) keep_alive_ = false;  // the close is the end mark
  enqueue(head_text(head, chunks_ ? "transfer-encoding: chunked\r\n" : ""));
  streaming_ = true;
}

void Connection::write_piece(std::string_view bytes) {
  if (!streaming_ || head_only_ || bytes.empty()) return;
  if (!chunks_) return enqueue(std::string(bytes));
  enqueue(fmt::format("{:x}\r\n{}\r\n", bytes.size(), bytes));
}

void Connection::end_stream(bool close_after) {
  if (!streaming_) return;
  if (close_after) keep_alive_ = false;
  if (chunks_ && !head_only_) enqueue("0\r\n\r\n");
  finish_exchange();
}

void Connection::release_body() {
  if (body_share_ == nullptr) return;
  const bool is_large = body_share_->counted() > 0;
  body_share_.reset();
  if (is_large) context_->trim_later();
}

void Connection::finish_exchange() {
  if (phase_ == Phase::kClosed) return;
  exchange_ = 0;
  release_body();  // not earlier: what was made of a large body waits in the engine as long
  streaming_ = false;
  silence_ = {};
  on_gone_ = nullptr;
  on_silence_ = nullptr;
  if (!writing_ && pending_.empty()) drained();
}

// Writing ----------------------------------------------------------------------------------------

void Connection::enqueue(std::string bytes) {
  if (phase_ == Phase::kClosed) return;
  // Without the new piece: one event, a trace at a long answer's end, may be larger than the limit by itself.
  if (streaming_ && (queued() > context_->options.max_queued_bytes || !answer_share_.resize(queued() + bytes.size()))) {
    return close();
  }
  if (pending_.empty()) {
    pending_ = std::move(bytes);
  } else {
    pending_ += bytes;
  }
  last_write_ = Clock::now();
  if (!writing_) flush();
}

void Connection::flush() {
  if (written_ == inflight_.size()) {
    if (pending_.empty()) return drained();
    inflight_.clear();
    written_ = 0;
    std::swap(inflight_, pending_);
  }
  writing_ = true;
  write_deadline_ = Clock::now() + context_->options.write_timeout;
  socket_.async_write_some(net::buffer(inflight_.data() + written_, inflight_.size() - written_),
                           [self = shared_from_this()](error_code error, std::size_t n_bytes) {
                             self->writing_ = false;
                             if (self->phase_ == Phase::kClosed) return;
                             if (error) return self->close();
                             self->written_ += n_bytes;
                             (void)self->answer_share_.resize(self->queued());  // it only shrinks
                             self->guarded([&] { self->flush(); });
                           });
}

/// Everything is written: the next request may start. Not earlier, so that pipelining cannot pile up answers.
void Connection::drained() {
  if (phase_ != Phase::kBusy || exchange_ != 0) return;
  if (inflight_.capacity() > kTrimBytes) {
    inflight_ = std::string();
    context_->trim_later();
  }
  written_ = 0;
  inflight_.clear();
  if (!keep_alive_ || draining_) return linger();
  phase_ = Phase::kIdle;
  read_deadline_ = Clock::now() + context_->options.idle_timeout;
  advance();
}

}  // namespace commissure
