#include "engine/engine.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <thread>
#include <utility>

#include "core/index.h"
#include "core/scarce.h"
#include "engine/engine_loop.h"

namespace commissure {

namespace {

constexpr const char* kShuttingDown = "the server is shutting down";

/// Room for every message that live requests and steps can cause, so that neither the scheduler thread (through a sink
/// that cancels) nor a link's thread ever waits for room.
std::size_t inbox_capacity(const EngineOptions& options) {
  return to_size(4 * (options.queue_limit + options.max_sequences) + 2 * options.steps_in_flight + 64);
}

class ThreadedEngine final : public Engine {
 public:
  ThreadedEngine(ServedModel model, EngineOptions options, StageLink& chain)
      : model_(std::move(model)),
        options_(std::move(options)),
        chain_(chain),
        shared_(inbox_capacity(options_)),
        metrics_(model_.name, options_),
        keeper_(options_.adapters.identify ? std::make_unique<AdapterKeeper>(chain_, options_.adapters) : nullptr),
        loop_(model_, options_, chain_, shared_, metrics_, keeper_.get()) {
    chain_.start([this](Result<StageOutput> answer) { take(std::move(answer)); });
    thread_ = std::jthread([this](const std::stop_token& stop) { loop_.run(stop); });
  }

  ~ThreadedEngine() override {
    thread_.request_stop();
    chain_.stop();  // also ends a submit that waits, and answers no step after this
    thread_.join();
  }

  const ServedModel& model() const override { return model_; }
  const EngineOptions& options() const override { return options_; }
  AdapterKeeper* adapters() const override { return keeper_.get(); }
  Result<RequestHandle> submit(GenerationRequest asked, EventSink sink) override;
  Status admission() const override;
  void cancel(RequestHandle request) override;
  void reset_prefix_cache() override { shared_.forget_prefixes = true; }
  Status health() const override;
  EngineStats stats() const override { return shared_.stats.copy(); }
  std::string metrics_text() const override { return metrics_.text(); }
  void drain(std::chrono::milliseconds grace) override;

 private:
  void take(EngineMessage answer);
  Error queue_is_full() const;
  Result<int> resolve_max_tokens(const GenerationRequest& asked) const;
  Result<std::unique_ptr<Request>> make_request(GenerationRequest asked, EventSink sink);

