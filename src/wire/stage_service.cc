#include "wire/stage_service.h"

#include <algorithm>
#include <utility>

#include "core/log.h"
#include "core/scarce.h"
#include "wire/codec.h"
#include "wire/stage_queries.h"
#include "wire/stage_service_impl.h"

// The side of the steps: calls come, steps go to the link, answers go back. stage_service_keeper.cc decides whose
// steps.

namespace commissure {

StageService::Impl::Impl(StageServiceOptions options) : options_(std::move(options)) {
  if (options_.next != nullptr) {
    options_.next->on_lost([this](const Error& why) {
      const MutexLock lock(mutex_);
      if (active_ != nullptr) end_stream(*active_, why);
    });
    options_.next->on_leaving([this](const std::string& reason) {
      const MutexLock lock(mutex_);
      done_unless_scarce([&]() REQUIRES(mutex_) {
        if (active_ != nullptr) active_->send(encode_frame(Goodbye{"a stage behind: " + reason}));
      });
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
    done_unless_scarce([&]() REQUIRES(mutex_) {
      if (active_ != nullptr) active_->send(encode_frame(Goodbye{"this stage is shutting down"}));
    });
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
  if (!allowed) log_refusal("a call was refused", call, allowed.error());
  return allowed;
}

/// Anybody who reaches the port can cause such lines.
void StageService::Impl::log_refusal(std::string_view what, const ServerCall& call, const Error& why) const {
  log_limited(refusals_, Severity::kWarning, what, {{"peer", call.context().peer()}, {"why", why.message()}});
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
  if (method == "/commissure.v1.Stage/LoadAdapter")
    return answer_load_adapter(call, options_.self, options_.next_client);
  if (method == "/commissure.v1.Stage/DropAdapter")
    return answer_drop_adapter(call, options_.self, options_.next_client);
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

Status StageService::Impl::check_step(const StageInput& input) const {
  TRY(validate(input.batch));
  if (info_.max_rows > 0 && input.batch.n_rows() > info_.max_rows) {
    return Error(Code::kInvalidArgument, "step ", input.batch.step.value, " has ", input.batch.n_rows(),
                 " rows, this stage takes ", info_.max_rows);
  }
  const int width = info_.row_width > 0 ? info_.row_width : info_.d_model;
  if (input.batch.n_rows() > 0 && input.boundary.d_model != width) {
    return Error(Code::kInvalidArgument, "step ", input.batch.step.value, " has rows of ", input.boundary.d_model,
                 " values, the model's have ", width, " in front of this stage");
  }
  return {};
}

Status StageService::Impl::try_step(StageInput input) {
  TRY(check_step(input));
  StageLink* const link = link_;
  if (link == nullptr) return Error(Code::kUnavailable, "this stage is shutting down");
  const MutexUnlock free(mutex_);
  return link->submit(std::move(input));
}

Result<ServerCall::Next> StageService::Impl::on_step(ServerCall& stream, StageInput input) {
  const StepId id = input.batch.step;
  const MutexLock lock(mutex_);
  if (&stream != active_) return Error(Code::kDataLoss, "step ", id.value, " came before the handshake was over");
  if (session_.name.empty()) return Error(Code::kDataLoss, "step ", id.value, " came in a session without a name");
  if (last_step_ && id <= *last_step_) {
    return Error(Code::kDataLoss, "step ", id.value, " came after step ", last_step_->value);
  }
  Step& step = in_flight_.emplace_back(Step{id, Clock::now()});
  last_step_ = id;
  last_work_ = step.since;
  const Status accepted = unless_scarce([&]() REQUIRES(mutex_) { return try_step(std::move(input)); },
                                        []() -> Status { return no_memory(); });
  // A refused step has no answer of its own to come, so it is still the newest one here.
  if (!accepted) answer(step, try_encode(id, accepted.error()));
  paused_ = &stream == active_ && std::cmp_greater_equal(in_flight_.size(), options_.max_in_flight);
  return paused_ ? ServerCall::Next::kPause : ServerCall::Next::kRead;
}

void StageService::Impl::on_output(Result<StageOutput> output) {
  const MutexLock lock(mutex_);
  const auto step = std::find_if(in_flight_.begin(), in_flight_.end(), [](const Step& s) { return !s.answer; });
  if (step == in_flight_.end()) return;
  answer(*step, try_encode(step->id, std::move(output)));
}

/// Where there is no memory for an answer the step fails instead; nothing where there is none for that either.
std::optional<grpc::ByteBuffer> StageService::Impl::try_encode(StepId step, Result<StageOutput> output) {
  using Message = std::optional<grpc::ByteBuffer>;
  const auto fail = [&] {
    return unless_scarce([&]() -> Message { return encode_frame(StepError{step, no_memory()}); },
                         []() -> Message { return std::nullopt; });
  };
  const auto encode = [&]() REQUIRES(mutex_) -> Message { return encode_answer(step, std::move(output)); };
  return unless_scarce(encode, fail);
}

grpc::ByteBuffer StageService::Impl::encode_answer(StepId step, Result<StageOutput> output) {
  if (output && !std::holds_alternative<SampledTokens>(output->value)) {
    output = Error(Code::kFailedPrecondition, "the last stage of the chain does not sample: check the cuts");
  }
  if (!output) return encode_frame(StepError{step, std::move(output).error()});
  if (active_ != nullptr) rows_.on_step(session_);
  auto& tokens = std::get<SampledTokens>(output->value);
  tokens.step = step;
  tokens.timings = std::move(output->timings);
  return encode_frame(tokens);
}

void StageService::Impl::answer(Step& step, std::optional<grpc::ByteBuffer> message) {
  if (!message && active_ != nullptr) end_stream(*active_, no_memory(Code::kUnavailable));
  step.answer = message ? std::move(*message) : grpc::ByteBuffer();
  while (!in_flight_.empty() && in_flight_.front().answer) {
    // Steps of a stream that is gone are awaited, so that the stage is quiet before the next one, and dropped.
    const auto send = [this]() REQUIRES(mutex_) {
      if (active_ != nullptr) active_->send(std::move(*in_flight_.front().answer));
    };
    if (!done_unless_scarce(send)) end_stream(*active_, no_memory(Code::kUnavailable));
    in_flight_.pop_front();
    last_work_ = Clock::now();
  }
  if (paused_ && active_ != nullptr && std::cmp_less(in_flight_.size(), options_.max_in_flight)) {
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
    done_unless_scarce([&]() REQUIRES(mutex_) {
      log_limited(ends_, Severity::kWarning, "stream ended", {{"session", session_.name}, {"why", why.to_string()}});
    });
  }
  if (&stream == pending_) pending_ = nullptr;
  if (!done_unless_scarce([&] { stream.finish(to_grpc(why)); })) stream.fail();
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

StageService::StageService(StageServiceOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}
StageService::~StageService() = default;
void StageService::serve(StageLink& link) { impl_->serve(link); }
void StageService::stop(std::chrono::milliseconds grace) { impl_->stop(grace); }
int StageService::n_streams() const { return impl_->n_streams(); }
void StageService::take(ServerCall& call) { impl_->take(call); }

}  // namespace commissure
