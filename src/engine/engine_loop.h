#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <stop_token>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/guarded.h"
#include "core/log_limiter.h"
#include "core/queue.h"
#include "engine/engine.h"
#include "engine/engine_metrics.h"
#include "engine/request.h"
#include "engine/step_tracer.h"
#include "sched/scheduler.h"

namespace commissure {

/// What the scheduler thread shares with the callers of the engine.
struct EngineShared {
  explicit EngineShared(std::size_t queue_capacity) : inbox(queue_capacity) {}

  BoundedQueue<EngineMessage> inbox;
  std::atomic<int> n_alive = 0;  ///< requests accepted that had no last event yet
  std::atomic<bool> draining = false;
  std::atomic<bool> forget_prefixes =
      false;  ///< a flag, no message: however often it is asked, the inbox keeps its room
  struct Outage {
    Error cause;           ///< why the chain is being recovered
    bool gave_up = false;  ///< longer than the recovery limit: no request waits for it any more
  };
  Guarded<std::optional<Outage>> outage;
  std::atomic<bool> moving = false;             ///< the chain moves to fresh streams as planned, which is no outage yet
  mutable std::atomic<bool> was_ready = false;  ///< the chain was seen ready, so if it is not now, it is expected back
  Guarded<EngineStats> stats;
  /// The gates of requests that are alive, for cancel().
  Guarded<std::unordered_map<RequestHandle, std::shared_ptr<EventGate>>> gates;
};

/// The engine's thread: takes messages, keeps steps in flight, turns tokens into events, recovers a broken chain.
///
/// Recovery: when the stream breaks and, later, all steps are answered and the chain is healthy again, every running
/// sequence goes on behind the rows that were answered. Stages that lost their keys and values compute these rows
/// again, from the rows that the stage before them handed on; where that is not possible, all stages compute them again
/// from the token log. Rows are bit-stable and draws come from (seed, position), so the streams go on with the same
/// tokens. New requests wait in the queue meanwhile; the recovery limit counts from the beginning of the outage, for
/// all.
///
/// A request with an adapter is parked until the keeper has it on all stages; after a break those in use are loaded
/// again before anything goes on.
///
/// Memory that runs out costs a request: the one that was being taken in or told of, or those of the step that was
/// being planned or answered. The others go on as after a break. Threading: run() and all else on one thread.
class EngineLoop {
 public:
  EngineLoop(const ServedModel& model, const EngineOptions& options, StageLink& chain, EngineShared& shared,
             EngineMetrics& metrics, AdapterKeeper* adapters);

  /// Until `stop`; then every request that is alive gets an error event.
  void run(const std::stop_token& stop);

 private:
  using Time = RequestTimes::Time;
  struct Outage {
    Error cause;
    Time since;
    bool moving = false;  ///< planned: what is in flight is still answered, and counts
    bool gave_up = false;
  };

  /// An event on its way to a request's sink.
  struct Message {
    RequestHandle handle;
    std::shared_ptr<EventGate> gate;
    GenerationEvent event;
    bool is_second_try = false;  ///< instead of a last event that did not get there
  };

  /// A step that the chain still owes an answer.
  struct OwedStep {
    Time since;
    int n_rows = 0;
    StageSpan rebuild = {};
    bool wanted = true;  ///< false: the scheduler has given it up
  };

  void turn(const std::stop_token& stop);
  void handle(EngineMessage message);
  void start_request(std::unique_ptr<Request> request);
  void begin_request(std::unique_ptr<Request> request);
  void schedule(Request& request, AdapterUse adapter);
  void on_answer(Result<StageOutput> answer);
  void take_answer(const OwedStep& step, Result<StageOutput> answer);
  void on_tokens(const SampledTokens& tokens);
  void on_progress(Progress& progress);
  void on_token(Request& request, ScoredToken token, GenerationEvent& event);
  void fill_steps();
  void hold_answers(StepBatch& batch);
  std::chrono::milliseconds patience() const;

  Status submit(StepBatch batch);
  void give_up_step();
  void on_no_memory();

  void take_adapters();
  void on_adapter(RequestHandle handle, const Result<AdapterId>& adapter);
  void give_adapter_back(const Request& request);
  void give_left_adapters();
  bool has_adapters_back();
  void on_reload(const AdapterKeeper::Failures& failures);

  void begin_outage(const Error& cause);
  bool may_move() const;
  void begin_move();
  void resume_sequences();
  void watch_idle_chain();
  void try_recovery();
  void expire(Time now);
  void check_drains(Time now);

  /// Puts the event into the outbox.
  void send(Request& request, GenerationEvent event);
  void deliver();
  void on_undelivered(Message& message, bool is_last);
  void finish(Request& request, GenerationEvent event);
  void note_end(const Request& request, GenerationEvent& event);
  void fail(RequestHandle handle, const Error& error);
  void fail_all(const Error& error);
  void publish_state();

  const ServedModel& model_;
  const EngineOptions& options_;
  StageLink& chain_;
  EngineShared& shared_;
  EngineMetrics& metrics_;
  Scheduler scheduler_;
  std::unordered_map<RequestHandle, std::unique_ptr<Request>> requests_;
  std::deque<OwedStep> owed_;  ///< oldest first
  std::optional<Outage> outage_;
  bool waking_ = false;  ///< the stages load, the requests wait
  int n_streams_seen_ = 0;
  std::vector<DrainMessage> drains_;

  AdapterKeeper* const adapters_;      ///< null: requests name none
  std::vector<RequestHandle> parked_;  ///< requests whose adapter is to be taken
  Time next_take_ = {};                ///< not before
  /// Adapters of requests that ended, until the steps that may name them are answered.
  struct LeftAdapter {
    AdapterId id;
    std::uint64_t n_answers = 0;
  };
  std::deque<LeftAdapter> left_adapters_;
  std::uint64_t n_submitted_ = 0, n_answered_ = 0;  ///< steps
  bool is_reloading_ = false;
  int n_streams_reloading_ = 0;            ///< when that began
  std::optional<int> n_streams_reloaded_;  ///< streams on which the adapters in use are loaded

  EngineStats stats_;
  StepTracer tracer_;
  bool in_step_ = false;             ///< a step is being planned, or its answer taken
  bool lost_step_ = false;           ///< memory ran out meanwhile: give_up_step() is due
  std::vector<Message> outbox_;      ///< in order
  std::vector<Message> delivering_;  ///< of an outbox before, [0, n_delivered_) are done
  std::size_t n_delivered_ = 0;
  LogLimiter memory_lines_;
};

}  // namespace commissure
