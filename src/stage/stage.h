#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <thread>

#include "core/mutex.h"
#include "core/result.h"
#include "kernels/backend.h"
#include "model/decoder_spec.h"
#include "stage/adapter_table.h"
#include "stage/executor.h"
#include "step/stage_info.h"
#include "step/stage_plan.h"
#include "weights/checkpoint.h"

namespace commissure {

struct StageOptions {
  std::string model_name;        ///< for people
  int max_rows = 512;            ///< rows a step may have
  std::int32_t n_kv_blocks = 0;  ///< 0: as many as fit kv_bytes
  std::uint64_t kv_bytes = 256u << 20;
  std::int32_t n_window_blocks = 0;  ///< for layers with a sliding window; 0: as many as n_kv_blocks
  std::int32_t n_states = 16;        ///< sequences at once whose recurrent states are kept, where the model has such
};

/// One stage of a model in this process: cold until someone needs it, then loading in the background, then ready.
/// The mutexes are this room's own: a condition variable wakes the threads that wait for the load, and adapters are read
/// one at a time.
/// Threading: any thread may call any function; the executor it hands out belongs to one thread.
class Stage {
 public:
  /// Checks plan and tensors; reads no weights. `backend` and `checkpoint` outlive the stage.
  /// Errors: kInvalidArgument, the plan does not fit the model, a tensor is missing or of another shape, or an option
  /// is out of range.
  static Result<std::unique_ptr<Stage>> create(Backend& backend, const Checkpoint& checkpoint, DecoderSpec spec,
                                               const StagePlan& plan, const StageOptions& options);

  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;
  /// Stops a load that is under way and waits for it.
  ~Stage();

  /// Calls `callback` once, on the loading thread, when the load has ended. Set before the first begin_load.
  void on_loaded(std::function<void(const Status&)> callback) { on_loaded_ = std::move(callback); }

  /// Starts loading and returns at once. Does nothing while loading, when ready, or after a failure that would repeat;
  /// tries again after kUnavailable.
  void begin_load();

  /// Waits for the load that begin_load started.
  /// Errors: kUnavailable, not ready within `timeout` (with the progress) or `stop` was requested; else why it failed.
  Result<Executor*> wait_ready(std::chrono::milliseconds timeout, const std::stop_token& stop) const;

  /// Ok when a submit would be taken: ready, or cold (it would load first). Errors: as wait_ready.
  Status health() const;

  StageInfo info() const;

  /// Reads the stage's share of an adapter, so that slices may name it; returns at once where it is there already.
  /// Steps go on meanwhile; of several loads one goes on at a time. Returns the bytes it takes here. Errors:
  /// kUnavailable, the stage's weights are not loaded; kInvalidArgument, the adapter does not fit the model, or its
  /// files are not those of the id; kNotFound; kUnimplemented, it asks for what does not run, or the device takes none;
  /// kResourceExhausted.
  Result<std::uint64_t> load_adapter(const AdapterSource& source);
  /// Forgets an adapter; steps that run with it end with it.
  void drop_adapter(AdapterId id) { adapters_.drop(id); }

  /// A count that rises while the executor computes a step.
  std::uint64_t n_done() const;

  /// A step is on its way to the executor: the backend may wake up meanwhile. Any thread.
  void expect_step() { backend_.wake(); }
  const StagePlan& plan() const { return plan_; }
  const KvShape& kv() const { return kv_; }

 private:
  Stage(Backend& backend, const Checkpoint& checkpoint, DecoderSpec spec, const StagePlan& plan, StageOptions options);
  void load(const std::stop_token& stop);
  Result<std::unique_ptr<Executor>> load_executor(const std::stop_token& stop);
  Result<std::uint64_t> read_adapter(const AdapterSource& source);
  Error too_large() const;
  Error not_ready() const;

  Backend& backend_;
  const Checkpoint& checkpoint_;
  const DecoderSpec spec_;
  const StagePlan plan_;
  StageOptions options_;
  KvShape kv_;
  std::string fingerprint_;
  std::uint64_t weight_bytes_ = 0;
  std::function<void(const Status&)> on_loaded_;

  AdapterTable adapters_;
  Mutex adapter_loads_;  // held by the one that goes on

  mutable Mutex mutex_;
  mutable StoppableCondition changed_;
  LoadState state_ GUARDED_BY(mutex_) = LoadState::kCold;
  Status problem_ GUARDED_BY(mutex_);
  std::unique_ptr<Executor> executor_ GUARDED_BY(mutex_);
  std::atomic<std::uint64_t> loaded_bytes_ = 0;
  std::atomic<std::int64_t> load_ms_ = 0;
  std::jthread loader_;  // last: joined before anything it touches goes
};

}  // namespace commissure
