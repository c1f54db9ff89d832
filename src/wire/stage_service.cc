#include "wire/stage_service.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "core/log.h"
#include "core/mutex.h"
#include "wire/codec.h"
#include "wire/handshake.h"
#include "wire/server_call.h"
#include "wire/stage_queries.h"

namespace commissure {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kHandshakeGlance(10);  // while a stream waits for the chain
constexpr std::chrono::milliseconds kSilenceGlance(250);   // for streams that say no hello
constexpr std::chrono::seconds kRefusalPause(10);          // refusals that are closer together are told once

}  // namespace

class StageService::Impl final : public ServerCall::Events {
 public:
  explicit Impl(StageServiceOptions options);
  ~Impl() override { stop(std::chrono::milliseconds(0)); }

  void take(ServerCall& call);
  void serve(StageLink& link);
  void stop(std::chrono::milliseconds grace);
  int n_streams() const;

 private:
  /// One step taken from the stage before, in the order of arrival.
  struct Step {
    StepId id;
    Clock::time_point since;
    std::optional<grpc::ByteBuffer> answer = {};
  };

  Status check_caller(const ServerCall& call) const;
  bool is_serving() const;

  Result<ServerCall::Next> on_message(ServerCall& stream, const grpc::ByteBuffer& message) override;
  void on_peer_gone(ServerCall& stream) override;
  void on_done(ServerCall& stream) override;
  Result<ServerCall::Next> on_hello(ServerCall& stream, const Hello& hello);
  Result<ServerCall::Next> on_step(ServerCall& stream, StageInput input);
  Status check_succession(const ServerCall& stream, const ChainSession& session) REQUIRES(mutex_);
  Status check_step(const StageInput& input) const REQUIRES(mutex_);
  void on_output(Result<StageOutput> output);

  void answer(Step& step, grpc::ByteBuffer message) REQUIRES(mutex_);
  void end_stream(ServerCall& stream, const Error& why) REQUIRES(mutex_);

  void keep(const std::stop_token& stop);
  void advance_handshake() REQUIRES(mutex_);
  /// Starts loading here and, at the same time, behind.
  void wake();
  /// Nothing while the chain is not ready yet; an error when it will not be.
  Result<std::optional<Hello>> try_ready(const StageInfo& info) REQUIRES(mutex_);
  void drop_silent_streams() REQUIRES(mutex_);
  void tell_busy() REQUIRES(mutex_);

  const StageServiceOptions options_;
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
  Clock::time_point told_refusal_ GUARDED_BY(mutex_);  // in the log
  StageLink* link_ GUARDED_BY(mutex_) = nullptr;
  bool stopping_ GUARDED_BY(mutex_) = false;
  bool stopped_ GUARDED_BY(mutex_) = false;
  int n_streams_ GUARDED_BY(mutex_) = 0;
  std::jthread waker_;  // keeper thread only
  std::jthread keeper_;
};

StageService::Impl::Impl(StageServiceOptions options) : options_(std::move(options)) {
  if (options_.next != nullptr) {
    options_.next->on_lost([this](const Error& why) {
      const MutexLock lock(mutex_);
      if (active_ != nullptr) end_stream(*active_, why);
    });
    options_.next->on_leaving([this](const std::string& reason) {
      const MutexLock lock(mutex_);
      if (active_ != nullptr) active_->send(encode_frame(Goodbye{"a stage behind: " + reason}));
    });
  }
  keeper_ = std::jthread([this](const std::stop_token& stop) { keep(stop); });
}

void StageService::Impl::serve(StageLink& link) {
  const MutexLock lock(mutex_);
  if (stopping_) return;  // loaded too late
  link.start([this](Result<StageOutput> output) { on_output(std::move(output)); });
  link_ = &link;
  changed_.notify_all();
}

int StageService::Impl::n_streams() const {
  const MutexLock lock(mutex_);
  return n_streams_;
}

