#include "wire/stage_service.h"

#include <grpcpp/health_check_service_interface.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <list>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "core/log.h"
#include "wire/codec.h"
#include "wire/handshake.h"
#include "wire/server_stream.h"
#include "wire/stage.grpc.pb.h"
#include "wire/stage_queries.h"

namespace commissure {
namespace {

using Clock = std::chrono::steady_clock;
using Method = v1::Stage::WithCallbackMethod_Describe<v1::Stage::WithCallbackMethod_Wake<v1::Stage::Service>>;

constexpr std::chrono::milliseconds kHandshakeGlance(10);  // while a stream waits for the chain
constexpr std::chrono::milliseconds kHealthGlance(250);

}  // namespace

class StageService::Impl final : public v1::Stage::WithRawCallbackMethod_Open<Method>, public ServerStream::Events {
 public:
  explicit Impl(StageServiceOptions options);
  ~Impl() override { stop(std::chrono::milliseconds(0)); }

  void serve(StageLink& link);
  void stop(std::chrono::milliseconds grace);
  int n_streams() const;
  void set_health(grpc::HealthCheckServiceInterface* health);

 private:
  /// One step taken from the stage before, in the order of arrival.
  struct Step {
    StepId id;
    std::optional<grpc::ByteBuffer> answer = {};
  };

  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Open(grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* Describe(grpc::CallbackServerContext* context, const v1::DescribeRequest* request,
                                     v1::ChainDescription* answer) override;
  grpc::ServerWriteReactor<v1::ChainDescription>* Wake(grpc::CallbackServerContext* context,
                                                       const v1::WakeRequest* request) override;

  Status check_caller(const grpc::CallbackServerContext& context) const;

  Result<ServerStream::Next> on_frame(ServerStream& stream, Frame frame) override;
  void on_peer_gone(ServerStream& stream) override;
  void on_done(ServerStream& stream) override;
  Result<ServerStream::Next> on_hello(ServerStream& stream, const Hello& hello);
  Result<ServerStream::Next> on_step(ServerStream& stream, StageInput input);
  Status check_step(const StageInput& input) const;
  void on_output(Result<StageOutput> output);

  // With the lock held:
  void answer(Step& step, grpc::ByteBuffer message);
  void end_stream(ServerStream& stream, const Error& why);

  void keep(const std::stop_token& stop);
  void advance_handshake(std::unique_lock<std::mutex>& lock);
  /// Starts loading here and, at the same time, behind.
  void wake();
  /// Nothing while the chain is not ready yet; an error when it will not be.
  Result<std::optional<Hello>> try_ready(const StageInfo& info);
  void drop_silent_streams();

  const StageServiceOptions options_;
  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  std::list<std::unique_ptr<ServerStream>> streams_;  // all that gRPC still knows
  ServerStream* active_ = nullptr;                    // shook hands, its steps are taken
  ServerStream* pending_ = nullptr;                   // said hello, waits for the chain
  bool pending_is_clean_ = false;                     // earlier sequences are forgotten
  ChainSession session_;                              // of the pending or active stream
  KeptRows rows_;
  bool keeps_rows_ = false;  // for the pending or active stream
  bool paused_ = false;
  std::optional<StepId> last_step_;
  StageInfo info_;  // of the active stream's handshake
  std::deque<Step> in_flight_;
  StageLink* link_ = nullptr;
  grpc::HealthCheckServiceInterface* health_ = nullptr;
  bool stopping_ = false;
  bool stopped_ = false;
  int n_streams_ = 0;
  std::jthread waker_;  // keeper thread only
  std::jthread keeper_;
};

StageService::Impl::Impl(StageServiceOptions options) : options_(std::move(options)) {
  if (options_.next != nullptr) {
    options_.next->on_lost([this](const Error& why) {
      const std::lock_guard lock(mutex_);
      if (active_ != nullptr) end_stream(*active_, why);
    });
    options_.next->on_leaving([this](const std::string& reason) {
      const std::lock_guard lock(mutex_);
      if (active_ != nullptr) active_->send(encode_frame(Goodbye{"a stage behind: " + reason}));
    });
  }
  keeper_ = std::jthread([this](const std::stop_token& stop) { keep(stop); });
}

void StageService::Impl::serve(StageLink& link) {
  const std::lock_guard lock(mutex_);
  if (stopping_) return;  // loaded too late
  link.start([this](Result<StageOutput> output) { on_output(std::move(output)); });
  link_ = &link;
  changed_.notify_all();
}

int StageService::Impl::n_streams() const {
  const std::lock_guard lock(mutex_);
  return n_streams_;
}

void StageService::Impl::set_health(grpc::HealthCheckServiceInterface* health) {
  const std::lock_guard lock(mutex_);
  health_ = health;
  changed_.notify_all();
}

void StageService::Impl::stop(std::chrono::milliseconds grace) {
  std::unique_lock lock(mutex_);
  if (stopped_) return;
  stopped_ = stopping_ = true;
  if (health_ != nullptr) health_->SetServingStatus(false);
  health_ = nullptr;
  if (active_ != nullptr) active_->send(encode_frame(Goodbye{"this stage is shutting down"}));
  // Steps are taken until the stage before has moved, so that none on the way is lost.
  changed_.wait_for(lock, grace, [this] { return in_flight_.empty() && active_ == nullptr; });
  for (const auto& stream : streams_) end_stream(*stream, Error(Code::kUnavailable, "this stage is shutting down"));
  StageLink* const link = std::exchange(link_, nullptr);
  lock.unlock();
  keeper_.request_stop();
  if (keeper_.joinable()) keeper_.join();
  waker_ = {};
  if (link != nullptr) link->stop();
}

Status StageService::Impl::check_caller(const grpc::CallbackServerContext& context) const {
  if (!options_.callers) return {};
  const auto& headers = context.client_metadata();
  const auto header = headers.find("authorization");
  const grpc::string_ref value = header == headers.end() ? grpc::string_ref() : header->second;
  Status allowed = headers.count("authorization") > 1
                       ? Status(Error(Code::kUnauthenticated, "the call carries several authorizations"))
                       : options_.callers->check({value.data(), value.size()});
  if (!allowed) log_warning("a call was refused", {{"peer", context.peer()}, {"why", allowed.error().message()}});
  return allowed;
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* StageService::Impl::Open(
    grpc::CallbackServerContext* context) {
  const Status allowed = check_caller(*context);
  auto stream = std::make_unique<ServerStream>(*this);
  ServerStream* const opened = stream.get();
  const std::lock_guard lock(mutex_);
  streams_.push_back(std::move(stream));
  if (!allowed) {
    opened->finish(allowed.error());
  } else if (stopping_) {
    opened->finish(Error(Code::kUnavailable, "this stage is shutting down"));
  } else {
    opened->begin();
  }
  return opened;
}

Result<ServerStream::Next> StageService::Impl::on_frame(ServerStream& stream, Frame frame) {
  if (const auto* hello = std::get_if<Hello>(&frame)) return on_hello(stream, *hello);
  if (auto* input = std::get_if<StageInput>(&frame)) return on_step(stream, std::move(*input));
  if (std::holds_alternative<Goodbye>(frame)) return ServerStream::Next::kRead;  // the end follows by itself
  return Error(Code::kDataLoss, "results do not travel downstream");
}

Result<ServerStream::Next> StageService::Impl::on_hello(ServerStream& stream, const Hello& hello) {
  TRY(accept_client_hello(options_.self.info(), hello));
  const std::lock_guard lock(mutex_);
  if (stopping_) return Error(Code::kUnavailable, "this stage is shutting down");
  if (&stream == active_ || &stream == pending_) return Error(Code::kDataLoss, "a second hello");
  for (ServerStream* old : {active_, pending_}) {
    if (old != nullptr) end_stream(*old, Error(Code::kAborted, "replaced by a newer stream"));
  }
  pending_ = &stream;
  pending_is_clean_ = false;
  session_ = {hello.session, hello.resumes};
  changed_.notify_all();
  return ServerStream::Next::kRead;
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

Result<ServerStream::Next> StageService::Impl::on_step(ServerStream& stream, StageInput input) {
  const StepId id = input.batch.step;
  std::unique_lock lock(mutex_);
  if (&stream != active_) return Error(Code::kDataLoss, "step ", id.value, " came before the handshake was over");
  if (session_.name.empty()) return Error(Code::kDataLoss, "step ", id.value, " came in a session without a name");
  if (last_step_ && id <= *last_step_) {
    return Error(Code::kDataLoss, "step ", id.value, " came after step ", last_step_->value);
  }
  last_step_ = id;
  Step& step = in_flight_.emplace_back(Step{id});
  Status accepted = check_step(input);
  StageLink* const link = link_;
  if (link == nullptr) accepted = Error(Code::kUnavailable, "this stage is shutting down");
  if (accepted) {
    lock.unlock();
    accepted = link->submit(std::move(input));
    lock.lock();
  }
  // A refused step has no answer of its own to come, so it is still the newest one here.
  if (!accepted) answer(step, encode_frame(StepError{id, accepted.error()}));
  paused_ = &stream == active_ && in_flight_.size() >= static_cast<std::size_t>(options_.max_in_flight);
  return paused_ ? ServerStream::Next::kPause : ServerStream::Next::kRead;
}

void StageService::Impl::on_output(Result<StageOutput> output) {
  const std::lock_guard lock(mutex_);
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
  }
  if (paused_ && active_ != nullptr && in_flight_.size() < static_cast<std::size_t>(options_.max_in_flight)) {
    paused_ = false;
    active_->resume();
  }
  if (in_flight_.empty() && (pending_ != nullptr || stopping_)) changed_.notify_all();
}

void StageService::Impl::end_stream(ServerStream& stream, const Error& why) {
  if (&stream == active_) {
    active_ = nullptr;
    paused_ = false;
    if (stopping_) changed_.notify_all();
    log_warning("stream ended", {{"session", session_.name}, {"why", why.to_string()}});
  }
  if (&stream == pending_) pending_ = nullptr;
  stream.finish(why);
}

void StageService::Impl::on_peer_gone(ServerStream& stream) {
  const std::lock_guard lock(mutex_);
  end_stream(stream, Error(Code::kCancelled, "the stage before ended the stream"));
}

void StageService::Impl::on_done(ServerStream& stream) {
  const std::lock_guard lock(mutex_);
  if (&stream == active_) active_ = nullptr;
  if (&stream == pending_) pending_ = nullptr;
  streams_.remove_if([&](const auto& owned) { return owned.get() == &stream; });
  changed_.notify_all();
}

void StageService::Impl::keep(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    if (health_ != nullptr) health_->SetServingStatus("", options_.self.info().state == LoadState::kReady);
    drop_silent_streams();
    if (pending_ != nullptr) advance_handshake(lock);
    const ServerStream* const waiting = pending_;
    const bool attached = link_ != nullptr;
    changed_.wait_for(lock, stop, waiting != nullptr ? kHandshakeGlance : kHealthGlance,
                      [&] { return pending_ != waiting || attached != (link_ != nullptr); });
  }
}

void StageService::Impl::drop_silent_streams() {
  for (const auto& stream : streams_) {
    const bool shook = stream.get() == active_ || stream.get() == pending_;
    if (!shook && Clock::now() - stream->opened() > options_.hello_wait) {
      stream->finish(Error(Code::kDeadlineExceeded, "no hello within ", options_.hello_wait.count(), " ms"));
    }
  }
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

void StageService::Impl::advance_handshake(std::unique_lock<std::mutex>& lock) {
  if (!in_flight_.empty()) return;  // of the stream before; dropped when answered
  ServerStream* const stream = pending_;
  if (!pending_is_clean_) {
    pending_is_clean_ = true;
    keeps_rows_ = rows_.begin(session_);
    const bool any_rows = rows_.any();
    const ChainSession session = session_;
    lock.unlock();
    wake();
    options_.on_new_stream(any_rows);
    if (options_.next != nullptr) options_.next->restart(session);
    lock.lock();
  }
  lock.unlock();
  const StageInfo info = options_.self.info();
  lock.lock();
  if (pending_ != stream || !pending_is_clean_) return;  // another one, maybe at the same address
  Result<std::optional<Hello>> hello = try_ready(info);
  if (!hello) return end_stream(*stream, hello.error());
  if (!hello->has_value()) return;
  info_ = info;
  active_ = std::exchange(pending_, nullptr);
  last_step_.reset();
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

grpc::ServerUnaryReactor* StageService::Impl::Describe(grpc::CallbackServerContext* context, const v1::DescribeRequest*,
                                                       v1::ChainDescription* answer) {
  if (const Status allowed = check_caller(*context); !allowed) {
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    reactor->Finish(to_grpc(allowed.error()));
    return reactor;
  }
  return answer_describe(*context, options_.self, options_.next_client, *answer);
}

grpc::ServerWriteReactor<v1::ChainDescription>* StageService::Impl::Wake(grpc::CallbackServerContext* context,
                                                                         const v1::WakeRequest*) {
  if (const Status allowed = check_caller(*context); !allowed) return refuse_wake(allowed.error());
  return answer_wake(*context, options_.self, options_.next_client);
}

StageService::StageService(StageServiceOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}
StageService::~StageService() = default;
void StageService::serve(StageLink& link) { impl_->serve(link); }
void StageService::stop(std::chrono::milliseconds grace) { impl_->stop(grace); }
int StageService::n_streams() const { return impl_->n_streams(); }
grpc::Service& StageService::grpc_service() { return *impl_; }
void StageService::set_health(grpc::HealthCheckServiceInterface* health) { impl_->set_health(health); }

}  // namespace commissure
