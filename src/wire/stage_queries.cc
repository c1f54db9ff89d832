#include "wire/stage_queries.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "wire/codec.h"

namespace commissure {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kDescribeTimeout(2'000);

/// What is left of the caller's time, less a part for the way back.
milliseconds remaining(const grpc::CallbackServerContext& context, milliseconds at_most) {
  const auto left = std::chrono::duration_cast<milliseconds>(context.deadline() - std::chrono::system_clock::now());
  return std::clamp(left - left / 8, milliseconds(1), at_most);
}

/// Streams the reports of one wake. Writing waits for the write before, on a thread of its own.
class WakeCall final : public grpc::ServerWriteReactor<v1::ChainDescription> {
 public:
  WakeCall(milliseconds timeout, LocalStage self, StageClient* next)
      : thread_([this, timeout, self = std::move(self), next](const std::stop_token& stop) {
          const Status status =
              wake_chain(self, next, timeout, [this](const std::vector<StageInfo>& chain) { write(chain); }, stop);
          // A stage that failed is told in the report; the call itself went well.
          const bool told = status || status.error().code() == Code::kUnavailable;
          Finish(told ? grpc::Status() : to_grpc(status.error()));
        }) {}

 private:
  void write(const std::vector<StageInfo>& chain) {
    std::unique_lock lock(mutex_);
    message_.Clear();
    encode(chain, *message_.mutable_stages());
    writing_ = true;
    StartWrite(&message_);
    written_.wait(lock, [this] { return !writing_; });
  }
  void OnWriteDone(bool) override {
    const std::lock_guard lock(mutex_);
    writing_ = false;
    written_.notify_all();
  }
  void OnCancel() override { thread_.request_stop(); }
  void OnDone() override {
    thread_.join();  // has called Finish and is about to return
    delete this;
  }

  std::mutex mutex_;
  std::condition_variable written_;
  v1::ChainDescription message_;
  bool writing_ = false;
  std::jthread thread_;
};

class RefusedWake final : public grpc::ServerWriteReactor<v1::ChainDescription> {
 public:
  explicit RefusedWake(const Error& why) { Finish(to_grpc(why)); }

 private:
  void OnDone() override { delete this; }
};

}  // namespace

grpc::ServerWriteReactor<v1::ChainDescription>* refuse_wake(const Error& why) { return new RefusedWake(why); }

grpc::ServerUnaryReactor* answer_describe(grpc::CallbackServerContext& context, const LocalStage& self,
                                          StageClient* next, v1::ChainDescription& answer) {
  grpc::ServerUnaryReactor* const reactor = context.DefaultReactor();
  const StageInfo info = self.info();
  encode({info}, *answer.mutable_stages());
  if (next == nullptr) {
    reactor->Finish(grpc::Status());
    return reactor;
  }
  next->describe_later(remaining(context, kDescribeTimeout),
                       [reactor, info, &answer](Result<std::vector<StageInfo>> rest) {
                         if (!rest) rest = std::vector{unreachable_stage(info, rest.error())};
                         encode(*rest, *answer.mutable_stages());
                         reactor->Finish(grpc::Status());
                       });
  return reactor;
}

grpc::ServerWriteReactor<v1::ChainDescription>* answer_wake(grpc::CallbackServerContext& context,
                                                            const LocalStage& self, StageClient* next) {
  return new WakeCall(remaining(context, kWakeTimeout), self, next);  // deletes itself when the call is over
}

}  // namespace commissure