void StageService::Impl::stop(std::chrono::milliseconds grace) {
  StageLink* link = nullptr;
  {
    const MutexLock lock(mutex_);
    if (stopped_) return;
    stopped_ = stopping_ = true;
    if (active_ != nullptr) active_->send(encode_frame(Goodbye{"this stage is shutting down"}));
    // Steps are taken until the stage before has moved, so that none on the way is lost.
    changed_.wait_for(mutex_, grace, [this]() REQUIRES(mutex_) { return in_flight_.empty() && active_ == nullptr; });
    for (ServerCall* stream : streams_) end_stream(*stream, Error(Code::kUnavailable, "this stage is shutting down"));
    link = std::exchange(link_, nullptr);
  }
  keeper_.request_stop();
  if (keeper_.joinable()) keeper_.join();
  waker_ = {};
  if (link != nullptr) link->stop();
}

Status StageService::Impl::check_caller(const ServerCall& call) const {
  if (!options_.callers) return {};
  const auto& headers = call.context().client_metadata();
  const auto header = headers.find("authorization");
  const grpc::string_ref value = header == headers.end() ? grpc::string_ref() : header->second;
  Status allowed = headers.count("authorization") > 1
                       ? Status(Error(Code::kUnauthenticated, "the call carries several authorizations"))
                       : options_.callers->check({value.data(), value.size()});
  if (!allowed)
    log_warning("a call was refused", {{"peer", call.context().peer()}, {"why", allowed.error().message()}});
  return allowed;
}

bool StageService::Impl::is_serving() const {
  const MutexLock lock(mutex_);
  return !stopping_ && options_.self.info().state == LoadState::kReady;
}

void StageService::Impl::take(ServerCall& call) {
  const std::string& method = call.method();
  const bool watch = method == "/grpc.health.v1.Health/Watch";
  // Health says only whether the stage serves, to anybody: the platform's probes carry no token.
  if (watch || method == "/grpc.health.v1.Health/Check") {
    return answer_health(call, [this] { return is_serving(); }, watch);
  }
  if (const Status allowed = check_caller(call); !allowed) return call.finish(to_grpc(allowed.error()));
  if (method == "/commissure.v1.Stage/Describe") return answer_describe(call, options_.self, options_.next_client);
  if (method == "/commissure.v1.Stage/Wake") return answer_wake(call, options_.self, options_.next_client);
  if (method != "/commissure.v1.Stage/Open") {
    return call.finish(grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "a stage has no such method"));
  }
  const MutexLock lock(mutex_);
  if (stopping_) return call.finish(to_grpc(Error(Code::kUnavailable, "this stage is shutting down")));
  streams_.push_back(&call);
  call.begin(*this);
}

Result<ServerCall::Next> StageService::Impl::on_message(ServerCall& stream, const grpc::ByteBuffer& message) {
  Frame frame = TRY(decode_frame(message));
  if (const auto* hello = std::get_if<Hello>(&frame)) return on_hello(stream, *hello);
  if (auto* input = std::get_if<StageInput>(&frame)) return on_step(stream, std::move(*input));
  if (std::holds_alternative<Goodbye>(frame)) return ServerCall::Next::kRead;  // the end follows by itself
  return Error(Code::kDataLoss, "results do not travel downstream");
}

Result<ServerCall::Next> StageService::Impl::on_hello(ServerCall& stream, const Hello& hello) {
  TRY(accept_client_hello(options_.self.info(), hello));
  const MutexLock lock(mutex_);
  if (stopping_) return Error(Code::kUnavailable, "this stage is shutting down");
  if (&stream == active_ || &stream == pending_) return Error(Code::kDataLoss, "a second hello");
  ChainSession session{hello.session, hello.resumes, hello.epoch};
  TRY(check_succession(stream, session));
  const bool is_other = session.epoch.head != session_.epoch.head;
  for (ServerCall* old : {active_, pending_}) {
    if (old != nullptr)
      end_stream(*old, Error(Code::kAborted, is_other ? "replaced by a newer stage A" : "replaced by a newer stream"));
  }
  pending_ = &stream;
  pending_is_clean_ = false;
  session_ = std::move(session);
  told_busy_ = {};
  changed_.notify_all();
  return ServerCall::Next::kRead;
}

