#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "core/metrics.h"
#include "engine/engine.h"

namespace commissure {

/// When a request passed its marks, on the steady clock; a mark not reached yet is empty.
struct RequestTimes {
  using Time = std::chrono::steady_clock::time_point;
  Time submitted;
  std::optional<Time> scheduled;
  std::optional<Time> first_token;
  std::optional<Time> last_token;
};

/// What the engine counts, under vLLM's names. Threading: one thread observes, any thread reads the text.
class EngineMetrics {
 public:
  explicit EngineMetrics(const std::string& model_name);

  void on_prompt(int n_tokens) { prompt_tokens_.add(n_tokens); }
  /// A token arrived at `now`; `times` are those before it.
  void on_token(const RequestTimes& times, RequestTimes::Time now);
  void on_finish(FinishReason reason, const RequestTimes& times, RequestTimes::Time now);
  void on_step(int n_rows, const std::vector<StageTiming>& timings);
  void on_state(const EngineStats& stats);

  std::string text() const { return metrics_.text(); }

 private:
  struct StageHistograms {
    Histogram queue, compute, wire;
  };
  StageHistograms& stage(const std::string& name);

  Metrics metrics_;
  const MetricLabels labels_;
  Gauge running_, waiting_, kv_usage_;
  Counter prompt_tokens_, generation_tokens_, preemptions_, replays_;
  Histogram first_token_, inter_token_, total_, queue_time_, prefill_time_, decode_time_, iteration_tokens_;
  std::map<std::string, StageHistograms> stages_;
};

}  // namespace commissure
