#include "engine/engine_loop.h"

#include <algorithm>
#include <chrono>
#include <new>
#include <thread>
#include <utility>

#include "core/index.h"
#include "core/log.h"

namespace commissure {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// How often a broken chain is asked whether it is well again.
constexpr milliseconds kRecoveryPoll{20};
constexpr milliseconds kIdlePatience{1000};
/// How often a chain that wakes is asked whether it is ready; the first token waits for the answer.
constexpr milliseconds kWakePoll{2};

SchedulerOptions scheduler_options(const ServedModel& model, const EngineOptions& options) {
  SchedulerOptions made;
  made.max_sequences = options.max_sequences;
  made.max_step_rows = options.max_step_rows;
  made.decode_slots = options.decode_slots > 0 ? options.decode_slots : options.steps_in_flight;
  made.max_decode_slots = options.max_decode_slots;
  made.shares_cores = options.shares_cores;
  made.max_mixed_prefill_rows = options.max_mixed_prefill_rows;
  made.max_slowdown = options.max_slowdown;
  made.max_partial_prefills = options.max_partial_prefills;
  made.n_kv_blocks = options.n_kv_blocks;
  made.n_window_blocks = options.n_window_blocks;
  made.window = options.window;
  made.prefix_cache = options.prefix_cache;
  made.keeps_states = options.keeps_states;
  made.n_vocabulary = std::max(model.tokenizer->n_tokens(), model.n_rows);
  return made;
}

constexpr const char* kNoMemory = "there is no memory for this request now, try again later";

GenerationEvent last_event(const Error& error) {
  GenerationEvent event;
  event.finish = FinishReason::kError;
  event.error.emplace(error);
  return event;
}

/// Errors after which all steps in flight have failed and the stages' sequences are lost.
bool breaks_stream(Code code) { return is_about_the_stream(code) || code == Code::kCancelled; }

milliseconds until(RequestTimes::Time from, RequestTimes::Time to) {
  return std::max(milliseconds{0}, std::chrono::ceil<milliseconds>(to - from));
}

}  // namespace

EngineLoop::EngineLoop(const ServedModel& model, const EngineOptions& options, StageLink& chain, EngineShared& shared,
                       EngineMetrics& metrics, AdapterKeeper* adapters)
    : model_(model),
      options_(options),
      chain_(chain),
      shared_(shared),
      metrics_(metrics),
      scheduler_(scheduler_options(model, options)),
      adapters_(adapters) {}

void EngineLoop::run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    try {
      if (lost_step_) give_up_step();
      turn(stop);
    } catch (const std::bad_alloc&) {
      lost_step_ |= std::exchange(in_step_, false);
      on_no_memory();
    }
  }
  shared_.inbox.close();
  while (std::optional<EngineMessage> message = shared_.inbox.try_pop()) handle(std::move(*message));
  fail_all(Error(Code::kUnavailable, "the server is shutting down"));
  deliver();
  check_drains(Time::max());
  publish_state();
}

/// Says so, and gives others the time to end: what did not fit is tried again at once.
void EngineLoop::on_no_memory() {
  constexpr milliseconds kPause{10};
  try {
    log_limited(memory_lines_, Severity::kError, "the engine has no memory for what it does", {});
  } catch (const std::bad_alloc&) {  // nor for the line
  }
  std::this_thread::sleep_for(kPause);
}

void EngineLoop::turn(const std::stop_token& stop) {
  std::optional<EngineMessage> message = shared_.inbox.pop_for(patience(), stop);
  for (; message; message = shared_.inbox.try_pop()) handle(std::move(*message));
  if (stop.stop_requested()) return;  // what the chain says from here on is no outage
  const Time now = steady_clock::now();
  expire(now);
  if (outage_) try_recovery();
  if (shared_.forget_prefixes.exchange(false)) scheduler_.forget_prefixes();
  fill_steps();
  deliver();
  check_drains(now);
  publish_state();
}

/// How long to wait for a message before something else is due.
milliseconds EngineLoop::patience() const {
  const Time now = steady_clock::now();
  milliseconds wait = outage_ ? kRecoveryPoll : waking_ ? kWakePoll : kIdlePatience;
  if (!outage_ && !parked_.empty()) wait = std::min(wait, until(now, next_take_));
  for (const auto& [handle, request] : requests_) {
    if (request->deadline) wait = std::min(wait, until(now, *request->deadline));
  }
  for (const DrainMessage& drain : drains_) wait = std::min(wait, std::max(milliseconds{1}, until(now, drain.until)));
  return wait;
}

