#include "api/connection.h"

#include <malloc.h>

#include <algorithm>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <new>
#include <utility>

#include "core/json.h"
#include "core/log.h"

namespace commissure {

namespace net = boost::asio;
using boost::system::error_code;

namespace {

constexpr std::size_t kPipelineBytes = 64 << 10;  // read ahead of the running request
constexpr std::chrono::seconds kLingerTime{2};
constexpr std::chrono::seconds kProbeInterval{10};
constexpr std::size_t kTrimBytes = 256 << 10;
constexpr std::chrono::seconds kTrimDelay{1};  // for what the engine still holds of a request

HttpResponse error_answer(int status, std::string_view problem) {
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

constexpr std::string_view kOutOfMemory =
    "the server has no memory left for this request; try again later or ask for less";
constexpr std::string_view kTooMuchAtOnce =
    "the server holds as many bytes of large requests and answers as it may; try again later";

}  // namespace

void ConnectionContext::trim_later() {
  if (budget.used() > 0 || trim_is_due.exchange(true)) return;
  const auto timer = std::make_shared<net::steady_timer>(io, kTrimDelay);
  timer->async_wait([this, timer](error_code error) {  // lives in `io`, which is ours
    if (error) return;
    net::post(long_workers, [this] {
      trim_is_due = false;
      malloc_trim(0);
    });
  });
}

/// The responder of one request; a stale one (its exchange is over) does nothing.
class Connection::Exchange final : public Responder {
 public:
  Exchange(std::shared_ptr<Connection> connection, std::uint64_t number)
      : connection_(std::move(connection)), number_(number) {}

  ~Exchange() override {
    run([](Connection& c) {
      if (c.streaming_) return c.close();
      c.respond({.status = 500,
                 .body = R"({"error":{"message":"the request was dropped","type":"server_error",)"
                         R"("param":null,"code":"internal"}})"});
    });
  }

  void post(std::function<void()> task) override {
    if (connection_->closed_) return;
    net::post(connection_->socket_.get_executor(), [c = connection_, task = std::move(task)] { c->guarded(task); });
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
    net::dispatch(connection_->socket_.get_executor(),
                  [c = connection_, n = number_, action = std::move(action)]() mutable {
                    if (c->exchange_ == n) c->guarded([&] { action(*c); });
                  });
  }

