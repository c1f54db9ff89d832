#pragma once

#include <fmt/format.h>

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <unordered_set>
#include <utility>
#include <vector>

#include "core/mutex.h"
#include "wire/call_queue.h"
#include "wire/channel.h"
#include "wire/codec.h"
#include "wire/grpc_link.h"
#include "wire/link_stream.h"
#include "wire/stage_client.h"
#include "wire/step_pace.h"

namespace commissure {

/// The caller's side (grpc_link.cc): steps in, answers out. The keeper's side (grpc_link_keeper.cc): a thread that
/// opens a stream, watches it and its steps, and opens the next one when it ends.
class GrpcLink::Impl final : public LinkStream::Events {
 public:
  using Clock = std::chrono::steady_clock;

  explicit Impl(GrpcLinkOptions options)
      : questions_(options.endpoint, options.security),
        options_(std::move(options)),
        queue_(options_.queue != nullptr ? options_.queue : std::make_shared<CallQueue>()),
        channel_(open_channel(options_.endpoint, options_.security)),
        peer_(fmt::format("stage {} ({})", stage_name(options_.self().plan.index + 1), options_.endpoint.target)),
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
    const MutexLock lock(mutex_);
    return lost_;
  }

  StageClient questions_;  // about adapters
  std::function<void(const Error&)> on_lost_;
  std::function<void(const std::string&)> on_leaving_;
  std::vector<StageInfo> infos() const {
    const MutexLock lock(mutex_);
    return infos_;
  }
  int n_streams() const {
    const MutexLock lock(mutex_);
    return n_streams_;
  }
  std::uint64_t n_signs() const {
    const MutexLock lock(mutex_);
    return n_signs_;
  }

 private:
  enum class State { kIdle, kConnecting, kReady, kLeaving };

  struct Step {
    StepBatch batch;
    Clock::time_point since;
  };

  static Result<grpc::ByteBuffer> encode_step(const StageInput& input);
  Status on_frame(Frame frame) override;
  void on_closed(const Error& why) override;
  Status on_hello(const Hello& hello);
  void on_busy(const Busy& busy);
  Status on_answer(StepId step, Result<SampledTokens> answer);
  /// Whether every slice begins its sequence here or continues one that this stream knows.
  Status check_sequences(const StepBatch& batch) const REQUIRES(mutex_);
  void remember_sequences(const StepBatch& batch) REQUIRES(mutex_);

  void run(const std::stop_token& stop);
  void open_stream() REQUIRES(mutex_);
  void watch_stream() REQUIRES(mutex_);
  void look_at_stream(Clock::time_point opened) REQUIRES(mutex_);
  void watch_steps(Clock::time_point now) REQUIRES(mutex_);
  void leave(const std::string& reason) REQUIRES(mutex_);
  /// Ends the stream, and the keeper opens the next one at once.
  void reopen() REQUIRES(mutex_);
  grpc::ByteBuffer next_hello();
  bool is_open() const REQUIRES(mutex_) { return state_ == State::kReady || state_ == State::kLeaving; }
  Error not_ready() const REQUIRES(mutex_);
  Error explain(const Error& why) REQUIRES(mutex_);
  /// With a code that callers of StageLink know as the end of a stream.
  static Error as_stream_error(const Error& why);

  const GrpcLinkOptions options_;
  const std::shared_ptr<CallQueue> queue_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::string peer_;  // for people
  const Error stopped_{Code::kCancelled, "the link is stopped"};
  const std::uint64_t head_ = static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch())
          .count());  // of stage A's sessions (StreamEpoch)
  Sink sink_;

  mutable Mutex mutex_;
  Condition changed_;  // for the keeper thread
  Condition room_;     // for submit
  State state_ GUARDED_BY(mutex_) = State::kIdle;
  bool wanted_ GUARDED_BY(mutex_);
  bool stopping_ GUARDED_BY(mutex_) = false;
  bool restarting_ GUARDED_BY(mutex_) = false;
  bool is_opened_ GUARDED_BY(mutex_) = false;  // a stream of session_ was established
  bool is_lost_ GUARDED_BY(mutex_) = false;    // the current stream ends because of a loss told in an answer
  bool over_ GUARDED_BY(mutex_) = false;       // the current stream had its last event
  bool refused_ GUARDED_BY(mutex_) = false;    // the latest attempt ended because of who calls
  std::unique_ptr<LinkStream> stream_ GUARDED_BY(mutex_);
  Clock::time_point ready_since_ GUARDED_BY(mutex_);
  Error last_error_ GUARDED_BY(mutex_){Code::kUnavailable, "not connected yet"};
  std::deque<Step> in_flight_ GUARDED_BY(mutex_);
  StepPace pace_ GUARDED_BY(mutex_);
  StepId slow_ GUARDED_BY(mutex_);                  // has been warned of
  Clock::time_point last_sign_ GUARDED_BY(mutex_);  // of work, here or behind
  std::uint64_t n_signs_ GUARDED_BY(mutex_) = 0;
  std::uint64_t n_done_ GUARDED_BY(mutex_) = 0;  // here, as last seen
  std::unordered_set<SequenceId> sequences_ GUARDED_BY(mutex_);
  std::vector<StageInfo> infos_ GUARDED_BY(mutex_);
  StageSpan lost_ GUARDED_BY(mutex_) = kAllStages;
  ChainSession session_ GUARDED_BY(mutex_);  // of the current or next stream
  SentSteps sent_steps_ GUARDED_BY(mutex_);
  int n_streams_ GUARDED_BY(mutex_) = 0;
  std::uint32_t n_hellos_ GUARDED_BY(mutex_) = 0;
  std::jthread keeper_;
};

}  // namespace commissure
