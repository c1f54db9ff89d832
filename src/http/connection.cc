#include "http/connection.h"

#include <malloc.h>

#include <algorithm>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <new>
#include <utility>

#include "core/log.h"
#include "core/scarce.h"

namespace commissure {

namespace net = boost::asio;
using boost::system::error_code;

namespace {

constexpr std::size_t kPipelineBytes = 64 << 10;  // read ahead of the running request
constexpr std::chrono::seconds kLingerTime{2};
constexpr std::chrono::seconds kProbeInterval{10};
constexpr std::chrono::seconds kTrimDelay{1};  // for what the engine still holds of a request

}  // namespace

void ConnectionContext::trim_later() {
  if (budget.used() > 0 || trim_is_due.exchange(true)) return;
  const auto trim = [this] {
    trim_is_due = false;
    malloc_trim(0);
  };
  const bool is_set = done_unless_scarce([&] {
    const auto timer = std::make_shared<net::steady_timer>(io, kTrimDelay);
    timer->async_wait([this, timer, trim](error_code error) {  // lives in `io`, which is ours
      if (!error && !done_unless_scarce([&] { net::post(long_workers, trim); })) trim();
    });
  });
  if (!is_set) trim();
}

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
    HttpParser::Step step;
    if (!done_unless_scarce([&] { step = parser_->feed(in_); })) {
      reject(503, kOutOfMemory);
      break;
    }
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
  std::shared_ptr<Responder> responder = make_responder();
  if (request.body.empty() || context_->options.is_quick(request)) {
    return handle(std::move(request), responder, exchange_);
  }
  const std::size_t n_bytes = request.body.size();
  const bool is_long = n_bytes >= context_->options.long_body_bytes || context_->options.is_long(request);
  auto& workers = is_long ? context_->long_workers : context_->workers;
  net::post(workers, [self = shared_from_this(), request = std::move(request), responder = std::move(responder),
                      number = exchange_, share = body_share_, n_bytes]() mutable {
    if (!self->closed_) self->handle(std::move(request), responder, number);  // else its client left meanwhile
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
void Connection::handle(HttpRequest request, const std::shared_ptr<Responder>& responder, std::uint64_t number) {
  const auto refuse = [&](int status, std::string_view problem) {  // which may need memory too
    if (!done_unless_scarce([&] { responder->send(error_answer(status, problem)); })) lost_exchange_ = number;
  };
  try {
    context_->handler(std::move(request), responder);
  } catch (const std::bad_alloc&) {
    done_unless_scarce([] { log_warning("out of memory", {{"for", "a request"}}); });
    refuse(503, kOutOfMemory);
  } catch (const std::exception& error) {
    done_unless_scarce([&] { log_error("a request failed", {{"problem", error.what()}}); });
    refuse(500, kFault);
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

// The end ----------------------------------------------------------------------------------------

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
  if (gone) guarded(gone);
  do_once_possible([this] { context_->closed(number_); });  // else the place stays taken
}

// Time -------------------------------------------------------------------------------------------

/// One coarse timer a connection instead of one a deadline: re-arming for every token would cost more than the token.
void Connection::arm_timer() {
  const HttpServerOptions& options = context_->options;
  auto period = std::min({options.idle_timeout, options.read_timeout, options.write_timeout});
  if (silence_.count() > 0) period = std::min(period, silence_);
  const bool is_armed = done_unless_scarce([&] {
    timer_.expires_after(std::clamp(period / 4, std::chrono::milliseconds(5), std::chrono::milliseconds(1000)));
    timer_.async_wait([self = shared_from_this()](error_code error) {
      if (error || self->phase_ == Phase::kClosed) return;
      self->check_deadlines();
    });
  });
  if (!is_armed) close();  // nothing else would end it
}

void Connection::check_deadlines() {
  const auto now = Clock::now();
  if (writing_ && now >= write_deadline_) return close();
  if (now >= read_deadline_) {
    if (phase_ == Phase::kIdle || phase_ == Phase::kLingering) return close();
    if (phase_ == Phase::kReading) guarded([this] { reject(408, "the request did not arrive in time"); });
  }
  if (exchange_ != 0 && lost_exchange_ == exchange_) out_of_memory();
  if (half_closed_ && now >= next_probe_) guarded([this] { probe(); });
  if (on_silence_ && exchange_ != 0 && now - last_write_ >= silence_) {
    last_write_ = now;
    const auto callback = on_silence_;
    guarded(callback);
  }
  if (phase_ != Phase::kClosed) arm_timer();
}

}  // namespace commissure