  const std::shared_ptr<Connection> connection_;
  const std::uint64_t number_;
};

Connection::Connection(std::shared_ptr<ConnectionContext> context, net::ip::tcp::socket socket, std::uint64_t number)
    : context_(std::move(context)),
      socket_(std::move(socket)),
      timer_(socket_.get_executor()),
      number_(number),
      answer_share_(context_->budget) {}

void Connection::start() {
  net::dispatch(socket_.get_executor(), [self = shared_from_this()] {
    error_code ignored;
    self->socket_.set_option(net::ip::tcp::no_delay(true), ignored);
    if (const int bytes = self->context_->options.send_buffer_bytes; bytes > 0) {
      self->socket_.set_option(net::socket_base::send_buffer_size(bytes), ignored);
    }
    // Who never says a word holds no place for as long as a client between two requests.
    self->read_deadline_ =
        Clock::now() + std::min(self->context_->options.idle_timeout, self->context_->options.read_timeout);
    self->arm_timer();
    self->advance();
  });
}

void Connection::refuse() {
  net::dispatch(socket_.get_executor(), [self = shared_from_this()] {
    self->arm_timer();
    self->reject(503, "too many connections; try again later");
    self->read_more();
  });
}

void Connection::drain() {
  net::dispatch(socket_.get_executor(), [self = shared_from_this()] {
    self->draining_ = true;
    self->keep_alive_ = false;
    if (self->phase_ == Phase::kIdle || self->phase_ == Phase::kReading) self->close();
  });
}

void Connection::cut() {
  net::dispatch(socket_.get_executor(), [self = shared_from_this()] { self->close(); });
}

// Reading ----------------------------------------------------------------------------------------

/// One read is always under way, also while a request is answered: it is what tells that the client went away.
void Connection::read_more() {
  if (reading_ || phase_ == Phase::kClosed || in_.size() >= kPipelineBytes) return;
  reading_ = true;
  socket_.async_read_some(net::buffer(chunk_), [self = shared_from_this()](error_code error, std::size_t n_bytes) {
    self->reading_ = false;
    if (self->phase_ == Phase::kClosed) return;
    if (error) return self->peer_closed(error);
    self->guarded([&] { self->received(n_bytes); });
  });
}

void Connection::received(std::size_t n_bytes) {
  if (phase_ != Phase::kLingering) in_.append(chunk_.data(), n_bytes);
  advance();
}

/// The end of what the client sends is no proof that it went away: it may have closed that half alone and wait for the
/// answer. Bytes tell: who is gone answers them with a reset. Before the head of an answer an invitation to go on may
/// be sent at any time, and every client of HTTP/1.1 skips it (RFC 9110, section 15.2); later the answer itself tells.
void Connection::peer_closed(const error_code& error) {
  const bool is_probed = exchange_ == 0 || streaming_ || chunks_;
  if (error != net::error::eof || phase_ != Phase::kBusy || !is_probed) return close();
  half_closed_ = true;
  watch_for_reset();
  probe();
}

/// Again and again, as a relay in between passes the first one on before it learns that its client is gone.
void Connection::probe() {
  if (exchange_ == 0 || streaming_) return;
  next_probe_ = Clock::now() + kProbeInterval;
  enqueue("HTTP/1.1 100 Continue\r\n\r\n");
}

void Connection::watch_for_reset() {
  socket_.async_wait(net::ip::tcp::socket::wait_error, [self = shared_from_this()](error_code) {
    if (self->phase_ != Phase::kClosed) self->close();
  });
}

void Connection::advance() {
  while (phase_ == Phase::kIdle || phase_ == Phase::kReading) {
    if (phase_ == Phase::kIdle) {
      in_.erase(0, in_.find_first_not_of("\r\n"));  // RFC 9112 2.2: empty lines before a request
      if (in_.empty()) break;
      phase_ = Phase::kReading;
      parser_.emplace(context_->options.max_header_bytes, context_->options.max_body_bytes);
      body_share_ = std::make_shared<ByteBudget::Share>(context_->budget);
      read_deadline_ = Clock::now() + context_->options.read_timeout;
    }
    const HttpParser::Step step = parser_->feed(in_);
    in_.erase(0, step.used);
    if (step.status != 0) {
      reject(step.status, step.problem);
      break;
    }
    if (!body_share_->resize(parser_->body_bytes())) {
      reject(503, kTooMuchAtOnce);
      break;
    }
    if (parser_->take_expectation()) enqueue("HTTP/1.1 100 Continue\r\n\r\n");
    if (parser_->done()) {
      dispatch();
    } else if (step.used == 0 || in_.empty()) {
      break;
    }
  }
  read_more();
}

void Connection::dispatch() {
  HttpRequest request;
  phase_ = Phase::kBusy;
  keep_alive_ = parser_->keep_alive() && !draining_;
  chunks_ = parser_->knows_chunks();
  const bool valid = parser_->take(request);
  parser_.reset();
  if (!valid) return reject(400, "malformed HTTP request: the target is no valid path");

  head_only_ = request.method == "HEAD";
  exchange_ = ++last_exchange_;
  auto responder = std::make_shared<Exchange>(shared_from_this(), exchange_);
  if (request.body.empty()) return handle(*context_, std::move(request), responder);
  const std::size_t n_bytes = request.body.size();
  auto& workers = n_bytes < context_->options.long_body_bytes ? context_->workers : context_->long_workers;
  net::post(workers, [self = shared_from_this(), request = std::move(request), responder = std::move(responder),
                      share = body_share_, n_bytes]() mutable {
    if (!self->closed_) handle(*self->context_, std::move(request), responder);  // else its client left meanwhile
    responder.reset();
    if (n_bytes < kTrimBytes) return;
    request = {};
    share.reset();
    self->context_->trim_later();
    // A parsed body is many times its text, in pieces that the allocator would keep.
    malloc_trim(0);
  });
}

/// Whatever a request costs or breaks, the others go on.
void Connection::handle(ConnectionContext& context, HttpRequest request, const std::shared_ptr<Exchange>& responder) {
  try {
    context.handler(std::move(request), responder);
  } catch (const std::bad_alloc&) {
    log_warning("out of memory", {{"for", "a request"}});
    responder->send(error_answer(503, kOutOfMemory));
  } catch (const std::exception& error) {
    log_error("a request failed", {{"problem", error.what()}});
    responder->send(error_answer(500, "the server failed on this request"));
  }
}

/// Answers what never became a request; the connection ends, since nobody knows where the next one starts.
void Connection::reject(int status, std::string_view problem) {
  parser_.reset();
  release_body();
  in_.clear();
  phase_ = Phase::kBusy;
  exchange_ = ++last_exchange_;
  keep_alive_ = false;
  head_only_ = false;
  respond(error_answer(status, problem));
}

// Answering --------------------------------------------------------------------------------------

std::string Connection::head_text(const HttpResponse& head, std::string_view framing) const {
  std::string text =
      fmt::format("{} {} {}\r\n", chunks_ ? "HTTP/1.1" : "HTTP/1.0", head.status, reason_phrase(head.status));
  if (head.status != 204) text += fmt::format("content-type: {}\r\n", head.content_type);
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
  std::string text =
      head_text(response, response.status == 204 ? "" : fmt::format("content-length: {}\r\n", response.body.size()));
  if (!head_only_ && response.status != 204) text += std::exchange(response.body, {});
  enqueue(std::move(text));
  finish_exchange();
}

/// Runs a piece of a connection's work; without memory for it the connection ends, and no other.
template <typename Action>
void Connection::guarded(Action&& action) {
  try {
    action();
  } catch (const std::bad_alloc&) {
    out_of_memory();
  }
}

void Connection::out_of_memory() {
  log_warning("out of memory", {{"for", "an answer"}});
  if (phase_ != Phase::kBusy || exchange_ == 0 || streaming_) return close();
  const auto gone = std::exchange(on_gone_, nullptr);
  respond(error_answer(503, kOutOfMemory));
  if (gone) gone();
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

void Connection::linger() {
  error_code ignored;
  socket_.shutdown(net::ip::tcp::socket::shutdown_send, ignored);
  phase_ = Phase::kLingering;
  in_.clear();
  read_deadline_ = Clock::now() + kLingerTime;
  read_more();
}

void Connection::close() {
  if (phase_ == Phase::kClosed) return;
  phase_ = Phase::kClosed;
  closed_ = true;
  exchange_ = 0;
  release_body();
  error_code ignored;
  timer_.cancel(ignored);
  socket_.close(ignored);
  on_silence_ = nullptr;
  const auto gone = std::move(on_gone_);
  on_gone_ = nullptr;
  if (gone) gone();
  context_->closed(number_);
}

// Time -------------------------------------------------------------------------------------------

/// One coarse timer a connection instead of one a deadline: re-arming for every token would cost more than the token.
void Connection::arm_timer() {
  const HttpServerOptions& options = context_->options;
  auto period = std::min({options.idle_timeout, options.read_timeout, options.write_timeout});
  if (silence_.count() > 0) period = std::min(period, silence_);
  timer_.expires_after(std::clamp(period / 4, std::chrono::milliseconds(5), std::chrono::milliseconds(1000)));
  timer_.async_wait([self = shared_from_this()](error_code error) {
    if (error || self->phase_ == Phase::kClosed) return;
    self->check_deadlines();
  });
}

void Connection::check_deadlines() {
  const auto now = Clock::now();
  if (writing_ && now >= write_deadline_) return close();
  if (now >= read_deadline_) {
    if (phase_ == Phase::kIdle || phase_ == Phase::kLingering) return close();
    if (phase_ == Phase::kReading) reject(408, "the request did not arrive in time");
  }
  if (half_closed_ && now >= next_probe_) guarded([this] { probe(); });
  if (on_silence_ && exchange_ != 0 && now - last_write_ >= silence_) {
    last_write_ = now;
    const auto callback = on_silence_;
    guarded(callback);
  }
  if (phase_ != Phase::kClosed) arm_timer();
}

}  // namespace commissure
