#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/log.h"
#include "core/scarce.h"
#include "wire/codec.h"
#include "wire/handshake.h"
#include "wire/stage_queries.h"
#include "wire/stage_service_impl.h"

// The side of the streams: who is served, from its hello to the handshake, and a thread that watches over it.

namespace commissure {
namespace {

constexpr std::chrono::milliseconds kHandshakeGlance(10);  // while a stream waits for the chain
constexpr std::chrono::milliseconds kSilenceGlance(250);   // for streams that say no hello

}  // namespace

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
    log_refusal("a stream was refused", stream, error);
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

void StageService::Impl::keep(const std::stop_token& stop) {
  const auto glance = std::min(kSilenceGlance, options_.busy_interval / 2);
  const MutexLock lock(mutex_);
  while (!stop.stop_requested()) {
    done_unless_scarce([this]() REQUIRES(mutex_) { look_around(); });  // else it looks again soon
    const ServerCall* const waiting = pending_;
    const bool attached = link_ != nullptr;
    changed_.wait_for(mutex_, stop, waiting != nullptr ? kHandshakeGlance : glance,
                      [&]() REQUIRES(mutex_) { return pending_ != waiting || attached != (link_ != nullptr); });
  }
}

void StageService::Impl::look_around() {
  drop_silent_streams();
  if (pending_ != nullptr) advance_handshake();
  tell_busy();
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
    done_unless_scarce([&] {
      const Status woken = next->wake(kWakeTimeout, [](const auto&) {}, stop);
      if (!woken) log_warning("the next stage was not woken", {{"why", woken.error().to_string()}});
    });
  });
}

void StageService::Impl::advance_handshake() {
  if (!in_flight_.empty()) return;  // of the stream before; dropped when answered
  ServerCall* const stream = pending_;
  if (!pending_is_clean_) {
    pending_is_clean_ = true;
    if (!done_unless_scarce([this]() REQUIRES(mutex_) { begin_stream(); })) {
      pending_is_clean_ = false;  // it is tried again
      return;
    }
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
  stream->send(encode_frame(**hello));
  active_ = std::exchange(pending_, nullptr);
  last_step_.reset();
  last_work_ = Clock::now();
  ++n_streams_;
  log_limited(begins_, Severity::kInfo, "stream taken", {{"session", session_.name}});
}

void StageService::Impl::begin_stream() {
  keeps_rows_ = rows_.begin(session_);
  const StageMemory left = rows_.left();
  const ChainSession session = session_;
  const MutexUnlock free(mutex_);
  wake();
  options_.on_new_stream(left);
  if (options_.next != nullptr) options_.next->restart(session);
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

}  // namespace commissure