void EngineLoop::handle(EngineMessage message) {
  if (auto* request = std::get_if<std::unique_ptr<Request>>(&message)) {
    start_request(std::move(*request));
  } else if (auto* answer = std::get_if<Result<StageOutput>>(&message)) {
    on_answer(std::move(*answer));
  } else if (auto* cancel = std::get_if<CancelMessage>(&message)) {
    const auto it = requests_.find(cancel->handle);
    if (it == requests_.end()) return;
    GenerationEvent event;
    event.finish = FinishReason::kCancelled;
    finish(*it->second, std::move(event));
  } else if (const auto* taken = std::get_if<AdapterMessage>(&message)) {
    on_adapter(taken->handle, taken->adapter);
  } else if (const auto* reload = std::get_if<ReloadMessage>(&message)) {
    on_reload(reload->failures);
  } else {
    drains_.push_back(std::get<DrainMessage>(std::move(message)));
  }
}

/// One for which there is no memory gets its last event all the same.
void EngineLoop::start_request(std::unique_ptr<Request> owned) {
  const RequestHandle handle = owned->handle;
  const std::shared_ptr<EventGate> gate = owned->gate;
  try {
    begin_request(std::move(owned));
  } catch (const std::bad_alloc&) {
    const Error error(Code::kUnavailable, kNoMemory);
    if (requests_.contains(handle)) return fail(handle, error);
    shared_.gates.with([&](auto& gates) { gates.erase(handle); });
    --shared_.n_alive;
    outbox_.push_back({handle, gate, last_event(error)});
  }
}

void EngineLoop::begin_request(std::unique_ptr<Request> owned) {
  Request& request = *requests_.emplace(owned->handle, std::move(owned)).first->second;
  metrics_.on_prompt(request.usage.prompt_tokens);
  if (request.is_empty()) {
    GenerationEvent event;
    event.finish = FinishReason::kLength;
    return finish(request, std::move(event));
  }
  if (outage_ && outage_->gave_up) return fail(request.handle, outage_->cause);
  tracer_.begin(request.sequence(), request.asked);
  if (request.asked.adapter.empty()) return schedule(request, {});
  parked_.push_back(request.handle);
}

void EngineLoop::schedule(Request& request, AdapterUse adapter) {
  SequenceSpec spec;
  spec.id = request.sequence();
  spec.prompt = request.asked.prompt;
  spec.max_tokens = request.max_tokens;
  spec.params = request.asked.sampling;
  // The last stage knows one number of alternatives per sequence; each side gets its own share here.
  spec.params.n_logprobs = std::max(spec.params.n_logprobs, request.asked.prompt_logprobs);
  spec.score_prompt = request.n_prompt_scores() > 0;
  spec.priority = request.asked.priority;
  spec.cache_salt = request.asked.cache_salt;
  spec.adapter = adapter;
  spec.images = request.asked.images;
  if (request.held) {
    spec.most_mask_bytes = TokenMask::most_bytes(std::max(model_.tokenizer->n_tokens(), model_.n_rows));
  }
  spec.reuse_prefix = request.asked.trace != TraceLevel::kLayers;  // checksums are wanted of every row
  if (Status added = scheduler_.add(std::move(spec)); !added) fail(request.handle, added.error());
}

void EngineLoop::fill_steps() {
  if (!outage_ && chain_.wants_move() && may_move()) begin_move();
  if (!outage_ && scheduler_.n_running() == 0) watch_idle_chain();
  const bool has_work = scheduler_.n_running() + scheduler_.n_waiting() > 0 || !parked_.empty();
  waking_ = !outage_ && has_work && !chain_.wake();
  if (waking_) return;
  if (!outage_) take_adapters();
  while (!outage_ && std::ssize(owed_) < std::max(scheduler_.decode_slots(), options_.steps_in_flight)) {
    in_step_ = true;
    std::optional<StepBatch> batch = scheduler_.next_step();
    if (!batch) break;
    hold_answers(*batch);
    const Time now = steady_clock::now();
    for (const SequenceRows& slice : batch->slices) {
      const auto found = requests_.find(slice.sequence.value);
      if (found == requests_.end()) continue;  // it failed just now
      RequestTimes& times = found->second->times;
      if (!times.scheduled) times.scheduled = now;
    }
    tracer_.on_submit(*batch);
    owed_.push_back({now, batch->n_rows(), batch->rebuild});
    ++n_submitted_;
    if (Status taken = submit(std::move(*batch)); !taken) {
      owed_.pop_back();
      --n_submitted_;
      tracer_.drop_newest();
      begin_outage(taken.error());
    }
  }
  in_step_ = false;
}

