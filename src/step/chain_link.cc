#include "step/chain_link.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "core/check.h"
#include "core/scarce.h"

namespace commissure {
namespace {

/// Time between the hand-over and the answer that the later stages did not account for.
std::uint32_t unaccounted_us(std::chrono::steady_clock::time_point since, const std::vector<StageTiming>& later) {
  std::int64_t us =
      std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - since).count();
  for (const StageTiming& timing : later) {
    us -= std::int64_t{timing.queue_us} + timing.compute_us + 2 * std::int64_t{timing.wire_us};
  }
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(us, 0, UINT32_MAX));
}

/// Without memory for it a step is refused, and no more.
Status submit_to(StageLink& link, StageInput input) {
  return unless_scarce([&] { return link.submit(std::move(input)); }, []() -> Status { return no_memory(); });
}

/// The answer of the later stages with the times of the first one's before theirs.
StageOutput with_timings(std::vector<StageTiming> timings, std::chrono::steady_clock::time_point handed_over,
                         StageOutput output) {
  if (!timings.empty()) timings.back().wire_us = unaccounted_us(handed_over, output.timings) / 2;
  timings.insert(timings.end(), output.timings.begin(), output.timings.end());
  if (auto* tokens = std::get_if<SampledTokens>(&output.value)) tokens->timings = timings;
  output.timings = std::move(timings);
  return output;
}

}  // namespace

void ChainLink::start(Sink sink) {
  sink_ = std::move(sink);
  rest_.start([this](Result<StageOutput> output) { on_rest(std::move(output)); });
  first_.start([this](Result<StageOutput> output) { on_first(std::move(output)); });
}

Status ChainLink::submit(StageInput input) {
  {
    const MutexLock lock(mutex_);
    if (stopping_) return Error(Code::kUnavailable, "the pipeline is stopping");
    steps_.emplace_back();  // before the submit: the answer may come before it returns
  }
  Status accepted = submit_to(first_, std::move(input));
  if (!accepted) {
    const MutexLock lock(mutex_);
    // One thread submits and `first` answers in order, so the refused step is the last one.
    steps_.pop_back();
    delivered_.notify_all();
  }
  return accepted;
}

Status ChainLink::health() const {
  TRY(first_.health());
  return rest_.health();
}

void ChainLink::move() {
  first_.move();
  rest_.move();
}

Result<std::uint64_t> ChainLink::load_adapter(const AdapterSource& source, std::chrono::milliseconds timeout,
                                              const std::stop_token& stop) {
  using Loaded = Result<std::uint64_t>;
  Loaded behind = no_memory(Code::kUnavailable);
  const auto load_behind = [&] { behind = rest_.load_adapter(source, timeout, stop); };
  std::jthread rest;
  if (!done_unless_scarce([&] { rest = std::jthread([&] { done_unless_scarce(load_behind); }); })) return behind;
  const Loaded here = first_.load_adapter(source, timeout, stop);
  rest.join();
  if (!here || !behind) return !here ? here : behind;
  return std::max(*here, *behind);
}

void ChainLink::drop_adapter(AdapterId id) {
  first_.drop_adapter(id);
  rest_.drop_adapter(id);
}

void ChainLink::stop() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  // `rest` first: the thread of `first` may be waiting for room in it.
  rest_.stop();
  first_.stop();
  const MutexLock lock(mutex_);
  delivered_.wait(mutex_, [this]() REQUIRES(mutex_) { return steps_.empty() && !delivering_; });
}

void ChainLink::on_first(Result<StageOutput> output) {
  Step* handed = nullptr;
  {
    const MutexLock lock(mutex_);
    Step& step = oldest(Place::kFirst);
    if (output && !std::holds_alternative<Boundary>(output->value)) output = copy_of(sampled_too_early_);
    if (!output || step.doom || stopping_) {
      finish(step, std::move(output));
      return deliver();
    }
    step.place = Place::kRest;
    step.timings = std::move(output->timings);
    step.handed_over = std::chrono::steady_clock::now();
    handed = &step;
  }
  Status accepted = submit_to(rest_, {std::move(output->batch), std::get<Boundary>(std::move(output->value))});
  if (accepted) return;
  const MutexLock lock(mutex_);
  finish(*handed, std::move(accepted).error());
  deliver();
}

void ChainLink::on_rest(Result<StageOutput> output) {
  const MutexLock lock(mutex_);
  Step& step = oldest(Place::kRest);
  if (output) {
    output = unless_scarce(
        [&]() -> Result<StageOutput> {
          return with_timings(std::move(step.timings), step.handed_over, std::move(*output));
        },
        []() -> Result<StageOutput> { return no_memory(); });
  }
  finish(step, std::move(output));
  deliver();
}

ChainLink::Step& ChainLink::oldest(Place place) {
  const auto step = std::find_if(steps_.begin(), steps_.end(), [&](const Step& s) { return s.place == place; });
  CHECK(step != steps_.end());
  return *step;
}

void ChainLink::finish(Step& step, Result<StageOutput> answer) {
  const bool cut_short = stopping_ && (!answer || step.place == Place::kFirst);
  if (cut_short) answer = copy_of(stopping_error_);
  step.answer = std::move(answer);
  step.place = Place::kDone;
}

void ChainLink::deliver() {
  if (delivering_) return;  // the other link's thread is at it and will take this answer too
  delivering_ = true;
  while (!steps_.empty() && steps_.front().answer) {
    Result<StageOutput> answer = std::move(*steps_.front().answer);
    std::optional<Error> doom = std::move(steps_.front().doom);
    steps_.pop_front();
    if (doom && !stopping_) {
      answer = *std::move(doom);
    } else if (!answer && is_about_the_stream(answer.error().code())) {
      // A link lost its sequences. Steps behind this one would reach (or have reached) a fresh stream that knows
      // nothing of them, so they fail with the same error. Steps submitted from now on are not touched.
      for (Step& later : steps_) {
        if (!later.doom) later.doom = copy_of(answer.error());
      }
    }
    const MutexUnlock free(mutex_);
    sink_(std::move(answer));
  }
  delivering_ = false;
  delivered_.notify_all();
}

}  // namespace commissure
