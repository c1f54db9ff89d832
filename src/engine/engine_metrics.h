#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
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
  EngineMetrics(const std::string& model_name, const EngineOptions& options);

  void on_prompt(int n_tokens) { prompt_tokens_.add(n_tokens); }
  /// A token arrived at `now`; `times` are the request's marks before it.
  void on_token(const RequestTimes& times, RequestTimes::Time now);
  void on_finish(FinishReason reason, const RequestTimes& times, const Usage& usage, RequestTimes::Time now);
  /// A step was answered at `now`.
  /// `rebuild`: in a rebuild step, the stages that computed the rows; else empty. `timings`: first stage first.
  void on_step(int n_rows, StageSpan rebuild, const std::vector<StageTiming>& timings, RequestTimes::Time now);
  void on_state(const EngineStats& stats);

  std::string text() const { return metrics_.text(); }

 private:
  struct StageMetrics {
    Histogram queue, compute, wire;
    Counter idle, rows, bytes_in, bytes_out;
  };
  StageMetrics& stage(const std::string& name);

  Metrics metrics_;
  const MetricLabels labels_;
  const std::vector<int> row_bytes_;  // into stage i + 1
  Gauge running_, waiting_, decode_slots_, kv_usage_, kv_blocks_, kv_blocks_used_, kv_window_blocks_,
      kv_window_blocks_used_;
  Counter prompt_tokens_, generation_tokens_, preemptions_, replays_, kept_, prefix_queries_, prefix_hits_;
  Histogram first_token_, inter_token_, total_, queue_time_, prefill_time_, decode_time_, inference_time_,
      per_token_time_, iteration_tokens_, request_prompt_, request_generation_;
  std::map<std::string, StageMetrics> stages_;
  std::optional<RequestTimes::Time> last_step_;  ///< while requests run
};

}  // namespace commissure
