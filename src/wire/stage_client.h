#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <vector>

#include "core/result.h"
#include "step/adapter.h"
#include "step/stage_info.h"
#include "wire/endpoint.h"
#include "wire/security.h"

namespace commissure {

using ChainReport = std::function<void(const std::vector<StageInfo>&)>;

/// Asks the next stage about itself and all stages behind it, apart from the boundary stream.
/// Threading: any thread, several at a time.
class StageClient {
 public:
  explicit StageClient(const Endpoint& endpoint, const ClientSecurity& security = {});
  ~StageClient();

  /// Errors: kUnavailable, kDeadlineExceeded: the stage does not answer; kFailedPrecondition: it refuses this caller, a
  /// fresh token included.
  /// kCancelled: `stop` was requested.
  Result<std::vector<StageInfo>> describe(std::chrono::milliseconds timeout, const std::stop_token& stop = {});

  /// As describe, but calls back from a thread of its own: once, at the latest while the client is destroyed. Where
  /// there is no thread or no memory for it, it calls back before it returns; it throws nothing but what `done` does.
  void describe_later(std::chrono::milliseconds timeout, std::function<void(Result<std::vector<StageInfo>>)> done);

  /// Loads the next stage and all behind it, at the same time; waits for a stage that has yet to start. Reports come on
  /// the calling thread, the last one tells how it ended.
  /// Errors: kUnavailable, kDeadlineExceeded; kCancelled, `stop` was requested.
  Status wake(std::chrono::milliseconds timeout, const ChainReport& report, const std::stop_token& stop);

  /// Makes the next stage and all behind it keep an adapter; the bytes on the stage where it takes the most.
  /// Errors: the stage's own, named; kUnavailable, kDeadlineExceeded; kCancelled, `stop` was requested.
  Result<std::uint64_t> load_adapter(const AdapterSource& source, std::chrono::milliseconds timeout,
                                     const std::stop_token& stop);
  /// Makes them forget it. A stage that does not answer soon has to be told by somebody else.
  void drop_adapter(AdapterId id);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

/// This process's own stage, as the queries see it.
struct LocalStage {
  std::function<StageInfo()> info;  ///< as it is now; any thread
  std::function<void()> wake;       ///< starts loading if that has not happened yet, returns at once; any thread
  /// Keeps this stage's part of an adapter, and forgets it (StageLink::load_adapter); any thread.
  std::function<Result<std::uint64_t>(const AdapterSource&)> load_adapter = [](const AdapterSource&) {
    return Result<std::uint64_t>(Error(Code::kUnimplemented, "this stage takes no adapters"));
  };
  std::function<void(AdapterId)> drop_adapter = [](AdapterId) {};
};

/// The info of a stage that does not answer: its place in the chain, after `before`, and the state kUnreachable with
/// the reason.
StageInfo unreachable_stage(const StageInfo& before, const Error& why);

/// The stages of the chain from this one on; the next one is shown as unreachable when it does not answer.
std::vector<StageInfo> describe_chain(const LocalStage& self, StageClient* next, std::chrono::milliseconds timeout,
                                      const std::stop_token& stop = {});

/// Makes this stage and, at the same time, all after it keep an adapter; the bytes on the stage where it takes the
/// most. Errors: as StageLink::load_adapter, naming the stage.
Result<std::uint64_t> load_adapter_chain(const LocalStage& self, StageClient* next, const AdapterSource& source,
                                         std::chrono::milliseconds timeout, const std::stop_token& stop);

/// Loads this stage and all after it at the same time and reports on the calling thread, whenever something changed,
/// until every stage is ready or has failed. `next` is null on the last stage.
/// Errors: kCancelled, `stop` was requested; kUnavailable, naming the first stage that failed; kResourceExhausted, no
/// memory to hear of the later stages.
Status wake_chain(const LocalStage& self, StageClient* next, std::chrono::milliseconds timeout,
                  const ChainReport& report, const std::stop_token& stop);

}  // namespace commissure