/// A sequence has one draw in flight at most, so what its grammar allows there is known when the step is planned.
void EngineLoop::hold_answers(StepBatch& batch) {
  for (SequenceRows& slice : batch.slices) {
    if (!slice.sample) continue;
    Request& request = *requests_.at(slice.sequence.value);
    if (!request.held) continue;
    Result<TokenMask> mask = request.held->mask();
    if (!mask) {
      fail(request.handle, mask.error());  // its draw is nobody's
      continue;
    }
    slice.mask = std::move(*mask);
  }
}

Status EngineLoop::submit(StepBatch batch) {
  try {
    return chain_.submit({std::move(batch), {}});
  } catch (const std::bad_alloc&) {
    return Error(Code::kUnavailable, kNoMemory);
  }
}

void EngineLoop::on_answer(Result<StageOutput> answer) {
  if (owed_.empty()) return log_error("the chain answered a step that nobody asked for");
  const OwedStep step = owed_.front();
  owed_.pop_front();
  ++n_answered_;
  give_left_adapters();
  if (!step.wanted) return tracer_.drop_oldest();
  in_step_ = true;
  take_answer(step, std::move(answer));
  in_step_ = false;
}

void EngineLoop::take_answer(const OwedStep& step, Result<StageOutput> answer) {
  const Time now = steady_clock::now();

  if (answer) {
    const auto* tokens = std::get_if<SampledTokens>(&answer->value);
    tracer_.on_answer(answer->timings.empty() && tokens != nullptr ? tokens->timings : answer->timings);
  } else {
    tracer_.drop_oldest();
  }
  if (!answer && breaks_stream(answer.error().code())) return begin_outage(answer.error());
  Result<std::vector<Progress>> progress = [&]() -> Result<std::vector<Progress>> {
    if (!answer) return answer.error();
    const auto* tokens = std::get_if<SampledTokens>(&answer->value);
    if (tokens == nullptr) return Error(Code::kDataLoss, "the chain answered with rows instead of tokens");
    return scheduler_.commit(*tokens, std::chrono::ceil<std::chrono::microseconds>(now - step.since));
  }();
  if (!progress) {
    log_error("a step failed", {{"error", progress.error().to_string()}});
    // To a client the stages' lack of memory is no full queue.
    const bool is_out = progress.error().code() == Code::kResourceExhausted;
    const Error error = is_out ? Error(Code::kUnavailable, progress.error().message()) : progress.error();
    for (const SequenceId sequence : scheduler_.fail_step()) fail(sequence.value, error);
    return;
  }
  ++stats_.steps;
  stats_.last_timings = !answer->timings.empty() ? answer->timings : std::get<SampledTokens>(answer->value).timings;
  metrics_.on_step(step.n_rows, step.rebuild, stats_.last_timings, now);
  for (Progress& made : *progress) {
    try {
      on_progress(made);
    } catch (const std::bad_alloc&) {
      fail(made.sequence.value, Error(Code::kUnavailable, kNoMemory));
    }
  }
}

void EngineLoop::on_progress(Progress& progress) {
  const auto it = requests_.find(progress.sequence.value);
  if (it == requests_.end()) return;
  Request& request = *it->second;
  request.n_replays = 0;
  if (request.usage.completion_tokens == 0) request.usage.cached_tokens = progress.n_cached;
  if (progress.no_choice) {
    return fail(request.handle,
                Error(Code::kInvalidArgument, "every token is banned after ", request.usage.completion_tokens,
                      " tokens: allow more by allowed_token_ids, bad_words, min_tokens or ignore_eos"));
  }
  const std::size_t first = to_size(progress.first_scored);
  // A sequence that is computed again brings scores a second time, equal ones.
  if (request.prompt_scores.size() < first + progress.scored.size())
    request.prompt_scores.resize(first + progress.scored.size());
  const std::size_t n_top = to_size(std::max(0, request.asked.prompt_logprobs));
  for (std::size_t i = 0; i < progress.scored.size(); ++i) {
    ScoredToken& score = progress.scored[i];
    if (score.top.size() > n_top) score.top.resize(n_top);
    request.prompt_scores[first + i] = std::move(score);
  }
  GenerationEvent event;
  if (progress.sampled) {
    on_token(request, std::move(*progress.sampled), event);
  } else if (request.max_tokens == 0 && request.prompt_scores.size() == request.n_prompt_scores()) {
    event.finish = FinishReason::kLength;
  }
  if (event.finish) return finish(request, std::move(event));
  if (!event.text.empty() || !event.tokens.empty()) send(request, std::move(event));
}

