#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "support/fake_chain.h"
#include "support/fake_tokenizer.h"

namespace commissure {

inline constexpr std::chrono::seconds kTestPatience{20};

/// All that a request's events said.
struct Answer {
  std::string text;
  std::vector<GeneratedToken> tokens;
  std::vector<ScoredToken> prompt_scores;
  FinishReason finish = FinishReason::kError;
  std::optional<std::string> stop_string;
  std::optional<TokenId> stop_token;
  std::optional<Error> error;
  Usage usage;
  int n_events = 0;

  /// Whether the client would see the same.
  bool same(const Answer& other) const {
    const auto scores_equal = [](const GeneratedToken& a, const GeneratedToken& b) {
      return a.token == b.token && a.bytes == b.bytes && a.score == b.score;
    };
    return text == other.text && prompt_scores == other.prompt_scores && finish == other.finish &&
           stop_string == other.stop_string && stop_token == other.stop_token &&
           usage.completion_tokens == other.usage.completion_tokens &&
           std::ranges::equal(tokens, other.tokens, scores_equal);
  }
};

/// Gathers events until the last one.
class Collector {
 public:
  EventSink sink() {
    return [state = state_](GenerationEvent event) {
      Answer& all = state->answer;
      ++all.n_events;
      all.text += event.text;
      for (GeneratedToken& token : event.tokens) all.tokens.push_back(std::move(token));
      if (all.n_events == 1) all.prompt_scores = std::move(event.prompt_scores);
      all.usage = event.usage;
      state->n_events = all.n_events;
      if (!event.finish) return;
      all.finish = *event.finish;
      all.stop_string = event.stop_string;
      all.stop_token = event.stop_token;
      all.error = event.error;
      state->done.set_value();
    };
  }
  bool is_done(std::chrono::milliseconds wait = std::chrono::milliseconds{0}) const {
    return future_.wait_for(wait) == std::future_status::ready;
  }
  int n_events() const { return state_->n_events; }
  const Answer& wait() const {
    EXPECT_TRUE(is_done(kTestPatience)) << "no last event";
    return state_->answer;
  }

 private:
  struct State {
    Answer answer;
    std::atomic<int> n_events = 0;
    std::promise<void> done;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
  std::shared_future<void> future_ = state_->done.get_future().share();
};

inline ServedModel fake_model(int context_length = 1024) {
  ServedModel model;
  model.name = "fake";
  model.context_length = context_length;
  model.tokenizer = std::make_shared<FakeTokenizer>();
  return model;
}

inline EngineOptions small_options() {
  EngineOptions options;
  options.max_step_rows = 64;
  options.n_kv_blocks = 64;
  options.recovery_limit = kTestPatience;
  return options;
}

/// A request of `n_prompt` tokens; `seed` makes it unlike the others.
inline GenerationRequest make_request(int n_prompt, int max_tokens, std::uint64_t seed = 1) {
  GenerationRequest request;
  for (int i = 0; i < n_prompt; ++i) request.prompt.emplace_back('A' + (i * 7 + static_cast<int>(seed)) % 26);
  request.max_tokens = max_tokens;
  request.sampling.seed = seed;
  return request;
}

/// A fake chain with an engine on it.
struct Bench {
  FakeChain chain;
  std::unique_ptr<Engine> engine;

  explicit Bench(EngineOptions options = small_options(), int context_length = 1024) : chain(options.n_kv_blocks) {
    options_ = options;
    model_ = fake_model(context_length);
  }
  ~Bench() {
    engine.reset();
    EXPECT_EQ(chain.problem(), "");
  }
  Engine& start() {
    engine = Engine::create(model_, options_, chain);
    return *engine;
  }
  /// Waits until nothing runs and all blocks are free.
  bool is_idle() const {
    return until([&] {
      const EngineStats stats = engine->stats();
      return stats.running == 0 && stats.waiting == 0 && stats.kv_usage == 0.0;
    });
  }
  template <typename Condition>
  static bool until(const Condition& condition) {
    const auto end = std::chrono::steady_clock::now() + kTestPatience;
    while (!condition()) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
  }

 private:
  EngineOptions options_;
  ServedModel model_;
};

inline Answer run_one(Engine& engine, GenerationRequest request) {
  Collector collector;
  const auto handle = engine.submit(std::move(request), collector.sink());
  EXPECT_TRUE(handle.has_value()) << (handle ? "" : handle.error().to_string());
  return handle ? collector.wait() : Answer{};
}

/// Short and long, with and without stop strings, scores and end tokens.
inline std::vector<GenerationRequest> mixed_requests(int n) {
  std::vector<GenerationRequest> requests;
  for (int i = 0; i < n; ++i) {
    GenerationRequest request = make_request(1 + (i * 37) % 180, 1 + (i * 13) % 70, static_cast<std::uint64_t>(i + 1));
    if (i % 3 == 0) request.stop = {"e", "qz"};
    if (i % 4 == 1) request.sampling.n_logprobs = i % 3;
    if (i % 5 == 2) request.prompt_logprobs = 2;
    if (i % 5 == 4) request.ignore_eos = true;
    if (i % 7 == 6) request.max_tokens = 0, request.prompt_logprobs = 1;
    if (i % 6 == 5) request.include_stop = true, request.stop_tokens = {TokenId('k')};
    requests.push_back(std::move(request));
  }
  return requests;
}

inline std::vector<Answer> run_alone(const std::vector<GenerationRequest>& requests) {
  Bench bench;
  Engine& engine = bench.start();
  std::vector<Answer> answers;
  for (const GenerationRequest& request : requests) answers.push_back(run_one(engine, request));
  return answers;
}

/// Submits all at once and waits for all.
inline std::vector<Answer> run_together(Engine& engine, const std::vector<GenerationRequest>& requests) {
  std::vector<Collector> collectors(requests.size());
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const auto handle = engine.submit(requests[i], collectors[i].sink());
    EXPECT_TRUE(handle.has_value()) << (handle ? "" : handle.error().to_string());
  }
  std::vector<Answer> answers;
  for (const Collector& collector : collectors) answers.push_back(collector.wait());
  return answers;
}

inline void expect_same(const std::vector<Answer>& got, const std::vector<Answer>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    EXPECT_TRUE(got[i].same(want[i])) << "request " << i << ": '" << got[i].text << "' instead of '" << want[i].text
                                      << "'" << (got[i].error ? got[i].error->to_string() : "");
  }
}

}  // namespace commissure
