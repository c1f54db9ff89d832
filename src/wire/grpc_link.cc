#include "wire/grpc_link.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <random>
#include <thread>
#include <unordered_set>
#include <utility>

#include "core/log.h"
#include "wire/call_queue.h"
#include "wire/channel.h"
#include "wire/codec.h"
#include "wire/handshake.h"
#include "wire/link_stream.h"
#include "wire/reconnect_pause.h"
#include "wire/step_pace.h"

namespace commissure {
namespace {

using Clock = std::chrono::steady_clock;

/// With a code that callers of StageLink know as the end of a stream.
Error as_stream_error(const Error& why) {
  if (is_about_the_stream(why.code())) return why;
  return Error(Code::kUnavailable, why.message());
}

}  // namespace

class GrpcLink::Impl final : public LinkStream::Events {
 public:
  explicit Impl(GrpcLinkOptions options)
      : options_(std::move(options)),
        queue_(options_.queue != nullptr ? options_.queue : std::make_shared<CallQueue>()),
        channel_(open_channel(options_.endpoint, options_.security)),
        wanted_(!options_.lazy) {}
  ~Impl() override { stop(); }

  void start(Sink sink);
  Status submit(StageInput input);
  Status health() const;
  bool wants_move() const;
  void move();
  void stop();
  void connect();
  void restart(ChainSession session);
  StageSpan lost() const {
    const std::lock_guard lock(mutex_);
    return lost_;
  }

  std::function<void(const Error&)> on_lost_;
  std::function<void(const std::string&)> on_leaving_;
  std::vector<StageInfo> infos() const {
    const std::lock_guard lock(mutex_);
    return infos_;
  }
  int n_streams() const {
    const std::lock_guard lock(mutex_);
    return n_streams_;
  }

 private:
  enum class State { kIdle, kConnecting, kReady, kLeaving };

  struct Step {
    StepBatch batch;
    Clock::time_point since;
  };

  Status on_frame(Frame frame) override;
  void on_closed(const Error& why) override;
  Status on_hello(const Hello& hello);
  Status on_answer(StepId step, Result<SampledTokens> answer);
  /// Whether every slice begins its sequence here or continues one that this stream knows.
  Status check_sequences(const StepBatch& batch) const;
  void remember_sequences(const StepBatch& batch);

  void run(const std::stop_token& stop);
  void watch_stream(std::unique_lock<std::mutex>& lock);
  void watch_steps(Clock::time_point now);
  void leave(std::unique_lock<std::mutex>& lock, const std::string& reason);
  /// With the lock held: ends the stream, and the keeper opens the next one at once.
  void reopen();
  grpc::ByteBuffer next_hello();
  bool is_open() const { return state_ == State::kReady || state_ == State::kLeaving; }
  Error not_ready() const;
  Error explain(const Error& why);