Status StageService::Impl::check_succession(const ServerCall& stream, const ChainSession& session) {
  if (session.epoch.head == kBreakingHead && !stream.context().peer().starts_with("unix:"))
    return Error(Code::kPermissionDenied, "only this machine may break a stream on purpose");
  if (active_ == nullptr && pending_ == nullptr) return {};
  const Clock::time_point now = Clock::now();
  const bool is_newer = session.epoch.head > session_.epoch.head;
  if (is_newer && std::exchange(heir_, session.epoch.head) != session.epoch.head) heir_since_ = now;
  const bool is_silent = in_flight_.empty() && now - last_work_ > options_.head_silence;
  const bool gives_way = is_silent || (is_newer && now - heir_since_ > options_.head_patience);
  const auto refuse = [&](Code code, const auto&... why) REQUIRES(mutex_) -> Status {
    const Error error(code, "this stage serves ", why...);
    if (now - told_refusal_ > kRefusalPause)
      log_warning("refused", {{"peer", stream.context().peer()}, {"why", error.message()}});
    told_refusal_ = now;
    return error;
  };
  switch (succession(session_, gives_way, session)) {
    case Succession::kReplace: return {};
    case Succession::kIsTooSoon:
      return refuse(Code::kUnavailable, "an older stage A, which is at work and gives way when it is silent");
    case Succession::kIsOlder:
      return refuse(Code::kAborted, "a stage A that began to run later; a chain has one: end this one or the other");
    case Succession::kIsNobodys: return refuse(Code::kAborted, "a stream, and no stage A is behind this one yet");
  }
  return {};
}

Status StageService::Impl::check_step(const StageInput& input) const {
  TRY(validate(input.batch));
  if (info_.max_rows > 0 && input.batch.n_rows() > info_.max_rows) {
    return Error(Code::kInvalidArgument, "step ", input.batch.step.value, " has ", input.batch.n_rows(),
                 " rows, this stage takes ", info_.max_rows);
  }
  if (input.batch.n_rows() > 0 && input.boundary.d_model != info_.d_model) {
    return Error(Code::kInvalidArgument, "step ", input.batch.step.value, " has rows of ", input.boundary.d_model,
                 " values, the model's have ", info_.d_model);
  }
  return {};
}

Result<ServerCall::Next> StageService::Impl::on_step(ServerCall& stream, StageInput input) {
  const StepId id = input.batch.step;
  const MutexLock lock(mutex_);
  if (&stream != active_) return Error(Code::kDataLoss, "step ", id.value, " came before the handshake was over");
  if (session_.name.empty()) return Error(Code::kDataLoss, "step ", id.value, " came in a session without a name");
  if (last_step_ && id <= *last_step_) {
    return Error(Code::kDataLoss, "step ", id.value, " came after step ", last_step_->value);
  }
  last_step_ = id;
  last_work_ = Clock::now();
  Step& step = in_flight_.emplace_back(Step{id, last_work_});
  Status accepted = check_step(input);
  StageLink* const link = link_;
  if (link == nullptr) accepted = Error(Code::kUnavailable, "this stage is shutting down");
  if (accepted) {
    const MutexUnlock free(mutex_);
    accepted = link->submit(std::move(input));
  }
  // A refused step has no answer of its own to come, so it is still the newest one here.
  if (!accepted) answer(step, encode_frame(StepError{id, accepted.error()}));
  paused_ = &stream == active_ && in_flight_.size() >= static_cast<std::size_t>(options_.max_in_flight);
  return paused_ ? ServerCall::Next::kPause : ServerCall::Next::kRead;
}

