#include "engine/engine_metrics.h"

#include <algorithm>
#include <cmath>

#include "core/index.h"

namespace commissure {

namespace {

const std::vector<double> kFirstTokenBounds = {.001, .005, .01, .02, .04, .06, .08, .1, .25, .5,  .75,
                                               1,    2.5,  5,   7.5, 10,  20,  40,  80, 160, 640, 2560};
const std::vector<double> kInterTokenBounds = {.001, .0025, .005, .01, .025, .05, .075, .1, .15, .2, .3,
                                               .4,   .5,    .75,  1,   2.5,  5,   7.5,  10, 20,  40, 80};
const std::vector<double> kRequestBounds = {.01, .05, .1, .3, .5, .8, 1,   1.5, 2,   2.5, 5,    10,
                                            15,  20,  30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680};
const std::vector<double> kStageBounds = {.0001, .00025, .0005, .001, .0025, .005, .01, .025,
                                          .05,   .1,     .25,   .5,   1,     2.5,  5,   10};
const std::vector<double> kRowBounds = {1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384};
const std::vector<double> kLengthBounds = {1,   2,    5,    10,   20,    50,    100,   200,
                                           500, 1000, 2000, 5000, 10000, 20000, 50000, 100000};

double seconds(RequestTimes::Time from, RequestTimes::Time to) {
  return std::chrono::duration<double>(to - from).count();
}

MetricLabels with(MetricLabels labels, std::string name, std::string value) {
  labels.emplace(std::move(name), std::move(value));
  return labels;
}

const char* reason_label(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop: return "stop";
    case FinishReason::kLength: return "length";
    case FinishReason::kCancelled: return "abort";
    case FinishReason::kError: return "error";
  }
  return "error";
}

}  // namespace

EngineMetrics::EngineMetrics(const std::string& model_name, const EngineOptions& options)
    : metrics_("commissure_"),
      labels_{{"model_name", model_name}},
      row_bytes_(options.boundary_row_bytes),
      running_(metrics_.gauge("num_requests_running", "Requests in the running batch.", labels_)),
      waiting_(metrics_.gauge("num_requests_waiting", "Requests waiting to run.", labels_)),
      decode_slots_(metrics_.gauge("decode_slots", "Steps in flight that decode rows are spread over.", labels_)),
      kv_usage_(metrics_.gauge("kv_cache_usage_perc", "Share of the KV blocks in use, 0 to 1.", labels_)),
      kv_blocks_(metrics_.gauge("kv_blocks", "KV blocks that every stage has.", labels_)),
      kv_blocks_used_(metrics_.gauge("kv_blocks_used", "KV blocks that sequences hold.", labels_)),
      kv_window_blocks_(metrics_.gauge("kv_window_blocks",
                                       "KV blocks of layers with a sliding window that every stage has.", labels_)),
      kv_window_blocks_used_(metrics_.gauge("kv_window_blocks_used", "Of these, those that sequences hold.", labels_)),
      prompt_tokens_(metrics_.counter("prompt_tokens_total", "Prompt tokens of admitted requests.", labels_)),
      generation_tokens_(metrics_.counter("generation_tokens_total", "Tokens generated.", labels_)),
      preemptions_(
          metrics_.counter("num_preemptions_total", "Sequences that lost their KV blocks to an older one.", labels_)),
      replays_(metrics_.counter("num_replays_total",
                                "Sequences computed again, by some or all stages, after the chain broke.", labels_)),
      kept_(metrics_.counter("num_kept_total",
                             "Sequences that went on after the chain broke with nothing computed again.", labels_)),
      prefix_queries_(metrics_.counter("prefix_cache_queries_total", "Tokens looked up in the prefix cache.", labels_)),
      prefix_hits_(metrics_.counter("prefix_cache_hits_total", "Tokens found in the prefix cache.", labels_)),
      first_token_(
          metrics_.histogram("time_to_first_token_seconds", "Submit to first token.", kFirstTokenBounds, labels_)),
      inter_token_(
          metrics_.histogram("inter_token_latency_seconds", "Token to next token.", kInterTokenBounds, labels_)),
      total_(metrics_.histogram("e2e_request_latency_seconds", "Submit to end.", kRequestBounds, labels_)),
      queue_time_(
          metrics_.histogram("request_queue_time_seconds", "Submit to first scheduled.", kRequestBounds, labels_)),
      prefill_time_(metrics_.histogram("request_prefill_time_seconds", "First scheduled to first token.",
                                       kRequestBounds, labels_)),
      decode_time_(metrics_.histogram("request_decode_time_seconds", "First to last token.", kRequestBounds, labels_)),
      inference_time_(metrics_.histogram("request_inference_time_seconds", "First scheduled to last token.",
                                         kRequestBounds, labels_)),
      per_token_time_(metrics_.histogram("request_time_per_output_token_seconds",
                                         "A request's mean time per token after its first.", kInterTokenBounds,
                                         labels_)),
      iteration_tokens_(metrics_.histogram("iteration_tokens", "Rows per step.", kRowBounds, labels_)),
      request_prompt_(
          metrics_.histogram("request_prompt_tokens", "Prompt tokens of a finished request.", kLengthBounds, labels_)),
      request_generation_(metrics_.histogram("request_generation_tokens", "Generated tokens of a finished request.",
                                             kLengthBounds, labels_)) {
  kv_blocks_.set(options.n_kv_blocks);
  kv_window_blocks_.set(options.n_window_blocks);
  // All reasons from the start: a rate over a series that appears later would miss its first count.
  for (const char* reason : {"stop", "length", "abort", "error"}) {
    metrics_.counter("request_success_total", "Finished requests.", with(labels_, "finished_reason", reason));
  }
}