  const ServedModel model_;
  const EngineOptions options_;
  StageLink& chain_;
  EngineShared shared_;
  EngineMetrics metrics_;
  const std::unique_ptr<AdapterKeeper> keeper_;  // its thread writes to shared_
  EngineLoop loop_;
  std::atomic<RequestHandle> next_handle_ = 1;
  std::jthread thread_;
};

/// How many tokens the request may generate. Errors: kOutOfRange naming what was asked and what there is.
Result<int> ThreadedEngine::resolve_max_tokens(const GenerationRequest& asked) const {
  const std::int64_t in_cache = std::int64_t{options_.n_kv_blocks} * kBlockPositions;
  const std::int64_t capacity = std::min<std::int64_t>(model_.context_length, in_cache);
  const auto n_prompt = static_cast<std::int64_t>(asked.prompt.size());
  const std::int64_t n_asked = asked.max_tokens >= 0 ? asked.max_tokens : 1;
  if (n_prompt + n_asked > capacity) {
    const char* what = in_cache < model_.context_length ? "the KV cache" : "the context";
    return Error(Code::kOutOfRange, what, " holds ", capacity, " tokens, the request has ", n_prompt,
                 " in the prompt and asks for ", asked.max_tokens >= 0 ? "" : "at least ", n_asked,
                 ": shorten the prompt or max_tokens");
  }
  return static_cast<int>(asked.max_tokens >= 0 ? n_asked : capacity - n_prompt);
}

/// On a link's thread. A step without its answer would be waited for without end, so this waits for the memory to put
/// it down.
void ThreadedEngine::take(EngineMessage answer) {
  do_once_possible([&] { shared_.inbox.push(std::move(answer)); });
}

/// Images lie one behind the other in the prompt.
Status check_images(const GenerationRequest& asked) {
  std::int64_t end_before = 0;
  for (const PlacedImage& image : asked.images) {
    if (image.rows == nullptr || image.rows->n_rows < 1 || image.first_position < end_before ||
        std::int64_t{image.first_position} + image.rows->n_rows > std::ssize(asked.prompt)) {
      return Error(Code::kInvalidArgument, "an image at position ", image.first_position, ", after ", end_before,
                   ", does not lie in a prompt of ", asked.prompt.size(), " tokens");
    }
    end_before = image.end();
  }
  return {};
}

Result<std::unique_ptr<Request>> ThreadedEngine::make_request(GenerationRequest asked, EventSink sink) {
  if (asked.prompt.empty()) return Error(Code::kInvalidArgument, "the prompt has no tokens");
  const auto unknown = [&](TokenId token) { return !model_.tokenizer->contains(token); };
  for (const std::vector<TokenId>* ids :
       {&asked.prompt, &asked.stop_tokens, &asked.sampling.banned, &asked.sampling.allowed}) {
    if (const auto it = std::ranges::find_if(*ids, unknown); it != ids->end()) {
      return Error(Code::kInvalidArgument, "token id ", it->value, " is not in the vocabulary of ",
                   model_.tokenizer->n_tokens(), " tokens");
    }
  }
  TRY(check_images(asked));
  if (!std::isfinite(asked.adapter_scale)) return Error(Code::kInvalidArgument, "an adapter's scale is no number");
  if (!asked.adapter.empty() && (keeper_ == nullptr || !keeper_->knows(asked.adapter)))
    return Error(Code::kNotFound, "there is no adapter '", asked.adapter, "'");
  std::vector<TokenId> stop_tokens = asked.stop_tokens;
  std::vector<TokenId>& ends = asked.ignore_eos ? asked.sampling.banned : stop_tokens;
  std::ranges::copy(model_.tokenizer->end_tokens(), std::back_inserter(ends));
  std::ranges::copy_if(model_.defaults.end_tokens, std::back_inserter(ends), std::not_fn(unknown));
  asked.sampling.n_prompt = count_of(asked.prompt);
  if (asked.sampling.min_tokens > 0) asked.sampling.end_tokens = stop_tokens;
  SamplingParams sent = asked.sampling;
  sent.n_logprobs = std::max(sent.n_logprobs, asked.prompt_logprobs);
  TRY(validate(sent));

  std::optional<HeldAnswer> held;
  if (asked.grammar.grammar != nullptr) {
    std::vector<TokenId> all_ends = model_.tokenizer->end_tokens();
    all_ends.insert(all_ends.end(), model_.defaults.end_tokens.begin(), model_.defaults.end_tokens.end());
    held.emplace(*model_.tokenizer, asked.grammar, std::move(all_ends));
    TRY(held->begin());
  }

  const int max_tokens = TRY(resolve_max_tokens(asked));
  const RequestHandle handle = next_handle_++;
  if (asked.id.empty()) asked.id = fmt::format("req-{}", handle);
  RequestTimes times;
  times.submitted = std::chrono::steady_clock::now();
  std::optional<RequestTimes::Time> deadline;
  if (asked.timeout)
    deadline = times.submitted + std::min(*asked.timeout, std::chrono::milliseconds(std::chrono::hours(24 * 365)));
  Usage usage;
  usage.prompt_tokens = count_of(asked.prompt);
  TextStream text(*model_.tokenizer, asked.stop, asked.include_stop, asked.shown_tokens);
  return std::unique_ptr<Request>(new Request{.handle = handle,
                                              .asked = std::move(asked),
                                              .max_tokens = max_tokens,
                                              .stop_tokens = std::move(stop_tokens),
                                              .gate = std::make_shared<EventGate>(std::move(sink)),
                                              .text = std::move(text),
                                              .times = times,
                                              .deadline = deadline,
                                              .usage = usage,
                                              .prompt_scores = {},
                                              .held = std::move(held)});
}

Error ThreadedEngine::queue_is_full() const {
  return Error(Code::kResourceExhausted, "the queue is full: ", options_.max_sequences + options_.queue_limit,
               " requests are running or waiting, try again later");
}

/// A request may wait for the chain if that is well, or was and has been away for less than the recovery limit.
Status ThreadedEngine::admission() const {
  if (shared_.draining) return Error(Code::kUnavailable, kShuttingDown);
  if (shared_.n_alive >= options_.max_sequences + options_.queue_limit) return queue_is_full();
  if (shared_.moving) return {};
  const std::optional<EngineShared::Outage> outage = shared_.outage.copy();
  if (outage && !outage->gave_up) return {};
  const Status chain = outage ? Status(outage->cause) : chain_.health();
  if (chain) shared_.was_ready = true;
  const bool is_back_soon = !outage && shared_.was_ready && !chain && is_about_the_stream(chain.error().code());
  if (chain || is_back_soon) return {};
  return Error(Code::kUnavailable, chain.error().message());
}

Result<RequestHandle> ThreadedEngine::submit(GenerationRequest asked, EventSink sink) {
  std::unique_ptr<Request> request = TRY(make_request(std::move(asked), std::move(sink)));
  TRY(admission());
  const RequestHandle handle = request->handle;
  // Counted before draining is read again, so drain() sees either the count or no request.
  if (++shared_.n_alive > options_.max_sequences + options_.queue_limit || shared_.draining) {
    --shared_.n_alive;
    if (shared_.draining) return Error(Code::kUnavailable, kShuttingDown);
    return queue_is_full();
  }
  const auto hand_over = [&]() -> Status {
    shared_.gates.with([&](auto& gates) { gates.emplace(handle, request->gate); });
    if (shared_.inbox.push(std::move(request))) return {};
    return Error(Code::kUnavailable, kShuttingDown);
  };
  Status taken = unless_scarce(hand_over, []() -> Status { return no_memory(Code::kUnavailable); });
  if (!taken) {
    shared_.gates.with([&](auto& gates) { gates.erase(handle); });
    --shared_.n_alive;
    return std::move(taken).error();
  }
  return handle;
}

void ThreadedEngine::cancel(RequestHandle handle) {
  const std::shared_ptr<EventGate> gate = shared_.gates.with([&](auto& gates) {
    const auto it = gates.find(handle);
    return it == gates.end() ? nullptr : it->second;
  });
  if (gate == nullptr || !gate->close()) return;
  done_unless_scarce([&] { shared_.inbox.push(CancelMessage{handle}); });  // else it runs to its end, unheard
}

Status ThreadedEngine::health() const {
  if (shared_.draining) return Error(Code::kUnavailable, kShuttingDown);
  if (const std::optional<EngineShared::Outage> outage = shared_.outage.copy()) {
    const char* state = outage->gave_up ? "" : "the stages are being recovered: ";
    return Error(Code::kUnavailable, state, outage->cause.message());
  }
  if (Status chain = chain_.health(); !chain) return Error(Code::kUnavailable, chain.error().message());
  shared_.was_ready = true;
  return {};
}

void ThreadedEngine::drain(std::chrono::milliseconds grace) {
  shared_.draining = true;
  DrainMessage message{std::chrono::steady_clock::now() + grace, {}};
  std::future<void> done = message.done.get_future();
  if (!shared_.inbox.push(std::move(message))) return;
  // The loop answers at the latest when the grace is over; the margin covers a link that holds it in a submit.
  done.wait_for(grace + std::chrono::seconds(2));
}

}  // namespace

std::unique_ptr<Engine> Engine::create(ServedModel model, EngineOptions options, StageLink& chain) {
  return std::make_unique<ThreadedEngine>(std::move(model), std::move(options), chain);
}

}  // namespace commissure