  const GrpcLinkOptions options_;
  const std::shared_ptr<CallQueue> queue_;
  const std::shared_ptr<grpc::Channel> channel_;
  Sink sink_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;  // for the keeper thread
  std::condition_variable room_;     // for submit
  State state_ = State::kIdle;
  bool wanted_;
  bool stopping_ = false;
  bool restarting_ = false;
  bool is_opened_ = false;  // a stream of session_ was established
  bool is_lost_ = false;    // the current stream ends because of a loss told in an answer
  bool over_ = false;       // the current stream had its last event
  bool refused_ = false;    // the latest attempt ended because of who calls
  std::unique_ptr<LinkStream> stream_;
  Clock::time_point ready_since_;
  Error last_error_{Code::kUnavailable, "not connected yet"};
  std::deque<Step> in_flight_;
  StepPace pace_;
  StepId slow_;  // has been warned of
  std::unordered_set<SequenceId> sequences_;
  std::vector<StageInfo> infos_;
  StageSpan lost_ = kAllStages;
  ChainSession session_;  // of the current or next stream
  SentSteps sent_steps_;
  int n_streams_ = 0;
  std::jthread keeper_;
};

void GrpcLink::Impl::start(Sink sink) {
  sink_ = std::move(sink);
  keeper_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
}

Error GrpcLink::Impl::not_ready() const { return last_error_.within(options_.endpoint.target); }

Status GrpcLink::Impl::submit(StageInput input) {
  grpc::ByteBuffer message = encode_frame(input.batch, input.boundary);
  if (message.Length() > kMaxFrameBytes) {
    return Error(Code::kInvalidArgument, "step ", input.batch.step.value, " is a frame of ", message.Length(),
                 " bytes, at most ", kMaxFrameBytes, " fit");
  }
  std::unique_lock lock(mutex_);
  if (!wanted_) {
    wanted_ = true;
    changed_.notify_all();
  }
  room_.wait(lock, [this] {
    return stopping_ || !is_open() || in_flight_.size() < static_cast<std::size_t>(options_.max_in_flight);
  });
  if (stopping_) return Error(Code::kUnavailable, "the link is stopped");
  if (!is_open()) return as_stream_error(not_ready());
  if (session_.name.empty())
    return Error(Code::kUnavailable, "stage A has not opened a stream since the last one broke");
  TRY(check_sequences(input.batch));
  remember_sequences(input.batch);
  in_flight_.push_back({std::move(input.batch), Clock::now()});
  sent_steps_.on_step(session_);
  stream_->send(std::move(message));
  return {};
}

Status GrpcLink::Impl::check_sequences(const StepBatch& batch) const {
  for (const SequenceRows& rows : batch.slices) {
    const bool begins = rows.table_start == 0 && !rows.new_blocks.empty();
    if (!begins && !sequences_.contains(rows.sequence)) {
      return Error(Code::kUnavailable, "sequence ", rows.sequence.value, " was lost with an earlier stream to ",
                   options_.endpoint.target, " and must be recreated");
    }
  }
  return {};
}

void GrpcLink::Impl::remember_sequences(const StepBatch& batch) {
  for (const SequenceId sequence : batch.released) sequences_.erase(sequence);
  for (const SequenceRows& rows : batch.slices) sequences_.insert(rows.sequence);
}

Status GrpcLink::Impl::health() const {
  const std::lock_guard lock(mutex_);
  if (is_open()) return {};
  return not_ready();
}

void GrpcLink::Impl::connect() {
  const std::lock_guard lock(mutex_);
  wanted_ = true;
  changed_.notify_all();
}

void GrpcLink::Impl::restart(ChainSession session) {
  const std::lock_guard lock(mutex_);
  wanted_ = true;
  changed_.notify_all();
  const bool is_another = session != session_;
  session_ = std::move(session);
  if (is_another || !is_open()) is_opened_ = false;
  if (is_another || state_ == State::kLeaving) reopen();
}

void GrpcLink::Impl::reopen() {
  if (!stream_ || over_) return;
  state_ = State::kConnecting;  // nothing more is submitted to the old stream
  last_error_ = Error(Code::kUnavailable, "opening a fresh stream");
  restarting_ = true;
  stream_->cancel(last_error_);
  room_.notify_all();
}

bool GrpcLink::Impl::wants_move() const {
  const std::lock_guard lock(mutex_);
  return state_ == State::kLeaving;
}

void GrpcLink::Impl::move() {
  const std::lock_guard lock(mutex_);
  if (state_ == State::kLeaving) reopen();
}

grpc::ByteBuffer GrpcLink::Impl::next_hello() {
  const StageInfo self = options_.self();
  const std::lock_guard lock(mutex_);
  if (self.plan.is_first()) {
    session_ = sent_steps_.next(session_);
  } else if (is_opened_) {
    session_ = {};  // a stage that joins it a second time may be another one: stage A has to ask
  }
  is_opened_ = false;
  return encode_frame(client_hello(self, session_));
}

void GrpcLink::Impl::leave(std::unique_lock<std::mutex>& lock, const std::string& reason) {
  if (state_ != State::kReady) return;
  state_ = State::kLeaving;
  log_info("stream is to be moved", {{"to", options_.endpoint.target}, {"why", reason}});
  if (!on_leaving_) return;
  lock.unlock();  // the callback takes locks of its own, and holds them when it calls us
  on_leaving_(reason);
  lock.lock();
}

void GrpcLink::Impl::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    if (stream_ && !over_) stream_->cancel(Error(Code::kCancelled, "the link is stopped"));
    changed_.notify_all();
    room_.notify_all();
  }
  keeper_.request_stop();
  if (keeper_.joinable()) keeper_.join();
}

