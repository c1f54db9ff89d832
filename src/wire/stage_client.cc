#include "wire/stage_client.h"

#include <grpcpp/client_context.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <list>
#include <thread>
#include <utility>

#include "core/mutex.h"
#include "core/scarce.h"
#include "wire/channel.h"
#include "wire/codec.h"
#include "wire/codec_values.h"
#include "wire/stage.grpc.pb.h"

namespace commissure {

class StageClient::Impl {
 public:
  Impl(const Endpoint& endpoint, const ClientSecurity& security)
      : target(endpoint.target),
        identity(security.identity),
        stub(v1::Stage::NewStub(open_channel(endpoint, security))) {}

  Error named(const grpc::Status& status) const {
    const Error error = from_grpc(status);
    return (is_refusal(error) ? explain_refusal(error, identity.get()) : error).within(target);
  }

  /// Whether a call that ended so is worth a second one with a fresh token.
  bool refreshes(const grpc::Status& status) const {
    if (status.ok() || !identity || !is_refusal(from_grpc(status))) return false;
    identity->refused();
    return true;
  }

  Result<std::vector<StageInfo>> describe(std::chrono::system_clock::time_point deadline, const std::stop_token& stop);
  Status wake(std::chrono::system_clock::time_point deadline, const ChainReport& report, const std::stop_token& stop,
              bool may_refresh);
  Result<std::uint64_t> load_adapter(const AdapterSource& source, std::chrono::system_clock::time_point deadline,
                                     const std::stop_token& stop);

  const std::string target;
  const std::shared_ptr<CallerIdentity> identity;
  const std::unique_ptr<v1::Stage::Stub> stub;

  /// A thread that calls back, until it is found to have ended.
  struct Later {
    std::atomic<bool> is_over = false;
    std::jthread thread;
  };
  Mutex mutex;
  std::list<Later> later GUARDED_BY(mutex);
};

StageClient::StageClient(const Endpoint& endpoint, const ClientSecurity& security)
    : impl_(std::make_unique<Impl>(endpoint, security)) {}
StageClient::~StageClient() = default;

Result<std::vector<StageInfo>> StageClient::describe(std::chrono::milliseconds timeout, const std::stop_token& stop) {
  return impl_->describe(std::chrono::system_clock::now() + timeout, stop);
}

Result<std::vector<StageInfo>> StageClient::Impl::describe(std::chrono::system_clock::time_point deadline,
                                                           const std::stop_token& stop) {
  v1::ChainDescription answer;
  const auto call = [&] {
    grpc::ClientContext context;
    context.set_deadline(deadline);
    const std::stop_callback cancel(stop, [&context] { context.TryCancel(); });
    return stub->Describe(&context, {}, &answer);
  };
  grpc::Status status = call();
  if (refreshes(status)) status = call();
  if (!status.ok()) return named(status);
  return decode(answer.stages());
}

void StageClient::describe_later(std::chrono::milliseconds timeout,
                                 std::function<void(Result<std::vector<StageInfo>>)> done) {
  const auto deadline = std::chrono::system_clock::now() + timeout;
  // Of this client the thread may outlive the pointer, not what it points to.
  const auto begin = [&, impl = impl_.get()] {
    const MutexLock lock(impl->mutex);
    impl->later.remove_if([](const Impl::Later& later) { return later.is_over.load(); });
    std::list<Impl::Later> fresh(1);
    fresh.front().thread = std::jthread([impl, deadline, done, later = &fresh.front()](const std::stop_token& stop) {
      using Stages = Result<std::vector<StageInfo>>;
      Stages stages = unless_scarce([&]() -> Stages { return impl->describe(deadline, stop); },
                                    []() -> Stages { return no_memory(Code::kUnavailable); });
      done_unless_scarce([&] { done(std::move(stages)); });
      later->is_over = true;
    });
    impl->later.splice(impl->later.end(), fresh);  // it stays where it is, and its address too
  };
  if (!done_unless_scarce(begin)) done(no_memory(Code::kUnavailable));
}

Status StageClient::wake(std::chrono::milliseconds timeout, const ChainReport& report, const std::stop_token& stop) {
  return impl_->wake(std::chrono::system_clock::now() + timeout, report, stop, true);
}

Status StageClient::Impl::wake(std::chrono::system_clock::time_point deadline, const ChainReport& report,
                               const std::stop_token& stop, bool may_refresh) {
  grpc::ClientContext context;
  context.set_deadline(deadline);
  context.set_wait_for_ready(true);
  const std::stop_callback cancel(stop, [&context] { context.TryCancel(); });
  const auto reader = stub->Wake(&context, {});
  v1::ChainDescription answer;
  Status decoded;
  while (reader->Read(&answer)) {
    Result<std::vector<StageInfo>> stages = decode(answer.stages());
    if (stages) {
      report(*stages);
    } else if (decoded) {
      decoded = stages.error();
      context.TryCancel();
    }
  }
  const grpc::Status status = reader->Finish();
  TRY(decoded);
  if (stop.stop_requested()) return Error(Code::kCancelled, "waking was cancelled");
  if (may_refresh && refreshes(status)) return wake(deadline, report, stop, false);
  if (!status.ok()) return named(status);
  return {};
}

Result<std::uint64_t> StageClient::load_adapter(const AdapterSource& source, std::chrono::milliseconds timeout,
                                                const std::stop_token& stop) {
  return impl_->load_adapter(source, std::chrono::system_clock::now() + timeout, stop);
}

Result<std::uint64_t> StageClient::Impl::load_adapter(const AdapterSource& source,
                                                      std::chrono::system_clock::time_point deadline,
                                                      const std::stop_token& stop) {
  v1::AdapterSource asked;
  encode(source, asked);
  v1::LoadedAdapter answer;
  const auto call = [&] {
    grpc::ClientContext context;
    context.set_deadline(deadline);
    const std::stop_callback cancel(stop, [&context] { context.TryCancel(); });
    return stub->LoadAdapter(&context, asked, &answer);
  };
  grpc::Status status = call();
  if (refreshes(status)) status = call();
  if (stop.stop_requested()) return Error(Code::kCancelled, "loading the adapter was cancelled");
  if (!status.ok()) return named(status);
  return answer.bytes();
}

void StageClient::drop_adapter(AdapterId id) {
  constexpr std::chrono::seconds kPatience(2);
  v1::AdapterSource asked;
  asked.set_id(id.value);
  v1::LoadedAdapter answer;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kPatience);
  const grpc::Status status = impl_->stub->DropAdapter(&context, asked, &answer);
  impl_->refreshes(status);  // the next call has a fresh token
}

