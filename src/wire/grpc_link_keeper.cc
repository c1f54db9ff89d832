#include <algorithm>
#include <random>
#include <utility>

#include "core/log.h"
#include "core/scarce.h"
#include "wire/grpc_link_impl.h"
#include "wire/handshake.h"
#include "wire/reconnect_pause.h"

namespace commissure {

grpc::ByteBuffer GrpcLink::Impl::next_hello() {
  const StageInfo self = options_.self();
  const MutexLock lock(mutex_);
  if (self.plan.is_first()) {
    session_ = sent_steps_.next(session_);
    if (session_.epoch.head != kBreakingHead) session_.epoch = {head_, ++n_hellos_};
  } else if (is_opened_) {
    session_ = {};  // a stage that joins it a second time may be another one: stage A has to ask
  }
  is_opened_ = false;
  return encode_frame(client_hello(self, session_));
}

Status GrpcLink::Impl::on_hello(const Hello& hello) {
  const Status valid = accept_server_hello(options_.self(), hello);
  const MutexLock lock(mutex_);
  if (state_ != State::kConnecting || restarting_) return Error(Code::kDataLoss, "a second hello");
  TRY(valid);
  infos_ = hello.stages;
  lost_ = lost_stages(hello);
  is_opened_ = true;
  state_ = State::kReady;
  ready_since_ = Clock::now();
  ++n_streams_;
  log_info("stream opened", {{"to", options_.endpoint.target}, {"session", hello.session}});
  return {};
}

void GrpcLink::Impl::leave(const std::string& reason) {
  if (state_ != State::kReady) return;
  state_ = State::kLeaving;
  log_info("stream is to be moved", {{"to", options_.endpoint.target}, {"why", reason}});
  if (!on_leaving_) return;
  const MutexUnlock free(mutex_);  // the callback takes locks of its own, and holds them when it calls us
  on_leaving_(reason);
}

void GrpcLink::Impl::run(const std::stop_token& stop) {
  ReconnectPause pause(options_.min_backoff, options_.max_backoff, std::random_device{}());
  const MutexLock lock(mutex_);
  while (true) {
    changed_.wait(mutex_, [this]() REQUIRES(mutex_) { return stopping_ || wanted_; });
    if (stopping_ || stop.stop_requested()) return;
    const int n_before = n_streams_;
    const bool was_refused = refused_;
    const Clock::time_point opened = Clock::now();
    state_ = State::kConnecting;
    over_ = restarting_ = false;
    if (done_unless_scarce([this]() REQUIRES(mutex_) { open_stream(); })) watch_stream();

    const std::unique_ptr<LinkStream> dead = std::move(stream_);
    const bool at_once = restarting_ || (refused_ && !was_refused && options_.security.identity);
    // A peer that let us wait (it is loading) need not be spared another wait.
    const bool patient = n_streams_ > n_before || Clock::now() - opened > options_.max_backoff;
    const ReconnectPause::Duration waits = pause.next(patient);
    if (stopping_) return;
    if (at_once) continue;
    if (n_streams_ > n_before) {
      done_unless_scarce([this]() REQUIRES(mutex_) {
        log_warning("stream lost", {{"to", options_.endpoint.target}, {"why", last_error_.to_string()}});
      });
    }
    changed_.wait_for(mutex_, waits, [this]() REQUIRES(mutex_) { return stopping_; });
  }
}

/// Where memory runs out, no stream is open, or it is on its way to its end.
void GrpcLink::Impl::open_stream() {
  stream_ = std::make_unique<LinkStream>(channel_, *queue_, *this);
  LinkStream& stream = *stream_;
  stream.open();
  const auto greet = [&]() REQUIRES(mutex_) {
    const MutexUnlock free(mutex_);
    stream.send(next_hello());
  };
  if (!done_unless_scarce(greet)) stream.cancel(no_memory(Code::kUnavailable));
}

void GrpcLink::Impl::watch_stream() {
  const Clock::time_point opened = Clock::now();
  // Looking now and then costs nothing per step; waking this thread for every step would.
  const auto glance =
      std::clamp<std::chrono::milliseconds>(std::min(options_.step_deadline, options_.handshake_deadline) / 8,
                                            std::chrono::milliseconds(1), std::chrono::milliseconds(1000));
  while (!over_) {
    changed_.wait_for(mutex_, glance, [this]() REQUIRES(mutex_) { return over_; });
    if (over_ || !stream_) break;
    done_unless_scarce([&]() REQUIRES(mutex_) { look_at_stream(opened); });  // else it looks again soon
  }
}

void GrpcLink::Impl::look_at_stream(Clock::time_point opened) {
  const Clock::time_point now = Clock::now();
  if (state_ == State::kConnecting && now - std::max(opened, last_sign_) > options_.handshake_deadline) {
    stream_->cancel(Error(Code::kDeadlineExceeded, "no handshake, and no sign of work, within ",
                          options_.handshake_deadline.count(), " ms"));
  }
  const bool ages = options_.max_stream_age.count() > 0;
  if (ages && now - ready_since_ > options_.max_stream_age) leave("the stream is at its greatest age");
  watch_steps(now);
}

void GrpcLink::Impl::watch_steps(Clock::time_point now) {
  if (in_flight_.empty() || !stream_) return;
  if (const std::uint64_t n_done = options_.n_done(); std::exchange(n_done_, n_done) != n_done) last_sign_ = now;
  const Step& oldest = in_flight_.front();
  const int n_rows = oldest.batch.n_rows();
  const auto waited = std::chrono::duration_cast<std::chrono::milliseconds>(now - std::max(oldest.since, last_sign_));
  const auto limit = pace_.deadline(n_rows, options_.step_deadline_floor, options_.step_deadline);
  if (waited > limit) {
    return stream_->cancel(Error(Code::kDeadlineExceeded, "step ", oldest.batch.step.value, " of ", n_rows,
                                 " rows: no answer and no sign of work for ", limit.count(), " ms"));
  }
  if (waited < limit / 4 || slow_ == oldest.batch.step) return;
  slow_ = oldest.batch.step;
  log_warning("a step is slow", {{"to", options_.endpoint.target},
                                 {"step", oldest.batch.step.value},
                                 {"waited_ms", waited.count()},
                                 {"limit_ms", limit.count()}});
}

/// A first refusal may be about the token's age; a second one is about who calls.
Error GrpcLink::Impl::explain(const Error& why) {
  const bool again = std::exchange(refused_, is_refusal(why));
  if (!refused_) return why;
  CallerIdentity* const identity = options_.security.identity.get();
  if (identity != nullptr) identity->refused();
  const bool renews = identity != nullptr && !again;
  return renews ? Error(Code::kUnavailable, "its token was refused, trying a fresh one")
                : explain_refusal(why, identity);
}

Error GrpcLink::Impl::as_stream_error(const Error& why) {
  if (is_about_the_stream(why.code())) return why;
  return Error(Code::kUnavailable, why.message());
}

void GrpcLink::Impl::on_closed(const Error& why) {
  const auto told = [&] { return as_stream_error(why).within(peer_); };
  const auto without_words = [] { return no_memory(Code::kUnavailable); };
  Error error = unless_scarce(told, without_words);
  std::size_t n_lost = 0;
  bool report = false;
  {
    const MutexLock lock(mutex_);
    report = (std::exchange(is_lost_, false) || is_open()) && !stopping_ && on_lost_;
    state_ = State::kConnecting;
    last_error_ = unless_scarce([&]() REQUIRES(mutex_) { return explain(why); }, without_words);
    n_lost = in_flight_.size();
    in_flight_.clear();
    sequences_.clear();
    if (stopping_) error = copy_of(stopped_);
    room_.notify_all();
  }
  for (; n_lost > 0; --n_lost) sink_(copy_of(error));
  if (report) on_lost_(error);
  const MutexLock lock(mutex_);
  over_ = true;
  changed_.notify_all();
}

}  // namespace commissure