Status GrpcLink::Impl::on_frame(Frame frame) {
  if (const auto* hello = std::get_if<Hello>(&frame)) return on_hello(*hello);
  if (auto* tokens = std::get_if<SampledTokens>(&frame)) {
    const StepId step = tokens->step;
    return on_answer(step, std::move(*tokens));
  }
  if (auto* error = std::get_if<StepError>(&frame)) return on_answer(error->step, std::move(error->error));
  if (const auto* goodbye = std::get_if<Goodbye>(&frame)) {
    std::unique_lock lock(mutex_);
    leave(lock, goodbye->reason);
    return {};
  }
  return Error(Code::kDataLoss, "a stage sent a step upstream");
}

Status GrpcLink::Impl::on_hello(const Hello& hello) {
  const Status valid = accept_server_hello(options_.self(), hello);
  const std::lock_guard lock(mutex_);
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

Status GrpcLink::Impl::on_answer(StepId step, Result<SampledTokens> answer) {
  StageOutput output;
  {
    const std::lock_guard lock(mutex_);
    if (in_flight_.empty() || in_flight_.front().batch.step != step) {
      return Error(Code::kDataLoss, "an answer to step ", step.value, ", which is not the oldest in flight");
    }
    output.batch = std::move(in_flight_.front().batch);
    pace_.note(Clock::now() - in_flight_.front().since);
    in_flight_.pop_front();
    if (answer) {
      sent_steps_.on_answer(session_);
    } else if (is_about_the_stream(answer.error().code())) {
      reopen();  // one further down is lost: only a fresh handshake tells what every stage still has
      is_lost_ = true;
    }
    room_.notify_one();
  }
  if (!answer) {
    sink_(std::move(answer).error());
    return {};
  }
  output.timings = answer->timings;
  output.value = std::move(*answer);
  sink_(std::move(output));
  return {};
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

void GrpcLink::Impl::on_closed(const Error& why) {
  std::deque<Step> lost;
  bool report = false;
  Error error = as_stream_error(why).within(options_.endpoint.target);
  {
    const std::lock_guard lock(mutex_);
    report = (std::exchange(is_lost_, false) || is_open()) && !stopping_ && on_lost_;
    state_ = State::kConnecting;
    last_error_ = explain(why);
    lost.swap(in_flight_);
    sequences_.clear();
    if (stopping_) error = Error(Code::kCancelled, "the link is stopped");
    room_.notify_all();
  }
  for (std::size_t i = 0; i < lost.size(); ++i) sink_(error);
  if (report) on_lost_(error);
  const std::lock_guard lock(mutex_);
  over_ = true;
  changed_.notify_all();
}

void GrpcLink::Impl::run(const std::stop_token& stop) {
  ReconnectPause pause(options_.min_backoff, options_.max_backoff, std::random_device{}());
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || wanted_; });
    if (stopping_ || stop.stop_requested()) return;
    const int n_before = n_streams_;
    const bool was_refused = refused_;
    const Clock::time_point opened = Clock::now();
    state_ = State::kConnecting;
    over_ = restarting_ = false;
    stream_ = std::make_unique<LinkStream>(channel_, *queue_, *this);
    LinkStream& stream = *stream_;
    stream.open();
    lock.unlock();
    stream.send(next_hello());
    lock.lock();
    watch_stream(lock);

    std::unique_ptr<LinkStream> dead = std::move(stream_);
    const bool at_once = restarting_ || (refused_ && !was_refused && options_.security.identity);
    // A peer that let us wait (it is loading) need not be spared another wait.
    const bool patient = n_streams_ > n_before || Clock::now() - opened > options_.max_backoff;
    const ReconnectPause::Duration waits = pause.next(patient);
    if (stopping_) return;
    if (at_once) continue;
    if (n_streams_ > n_before) {
      log_warning("stream lost", {{"to", options_.endpoint.target}, {"why", last_error_.to_string()}});
    }
    changed_.wait_for(lock, waits, [this] { return stopping_; });
  }
}