void EngineLoop::on_token(Request& request, ScoredToken token, GenerationEvent& event) {
  const Time now = steady_clock::now();
  metrics_.on_token(request.times, now);
  if (!request.times.first_token) request.times.first_token = now;
  request.times.last_token = now;
  request.catches_up = false;
  ++request.usage.completion_tokens;
  ++stats_.generated_tokens;

  const TokenId id = token.chosen.token;
  std::optional<ScoredToken> score;
  if (const int n_top = request.asked.sampling.n_logprobs; n_top >= 0) {
    if (std::ssize(token.top) > n_top) token.top.resize(n_top);
    score = std::move(token);
  }
  const auto take = [&](TextStream::Output output) {
    event.text += output.text;
    std::ranges::move(output.tokens, std::back_inserter(event.tokens));
    if (!output.matched) return;
    event.finish = FinishReason::kStop;
    event.stop_string = std::move(output.matched);
  };
  const bool stops = std::ranges::find(request.stop_tokens, id) != request.stop_tokens.end();
  if (!stops || request.asked.include_stop) take(request.text.push(id, std::move(score)));
  if (event.finish) return;
  if (!stops && request.held) {
    if (const Status taken = request.held->accept(id); !taken) {
      event.finish = FinishReason::kError;
      event.error = taken.error();
      return;
    }
  }
  if (!stops && request.held && request.held->is_over()) {
    take(request.text.finish());
    if (!event.finish) event.finish = FinishReason::kStop;
  } else if (stops) {
    take(request.text.finish());
    if (event.finish) return;
    event.finish = FinishReason::kStop;
    event.stop_token = id;
  } else if (request.usage.completion_tokens >= request.max_tokens) {
    take(request.text.finish());
    if (!event.finish) event.finish = FinishReason::kLength;
  }
}

void EngineLoop::send(Request& request, GenerationEvent event) {
  event.usage = request.usage;
  if (!request.sent_scores && !event.error) {
    event.prompt_scores = std::move(request.prompt_scores);
    request.sent_scores = true;
  }
  outbox_.push_back({request.handle, request.gate, std::move(event)});
}

/// A sink wakes other threads, which may take this one's core: the stages get their next step first. One that finds no
/// memory for an event gets an error instead, its last one. What is left where memory runs out here too stays for the
/// next call.
void EngineLoop::deliver() {
  while (n_delivered_ < delivering_.size() || !outbox_.empty()) {
    if (n_delivered_ == delivering_.size()) {
      delivering_.clear();
      n_delivered_ = 0;
      delivering_.swap(outbox_);
    }
    Message& message = delivering_[n_delivered_++];
    if (message.gate == nullptr) continue;
    const bool is_last = message.event.finish.has_value();
    try {
      is_last ? message.gate->call_last(std::move(message.event)) : message.gate->call(std::move(message.event));
    } catch (const std::bad_alloc&) {
      on_undelivered(message, is_last);
    }
  }
}

void EngineLoop::on_undelivered(Message& message, bool is_last) {
  const Error error(Code::kUnavailable, kNoMemory);
  if (is_last) {
    if (!message.is_second_try) outbox_.push_back({message.handle, message.gate, last_event(error), true});
    return;
  }
  // What follows of the same request would leave a hole: its end is this error.
  bool ends = false;
  for (std::size_t i = n_delivered_; i < delivering_.size(); ++i) {
    Message& later = delivering_[i];
    if (later.handle != message.handle) continue;
    ends = later.event.finish.has_value();
    if (ends) later.event = last_event(error);
    if (!ends) later.gate.reset();
  }
  if (!ends) fail(message.handle, error);
}

void EngineLoop::publish_state() {
  stats_.running = scheduler_.n_running();
  stats_.waiting = scheduler_.n_waiting();
  stats_.decode_slots = scheduler_.decode_slots();
  const BlockManager& blocks = scheduler_.blocks();
  const BlockManager& windows = scheduler_.windows().blocks();
  stats_.kv_usage = std::max(blocks.usage(), windows.usage());
  stats_.kv_blocks_used = blocks.n_blocks() - blocks.n_free();
  stats_.kv_window_blocks_used = windows.n_blocks() - windows.n_free();
  stats_.preemptions = scheduler_.n_preemptions();
  stats_.prefix_queries = scheduler_.n_prefix_queries();
  stats_.prefix_hits = scheduler_.n_prefix_hits();
  metrics_.on_state(stats_);
  shared_.stats.with([&](EngineStats& stats) { stats = stats_; });
}

}  // namespace commissure
