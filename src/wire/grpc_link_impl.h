#pragma once

#include <fmt/format.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_set>
#include <utility>
#include <vector>

#include "wire/call_queue.h"
#include "wire/channel.h"
#include "wire/codec.h"
#include "wire/grpc_link.h"
#include "wire/link_stream.h"
#include "wire/step_pace.h"

namespace commissure {

/// The caller's side (grpc_link.cc): steps in, answers out. The keeper's side (grpc_link_keeper.cc): a thread that
/// opens a stream, watches it and its steps, and opens the next one when it ends.
class GrpcLink::Impl final : public LinkStream::Events {
 public:
  using Clock = std::chrono::steady_clock;

  explicit Impl(GrpcLinkOptions options)
      : options_(std::move(options)),
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
  std::uint64_t n_signs() const {
    const std::lock_guard lock(mutex_);
    return n_signs_;
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
  void on_busy(const Busy& busy);
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
  /// With a code that callers of StageLink know as the end of a stream.
  static Error as_stream_error(const Error& why);

  const GrpcLinkOptions options_;
  const std::shared_ptr<CallQueue> queue_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::string peer_;  // for people
  const std::uint64_t head_ = static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch())
          .count());  // of stage A's sessions (StreamEpoch)
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
  StepId slow_;                  // has been warned of
  Clock::time_point last_sign_;  // of work, here or behind
  std::uint64_t n_signs_ = 0;
  std::uint64_t n_done_ = 0;  // here, as last seen
  std::unordered_set<SequenceId> sequences_;
  std::vector<StageInfo> infos_;
  StageSpan lost_ = kAllStages;
  ChainSession session_;  // of the current or next stream
  SentSteps sent_steps_;
  int n_streams_ = 0;
  std::uint32_t n_hellos_ = 0;
  std::jthread keeper_;
};

}  // namespace commissure