void StageService::Impl::on_output(Result<StageOutput> output) {
  const MutexLock lock(mutex_);
  const auto step = std::find_if(in_flight_.begin(), in_flight_.end(), [](const Step& s) { return !s.answer; });
  if (step == in_flight_.end()) return;
  if (output && !std::holds_alternative<SampledTokens>(output->value)) {
    output = Error(Code::kFailedPrecondition, "the last stage of the chain does not sample: check the cuts");
  }
  if (!output) return answer(*step, encode_frame(StepError{step->id, output.error()}));
  if (active_ != nullptr) rows_.on_step(session_);
  auto& tokens = std::get<SampledTokens>(output->value);
  tokens.step = step->id;
  tokens.timings = std::move(output->timings);
  answer(*step, encode_frame(tokens));
}

void StageService::Impl::answer(Step& step, grpc::ByteBuffer message) {
  step.answer = std::move(message);
  while (!in_flight_.empty() && in_flight_.front().answer) {
    // Steps of a stream that is gone are awaited, so that the stage is quiet before the next one, and dropped.
    if (active_ != nullptr) active_->send(std::move(*in_flight_.front().answer));
    in_flight_.pop_front();
    last_work_ = Clock::now();
  }
  if (paused_ && active_ != nullptr && in_flight_.size() < static_cast<std::size_t>(options_.max_in_flight)) {
    paused_ = false;
    active_->resume();
  }
  if (in_flight_.empty() && (pending_ != nullptr || stopping_)) changed_.notify_all();
}

void StageService::Impl::end_stream(ServerCall& stream, const Error& why) {
  if (&stream == active_) {
    active_ = nullptr;
    paused_ = false;
    if (stopping_) changed_.notify_all();
    log_warning("stream ended", {{"session", session_.name}, {"why", why.to_string()}});
  }
  if (&stream == pending_) pending_ = nullptr;
  stream.finish(to_grpc(why));
}

void StageService::Impl::on_peer_gone(ServerCall& stream) {
  const MutexLock lock(mutex_);
  end_stream(stream, Error(Code::kCancelled, "the stage before ended the stream"));
}

void StageService::Impl::on_done(ServerCall& stream) {
  const MutexLock lock(mutex_);
  if (&stream == active_) active_ = nullptr;
  if (&stream == pending_) pending_ = nullptr;
  std::erase(streams_, &stream);
  changed_.notify_all();
}

void StageService::Impl::keep(const std::stop_token& stop) {
  const auto glance = std::min(kSilenceGlance, options_.busy_interval / 2);
  const MutexLock lock(mutex_);
  while (!stop.stop_requested()) {
    drop_silent_streams();
    if (pending_ != nullptr) advance_handshake();
    tell_busy();
    const ServerCall* const waiting = pending_;
    const bool attached = link_ != nullptr;
    changed_.wait_for(mutex_, stop, waiting != nullptr ? kHandshakeGlance : glance,
                      [&]() REQUIRES(mutex_) { return pending_ != waiting || attached != (link_ != nullptr); });
  }
}

void StageService::Impl::drop_silent_streams() {
  for (ServerCall* stream : streams_) {
    const bool shook = stream == active_ || stream == pending_;
    if (!shook && Clock::now() - stream->opened() > options_.hello_wait) {
      stream->finish(to_grpc(Error(Code::kDeadlineExceeded, "no hello within ", options_.hello_wait.count(), " ms")));
    }
  }
}

/// Work that takes long is told of while it goes on: to the stage before, or to the one that comes anew and waits until
/// the steps of the stream before are over.
void StageService::Impl::tell_busy() {
  ServerCall* const stream = pending_ != nullptr ? pending_ : active_;
  if (stream == nullptr || in_flight_.empty()) return;
  const Clock::time_point now = Clock::now();
  const Step& oldest = in_flight_.front();
  const bool is_long = pending_ != nullptr || now - oldest.since > options_.busy_interval;
  if (!is_long || now - told_busy_ < options_.busy_interval) return;
  const std::uint64_t n_signs = options_.next != nullptr ? options_.next->n_signs() : 0;
  const bool go_on_behind = std::exchange(n_signs_, n_signs) != n_signs;
  if (!options_.gets_on() && !go_on_behind) return;
  told_busy_ = now;
  stream->send(encode_frame(
      Busy{fmt::format("at work on step {}{}{}", oldest.id.value, pending_ != nullptr ? " of the stream before" : "",
                       go_on_behind ? ", here or behind" : "")}));
}

