#include "wire/stage_client.h"

#include <grpcpp/client_context.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include "wire/channel.h"
#include "wire/codec.h"
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

  void describe_later(std::chrono::system_clock::time_point deadline,
                      std::function<void(Result<std::vector<StageInfo>>)> done, bool may_refresh);
  Status wake(std::chrono::system_clock::time_point deadline, const ChainReport& report, const std::stop_token& stop,
              bool may_refresh);

  /// Cancels the calls that have yet to call back and waits until gRPC has let go of them.
  void end_calls();

  const std::string target;
  const std::shared_ptr<CallerIdentity> identity;
  const std::unique_ptr<v1::Stage::Stub> stub;

 private:
  struct DescribeCall;

  std::mutex mutex_;
  std::condition_variable ended_;
  bool ending_ = false;
  int n_calls_ = 0;
  std::set<grpc::ClientContext*> contexts_;  // of calls that may be cancelled
};

/// One call of describe_later, as long as gRPC may touch it.
struct StageClient::Impl::DescribeCall {
  /// Destroyed last, so that a client whose calls have ended has nothing left in gRPC's hands.
  struct Count {
    Impl& impl;
    explicit Count(Impl& of) : impl(of) {
      const std::lock_guard lock(impl.mutex_);
      ++impl.n_calls_;
    }
    ~Count() {
      const std::lock_guard lock(impl.mutex_);
      --impl.n_calls_;
      impl.ended_.notify_all();
    }
  } count;
  grpc::ClientContext context;
  v1::DescribeRequest request;
  v1::ChainDescription answer;

  explicit DescribeCall(Impl& impl) : count(impl) {
    const std::lock_guard lock(impl.mutex_);
    impl.contexts_.insert(&context);
    if (impl.ending_) context.TryCancel();
  }
  ~DescribeCall() {
    const std::lock_guard lock(count.impl.mutex_);
    count.impl.contexts_.erase(&context);
  }
};

void StageClient::Impl::end_calls() {
  std::unique_lock lock(mutex_);
  ending_ = true;
  for (grpc::ClientContext* context : contexts_) context->TryCancel();
  ended_.wait(lock, [this] { return n_calls_ == 0; });
}

StageClient::StageClient(const Endpoint& endpoint, const ClientSecurity& security)
    : impl_(std::make_unique<Impl>(endpoint, security)) {}
StageClient::~StageClient() { impl_->end_calls(); }

Result<std::vector<StageInfo>> StageClient::describe(std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::system_clock::now() + timeout;
  v1::ChainDescription answer;
  const auto call = [&] {
    grpc::ClientContext context;
    context.set_deadline(deadline);
    return impl_->stub->Describe(&context, {}, &answer);
  };
  grpc::Status status = call();
  if (impl_->refreshes(status)) status = call();
  if (!status.ok()) return impl_->named(status);
  return decode(answer.stages());
}

void StageClient::describe_later(std::chrono::milliseconds timeout,
                                 std::function<void(Result<std::vector<StageInfo>>)> done) {
  impl_->describe_later(std::chrono::system_clock::now() + timeout, std::move(done), true);
}

void StageClient::Impl::describe_later(std::chrono::system_clock::time_point deadline,
                                       std::function<void(Result<std::vector<StageInfo>>)> done, bool may_refresh) {
  auto call = std::make_shared<DescribeCall>(*this);  // shared with gRPC, whose callbacks are copied
  call->context.set_deadline(deadline);
  stub->async()->Describe(&call->context, &call->request, &call->answer,
                          [this, call, deadline, may_refresh, done = std::move(done)](const grpc::Status& status) {
                            if (may_refresh && refreshes(status)) return describe_later(deadline, done, false);
                            if (!status.ok()) return done(named(status));
                            done(decode(call->answer.stages()));
                          });
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

std::vector<StageInfo> describe_chain(const LocalStage& self, StageClient* next, std::chrono::milliseconds timeout) {
  std::vector<StageInfo> chain = {self.info()};
  if (next == nullptr) return chain;
  Result<std::vector<StageInfo>> rest = next->describe(timeout);
  if (!rest) rest = std::vector{unreachable_stage(chain.front(), rest.error())};
  chain.insert(chain.end(), rest->begin(), rest->end());
  return chain;
}

namespace {

bool has_ended(const StageInfo& stage) { return stage.state >= LoadState::kReady; }

/// The later stages' part of a wake: written by the thread that reads it, awaited by the one that reports.
struct Rest {
  std::mutex mutex;
  std::condition_variable_any changed;
  std::vector<StageInfo> stages;
  bool over = true;
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
  Rest rest;
  std::jthread reader;
  if (next != nullptr) {
    rest.over = false;
    reader = std::jthread([&](const std::stop_token& inner) {
      const auto keep = [&](const std::vector<StageInfo>& stages) {
        const std::lock_guard lock(rest.mutex);
        rest.stages = stages;
        rest.changed.notify_all();
      };
      const Status status = next->wake(timeout, keep, inner);
      const std::lock_guard lock(rest.mutex);
      if (!status) rest.stages = {unreachable_stage(self.info(), status.error())};
      rest.over = true;
      rest.changed.notify_all();
    });
  }
  self.wake();
  std::vector<StageInfo> told;
  while (true) {
    std::vector<StageInfo> chain = {self.info()};
    std::unique_lock lock(rest.mutex);
    chain.insert(chain.end(), rest.stages.begin(), rest.stages.end());
    const bool over = has_ended(chain.front()) && rest.over;
    lock.unlock();
    if (chain != told) report(chain);
    if (over) return outcome(chain);
    if (stop.stop_requested()) return Error(Code::kCancelled, "waking was cancelled");
    told = std::move(chain);
    lock.lock();
    rest.changed.wait_for(lock, stop, kGlance, [&] { return !rest.over && rest.stages.size() + 1 != told.size(); });
  }
}

}  // namespace commissure
