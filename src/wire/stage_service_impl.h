#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string_view>
#include <thread>
#include <vector>

#include "core/log_limiter.h"
#include "core/mutex.h"
#include "wire/chain_session.h"
#include "wire/frame.h"
#include "wire/server_call.h"
#include "wire/stage_service.h"

namespace commissure {

/// The side of the steps (stage_service.cc) and that of the streams (stage_service_keeper.cc).
class StageService::Impl final : public ServerCall::Events {
 public:
  explicit Impl(StageServiceOptions options);
  ~Impl() override { stop(std::chrono::milliseconds(0)); }

  void take(ServerCall& call);
  void serve(StageLink& link);
  void stop(std::chrono::milliseconds grace);
  int n_streams() const;

 private:
  using Clock = std::chrono::steady_clock;

  /// One step taken from the stage before, in the order of arrival.
  struct Step {
    StepId id;
    Clock::time_point since;
    std::optional<grpc::ByteBuffer> answer = {};
  };

  Status check_caller(const ServerCall& call) const;
  void log_refusal(std::string_view what, const ServerCall& call, const Error& why) const;
  bool is_serving() const;

  Result<ServerCall::Next> on_message(ServerCall& stream, const grpc::ByteBuffer& message) override;
  void on_peer_gone(ServerCall& stream) override;
  void on_done(ServerCall& stream) override;
  Result<ServerCall::Next> on_hello(ServerCall& stream, const Hello& hello);
  Result<ServerCall::Next> on_step(ServerCall& stream, StageInput input);
  Status check_succession(const ServerCall& stream, const ChainSession& session) REQUIRES(mutex_);
  Status check_step(const StageInput& input) const REQUIRES(mutex_);
  Status try_step(StageInput input) REQUIRES(mutex_);
  void on_output(Result<StageOutput> output);
  std::optional<grpc::ByteBuffer> try_encode(StepId step, Result<StageOutput> output) REQUIRES(mutex_);
  grpc::ByteBuffer encode_answer(StepId step, Result<StageOutput> output) REQUIRES(mutex_);

  /// Without a message, which there was no memory for, its stream ends.
  void answer(Step& step, std::optional<grpc::ByteBuffer> message) REQUIRES(mutex_);
  /// Needs no memory.
  void end_stream(ServerCall& stream, const Error& why) REQUIRES(mutex_);

  void keep(const std::stop_token& stop);
  void look_around() REQUIRES(mutex_);
  void advance_handshake() REQUIRES(mutex_);
  /// Every stage from here on forgets what the pending stream does not resume.
  void begin_stream() REQUIRES(mutex_);
  /// Starts loading here and, at the same time, behind.
  void wake();
  /// Nothing while the chain is not ready yet; an error when it will not be.
  Result<std::optional<Hello>> try_ready(const StageInfo& info) REQUIRES(mutex_);
  void drop_silent_streams() REQUIRES(mutex_);
  void tell_busy() REQUIRES(mutex_);

  const StageServiceOptions options_;
  mutable LogLimiter refusals_, begins_, ends_;  // of lines that peers cause
  mutable Mutex mutex_;
  StoppableCondition changed_;
  std::vector<ServerCall*> streams_ GUARDED_BY(mutex_);  // all that gRPC still knows
  ServerCall* active_ GUARDED_BY(mutex_) = nullptr;      // shook hands, its steps are taken
  ServerCall* pending_ GUARDED_BY(mutex_) = nullptr;     // said hello, waits for the chain
  bool pending_is_clean_ GUARDED_BY(mutex_) = false;     // earlier sequences are forgotten
  ChainSession session_ GUARDED_BY(mutex_);              // of the pending or active stream
  KeptRows rows_ GUARDED_BY(mutex_);
  bool keeps_rows_ GUARDED_BY(mutex_) = false;  // for the pending or active stream
  bool paused_ GUARDED_BY(mutex_) = false;
  std::optional<StepId> last_step_ GUARDED_BY(mutex_);
  StageInfo info_ GUARDED_BY(mutex_);  // of the active stream's handshake
  std::deque<Step> in_flight_ GUARDED_BY(mutex_);
  Clock::time_point last_work_ GUARDED_BY(mutex_);  // a step came or was answered, or a stream was taken
  Clock::time_point told_busy_ GUARDED_BY(mutex_);  // to the pending or active stream
  std::uint64_t n_signs_ GUARDED_BY(mutex_) = 0;    // of the stages behind, as last seen
  std::uint64_t heir_ GUARDED_BY(mutex_) = 0;  // the newer stage A that came last, and since when it wants this stream
  Clock::time_point heir_since_ GUARDED_BY(mutex_);
  StageLink* link_ GUARDED_BY(mutex_) = nullptr;
  bool stopping_ GUARDED_BY(mutex_) = false;
  bool stopped_ GUARDED_BY(mutex_) = false;
  int n_streams_ GUARDED_BY(mutex_) = 0;
  std::jthread waker_;  // keeper thread only
  std::jthread keeper_;
};

}  // namespace commissure