void StageService::Impl::wake() {
  if (options_.self.info().state == LoadState::kReady) return;
  options_.self.wake();
  // The link to the next stage is started only when this one is loaded, so the next one is woken beside it.
  if (options_.next_client == nullptr || waker_.joinable()) return;
  waker_ = std::jthread([next = options_.next_client](const std::stop_token& stop) {
    const Status woken = next->wake(kWakeTimeout, [](const auto&) {}, stop);
    if (!woken) log_warning("the next stage was not woken", {{"why", woken.error().to_string()}});
  });
}

void StageService::Impl::advance_handshake() {
  if (!in_flight_.empty()) return;  // of the stream before; dropped when answered
  ServerCall* const stream = pending_;
  if (!pending_is_clean_) {
    pending_is_clean_ = true;
    keeps_rows_ = rows_.begin(session_);
    const StageMemory left = rows_.left();
    const ChainSession session = session_;
    const MutexUnlock free(mutex_);
    wake();
    options_.on_new_stream(left);
    if (options_.next != nullptr) options_.next->restart(session);
  }
  const StageInfo info = [&]() REQUIRES(mutex_) {
    const MutexUnlock free(mutex_);
    return options_.self.info();
  }();
  if (pending_ != stream || !pending_is_clean_) return;  // another one, maybe at the same address
  Result<std::optional<Hello>> hello = try_ready(info);
  if (!hello) return end_stream(*stream, hello.error());
  if (!hello->has_value()) return;
  info_ = info;
  active_ = std::exchange(pending_, nullptr);
  last_step_.reset();
  last_work_ = Clock::now();
  ++n_streams_;
  active_->send(encode_frame(**hello));
  log_info("stream taken", {{"session", session_.name}});
}

Result<std::optional<Hello>> StageService::Impl::try_ready(const StageInfo& info) {
  if (info.state == LoadState::kFailed) {
    return Error(Code::kUnavailable, "stage ", info.plan.name(), " failed to load: ", info.problem);
  }
  const bool late = Clock::now() - pending_->opened() > options_.ready_wait;
  if (info.state != LoadState::kReady || link_ == nullptr) {
    if (!late) return std::optional<Hello>();
    return Error(Code::kUnavailable, "stage ", info.plan.name(), " is ", load_state_name(info.state), ": ",
                 info.loaded_bytes, " of ", info.weight_bytes, " bytes");
  }
  if (Status healthy = link_->health(); !healthy) {
    const bool hopeless = healthy.error().code() == Code::kFailedPrecondition;
    if (hopeless || late) return healthy.error();
    return std::optional<Hello>();
  }
  if (options_.next == nullptr && !info.plan.is_last()) {
    return Error(Code::kFailedPrecondition, "stage ", info.plan.name(), " is not the last of ", info.plan.n_stages,
                 " stages and has no next endpoint: set NEXT_ENDPOINT");
  }
  Hello hello;
  hello.session = session_.name;
  hello.stages = {info};
  hello.kept = {keeps_rows_};
  if (options_.next != nullptr) {
    const StageSpan lost = options_.next->lost();
    for (const StageInfo& stage : options_.next->infos()) {
      hello.stages.push_back(stage);
      hello.kept.push_back(!lost.contains(stage.plan.index));
    }
  }
  return std::optional<Hello>(std::move(hello));
}

StageService::StageService(StageServiceOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}
StageService::~StageService() = default;
void StageService::serve(StageLink& link) { impl_->serve(link); }
void StageService::stop(std::chrono::milliseconds grace) { impl_->stop(grace); }
int StageService::n_streams() const { return impl_->n_streams(); }
void StageService::take(ServerCall& call) { impl_->take(call); }

}  // namespace commissure