void EngineMetrics::on_token(const RequestTimes& times, RequestTimes::Time now) {
  generation_tokens_.add();
  if (times.last_token) {
    inter_token_.observe(seconds(*times.last_token, now));
  } else {
    first_token_.observe(seconds(times.submitted, now));
  }
}

void EngineMetrics::on_finish(FinishReason reason, const RequestTimes& times, const Usage& usage,
                              RequestTimes::Time now) {
  metrics_
      .counter("request_success_total", "Finished requests.", with(labels_, "finished_reason", reason_label(reason)))
      .add();
  total_.observe(seconds(times.submitted, now));
  if (times.scheduled) queue_time_.observe(seconds(times.submitted, *times.scheduled));
  if (times.scheduled && times.first_token) prefill_time_.observe(seconds(*times.scheduled, *times.first_token));
  request_prompt_.observe(usage.prompt_tokens);
  request_generation_.observe(usage.completion_tokens);
  if (!times.first_token || !times.last_token) return;
  const double decode = seconds(*times.first_token, *times.last_token);
  decode_time_.observe(decode);
  if (times.scheduled) inference_time_.observe(seconds(*times.scheduled, *times.last_token));
  if (usage.completion_tokens > 1) per_token_time_.observe(decode / (usage.completion_tokens - 1));
}

EngineMetrics::StageMetrics& EngineMetrics::stage(const std::string& name) {
  const auto it = stages_.find(name);
  if (it != stages_.end()) return it->second;
  const MetricLabels labels = with(labels_, "stage", name);
  const auto bytes = [&](const char* direction) {
    return metrics_.counter("stage_boundary_bytes_total", "Bytes of boundary rows into and out of a stage.",
                            with(labels, "direction", direction));
  };
  const auto make = [&](const char* metric, const char* help) {
    return metrics_.histogram(metric, help, kStageBounds, labels);
  };
  return stages_
      .emplace(name, StageMetrics{make("stage_queue_seconds", "A step's wait before a stage."),
                                  make("stage_compute_seconds", "A step's time in a stage."),
                                  make("stage_wire_seconds", "A step's time between a stage and the next."),
                                  metrics_.counter("stage_idle_seconds_total",
                                                   "Bubbles: time a stage did not compute while steps ran.", labels),
                                  metrics_.counter("stage_rows_total", "Rows a stage computed.", labels), bytes("in"),
                                  bytes("out")})
      .first->second;
}

void EngineMetrics::on_step(int n_rows, StageSpan rebuild, const std::vector<StageTiming>& timings,
                            RequestTimes::Time now) {
  const std::optional<double> passed = last_step_ ? std::optional(seconds(*last_step_, now)) : std::nullopt;
  last_step_ = now;
  if (rebuild.empty()) iteration_tokens_.observe(n_rows);
  const auto rows_into = [&](int index) { return rebuild.empty() || rebuild.contains(index) ? n_rows : 0; };
  const int n_stages = count_of(timings);
  for (int i = 0; i < n_stages; ++i) {
    const StageTiming& timing = timings[i];
    // Names come from other processes: more than a chain can have would be an attack on memory.
    if (stages_.size() >= kMaxStages && !stages_.contains(timing.stage)) continue;
    StageMetrics& metrics = stage(timing.stage);
    metrics.queue.observe(timing.queue_us * 1e-6);
    metrics.compute.observe(timing.compute_us * 1e-6);
    metrics.wire.observe(timing.wire_us * 1e-6);
    metrics.rows.add(rows_into(i));
    const auto bytes_into = [&](int next) {
      return has_index(row_bytes_, next - 1) ? static_cast<double>(rows_into(next)) * row_bytes_[next - 1] : 0.0;
    };
    if (i > 0) metrics.bytes_in.add(bytes_into(i));
    if (i + 1 < n_stages) metrics.bytes_out.add(bytes_into(i + 1));
    // Steps are answered one after the other: what a stage did not compute since the last answer, it waited.
    if (passed) metrics.idle.add(std::max(0.0, *passed - timing.compute_us * 1e-6));
  }
}

void EngineMetrics::on_state(const EngineStats& stats) {
  running_.set(stats.running);
  waiting_.set(stats.waiting);
  decode_slots_.set(stats.decode_slots);
  kv_usage_.set(stats.kv_usage);
  kv_blocks_used_.set(stats.kv_blocks_used);
  kv_window_blocks_used_.set(stats.kv_window_blocks_used);
  if (stats.running == 0) last_step_.reset();  // a stage without work is no bubble
  preemptions_.add(static_cast<double>(stats.preemptions) - preemptions_.value());
  replays_.add(static_cast<double>(stats.replays) - replays_.value());
  kept_.add(static_cast<double>(stats.kept) - kept_.value());
  prefix_queries_.add(static_cast<double>(stats.prefix_queries) - prefix_queries_.value());
  prefix_hits_.add(static_cast<double>(stats.prefix_hits) - prefix_hits_.value());
}

}  // namespace commissure