void GrpcLink::Impl::watch_stream(std::unique_lock<std::mutex>& lock) {
  const Clock::time_point opened = Clock::now();
  // Looking now and then costs nothing per step; waking this thread for every step would.
  const auto glance =
      std::clamp<std::chrono::milliseconds>(std::min(options_.step_deadline, options_.handshake_deadline) / 8,
                                            std::chrono::milliseconds(1), std::chrono::milliseconds(1000));
  const bool ages = options_.max_stream_age.count() > 0;
  while (!over_) {
    changed_.wait_for(lock, glance, [this] { return over_; });
    if (over_ || !stream_) break;
    const Clock::time_point now = Clock::now();
    if (state_ == State::kConnecting && now - opened > options_.handshake_deadline) {
      stream_->cancel(
          Error(Code::kDeadlineExceeded, "no handshake within ", options_.handshake_deadline.count(), " ms"));
    }
    if (ages && now - ready_since_ > options_.max_stream_age) leave(lock, "the stream is at its greatest age");
    watch_steps(now);
  }
}

void GrpcLink::Impl::watch_steps(Clock::time_point now) {
  if (in_flight_.empty() || !stream_) return;
  const Step& oldest = in_flight_.front();
  const auto waited = std::chrono::duration_cast<std::chrono::milliseconds>(now - oldest.since);
  const auto limit = pace_.deadline(options_.step_deadline_floor, options_.step_deadline);
  if (waited > limit) {
    return stream_->cancel(Error(Code::kDeadlineExceeded, "step ", oldest.batch.step.value, " was not answered within ",
                                 limit.count(), " ms"));
  }
  if (waited < limit / 4 || slow_ == oldest.batch.step) return;
  slow_ = oldest.batch.step;
  log_warning("a step is slow", {{"to", options_.endpoint.target},
                                 {"step", oldest.batch.step.value},
                                 {"waited_ms", waited.count()},
                                 {"limit_ms", limit.count()}});
}

GrpcLink::GrpcLink(GrpcLinkOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}
GrpcLink::~GrpcLink() = default;
void GrpcLink::on_lost(std::function<void(const Error&)> call) { impl_->on_lost_ = std::move(call); }
void GrpcLink::on_leaving(std::function<void(const std::string&)> call) { impl_->on_leaving_ = std::move(call); }
void GrpcLink::start(Sink sink) { impl_->start(std::move(sink)); }
Status GrpcLink::submit(StageInput input) { return impl_->submit(std::move(input)); }
Status GrpcLink::health() const { return impl_->health(); }
bool GrpcLink::wants_move() const { return impl_->wants_move(); }
void GrpcLink::move() { impl_->move(); }
void GrpcLink::stop() { impl_->stop(); }
void GrpcLink::connect() { impl_->connect(); }
void GrpcLink::restart(ChainSession session) { impl_->restart(std::move(session)); }
StageSpan GrpcLink::lost() const { return impl_->lost(); }
std::vector<StageInfo> GrpcLink::infos() const { return impl_->infos(); }
int GrpcLink::n_streams() const { return impl_->n_streams(); }

}  // namespace commissure