Result<std::uint64_t> load_adapter_chain(const LocalStage& self, StageClient* next, const AdapterSource& source,
                                         std::chrono::milliseconds timeout, const std::stop_token& stop) {
  using Loaded = Result<std::uint64_t>;
  Loaded behind = std::uint64_t{0};
  std::jthread reader;
  const auto ask = [&] { behind = next->load_adapter(source, timeout, stop); };
  const auto begin = [&] {
    reader = std::jthread([&] {
      if (!done_unless_scarce(ask)) behind = no_memory(Code::kUnavailable);
    });
  };
  if (next != nullptr && !done_unless_scarce(begin)) return no_memory(Code::kUnavailable);
  const Loaded here = self.load_adapter(source);
  if (reader.joinable()) reader.join();
  if (!here) return here.error().within("stage " + self.info().plan.name());
  if (!behind) return behind;
  return std::max(*here, *behind);
}

StageInfo unreachable_stage(const StageInfo& before, const Error& why) {
  StageInfo info;
  info.model = before.model;
  info.plan = before.plan;
  info.plan.index = std::min(before.plan.index + 1, kMaxStages - 1);
  info.plan.layers = {before.plan.layers.last, before.plan.n_model_layers};
  info.state = LoadState::kUnreachable;
  info.problem = why.message();
  return info;
}

std::vector<StageInfo> describe_chain(const LocalStage& self, StageClient* next, std::chrono::milliseconds timeout,
                                      const std::stop_token& stop) {
  std::vector<StageInfo> chain = {self.info()};
  if (next == nullptr) return chain;
  Result<std::vector<StageInfo>> rest = next->describe(timeout, stop);
  if (!rest) rest = std::vector{unreachable_stage(chain.front(), rest.error())};
  chain.insert(chain.end(), rest->begin(), rest->end());
  return chain;
}

namespace {

bool has_ended(const StageInfo& stage) { return stage.state >= LoadState::kReady; }

/// The later stages' part of a wake: written by the thread that reads it, awaited by the one that reports.
struct Rest {
  explicit Rest(bool is_over) : over(is_over) {}
  Mutex mutex;
  StoppableCondition changed;
  std::vector<StageInfo> stages GUARDED_BY(mutex);
  bool over GUARDED_BY(mutex);
  bool is_unknown GUARDED_BY(mutex) = false;  // there was no memory for what they said
};

Status outcome(const std::vector<StageInfo>& chain) {
  for (const StageInfo& stage : chain) {
    if (stage.state != LoadState::kReady) {
      return Error(Code::kUnavailable, "stage ", stage.plan.name(), " did not get ready: ", stage.problem);
    }
  }
  return {};
}

}  // namespace

Status wake_chain(const LocalStage& self, StageClient* next, std::chrono::milliseconds timeout,
                  const ChainReport& report, const std::stop_token& stop) {
  constexpr std::chrono::milliseconds kGlance(50);  // how stale a progress report may be
  Rest rest(next == nullptr);
  std::jthread reader;
  if (next != nullptr) {
    reader = std::jthread([&](const std::stop_token& inner) {
      const auto keep = [&](const std::vector<StageInfo>& stages) {
        const MutexLock lock(rest.mutex);
        rest.stages = stages;
        rest.changed.notify_all();
      };
      const bool is_known = done_unless_scarce([&] {
        const Status status = next->wake(timeout, keep, inner);
        const MutexLock lock(rest.mutex);
        if (!status) rest.stages = {unreachable_stage(self.info(), status.error())};
      });
      const MutexLock lock(rest.mutex);
      rest.is_unknown = !is_known;
      rest.over = true;
      rest.changed.notify_all();
    });
  }
  self.wake();
  std::vector<StageInfo> told;
  while (true) {
    std::vector<StageInfo> chain = {self.info()};
    bool over = has_ended(chain.front()), is_unknown = false;
    {
      const MutexLock lock(rest.mutex);
      chain.insert(chain.end(), rest.stages.begin(), rest.stages.end());
      over = over && rest.over;
      is_unknown = rest.is_unknown;
    }
    if (chain != told) report(chain);
    if (over) return is_unknown ? no_memory() : outcome(chain);
    if (stop.stop_requested()) return Error(Code::kCancelled, "waking was cancelled");
    told = std::move(chain);
    const MutexLock lock(rest.mutex);
    rest.changed.wait_for(rest.mutex, stop, kGlance,
                          [&]() REQUIRES(rest.mutex) { return !rest.over && rest.stages.size() + 1 != told.size(); });
  }
}

}  // namespace commissure
