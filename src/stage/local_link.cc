#include "stage/local_link.h"

#include <new>
#include <optional>
#include <utility>

#include "core/scarce.h"

namespace commissure {
namespace {

std::uint32_t microseconds(std::chrono::steady_clock::duration duration) {
  return static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::microseconds>(duration).count());
}

/// Without memory for it a step fails, and no more: the executor commits last.
Result<StageOutput> compute(Executor& executor, StageInput input) {
  const std::uint64_t step = input.batch.step.value;
  try {
    return executor.step(std::move(input));
  } catch (const std::bad_alloc&) {
    return Error(Code::kResourceExhausted, "a stage has no memory for step ", step);
  }
}

}  // namespace

LocalLink::LocalLink(Stage& stage, LocalLinkOptions options)
    : stage_(stage), options_(options), queue_(options.queue_capacity) {}

LocalLink::~LocalLink() { stop(); }

void LocalLink::start(Sink sink) {
  sink_ = std::move(sink);
  thread_ = std::jthread([this] { run(stop_.get_token()); });
}

Status LocalLink::submit(StageInput input) {
  stage_.begin_load();
  TRY(stage_.wait_ready(options_.load_timeout, stop_.get_token()));
  if (queue_.size() == 0) stage_.expect_step();
  if (!queue_.push({std::move(input), Clock::now()}, stop_.get_token())) {
    return Error(Code::kUnavailable, "stage ", stage_.plan().name(), " is stopping");
  }
  return {};
}

void LocalLink::forget_all_but(StageMemory left) {
  StageMemory before = left_;
  while (left < before && !left_.compare_exchange_weak(before, left)) {
  }
}

bool LocalLink::gets_on() {
  const std::uint64_t n_done = stage_.n_done();
  return std::exchange(n_done_, n_done) != n_done || waits_for_cores_;
}

Status LocalLink::health() const {
  if (stop_.stop_requested()) return Error(Code::kUnavailable, "stage ", stage_.plan().name(), " is stopping");
  return stage_.health();
}

void LocalLink::stop() {
  stop_.request_stop();
  queue_.close();  // the executor thread answers what is left, then ends
  if (thread_.joinable()) thread_.join();
}

void LocalLink::run(const std::stop_token& stop) {
  while (std::optional<Item> item = queue_.pop()) {
    if (stop.stop_requested()) {
      sink_(Error(Code::kCancelled, "stage stops"));
      continue;
    }
    Result<StageOutput> output = unless_scarce([&] { return run_step(std::move(*item), stop); },
                                               []() -> Result<StageOutput> { return no_memory(); });
    if (output || !is_about_the_stream(output.error().code())) {
      sink_(std::move(output));
    } else {
      fail_stream(output.error());
    }
    done_unless_scarce([&] {
      if (!spans_.empty()) options_.on_spans(spans_.take());
    });
  }
}

Result<StageOutput> LocalLink::run_step(Item item, const std::stop_token& stop) {
  Executor& executor = *TRY(stage_.wait_ready(std::chrono::milliseconds(0), {}));  // submit has waited already
  executor.forget_all_but(left_.exchange(StageMemory::kSequences));
  CoreLease::Hold hold;
  if (options_.lease != nullptr) {
    waits_for_cores_ = true;
    Result<CoreLease::Hold> turn = options_.lease->acquire(stop);
    waits_for_cores_ = false;
    hold = TRY(std::move(turn));
  }
  const Clock::time_point started = Clock::now();
  const std::chrono::microseconds queued(microseconds(started - item.arrived));
  if (options_.on_spans) spans_.begin(item.input.batch, stage_.plan().name(), queued);
  Result<StageOutput> output = compute(executor, std::move(item.input));
  const Clock::time_point ended = Clock::now();
  hold.give_back();
  spans_.end(!output);
  if (!output) {
    if (is_about_the_stream(output.error().code())) executor.forget_all_but(StageMemory::kRows);
    return output;
  }
  StageTiming timing;
  timing.stage = stage_.plan().name();
  timing.queue_us = static_cast<std::uint32_t>(queued.count());
  timing.compute_us = microseconds(ended - started);
  timing.checksums = std::move(output->checksums);
  timing.has_span = !spans_.empty();
  output->timings = {timing};
  if (auto* tokens = std::get_if<SampledTokens>(&output->value)) tokens->timings = output->timings;
  return output;
}

void LocalLink::fail_stream(const Error& error) {
  int n_failed = 1;
  while (queue_.try_pop()) ++n_failed;  // before the caller learns: what it submits then belongs to a new life
  for (int i = 0; i < n_failed; ++i) sink_(copy_of(error));
}

}  // namespace commissure
