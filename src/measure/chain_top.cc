#include "measure/chain_top.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "client/stage_table.h"
#include "core/json_fields.h"
#include "terminal/progress.h"

namespace commissure {

namespace {

/// A metric under our name, or where the server shows that instead, under vLLM's.
std::string full_name(const MetricsText& page, const std::string& name, const std::string& ending) {
  const std::string own = "commissure_" + name + ending;
  if (page.has(own)) return own;
  const std::string theirs = "vllm:" + (name == "iteration_tokens" ? "iteration_tokens_total" : name) + ending;
  return page.has(theirs) ? theirs : own;
}

double seconds_between(const ChainSample& before, const ChainSample& now) {
  return std::max(1e-6, std::chrono::duration<double>(now.at - before.at).count());
}

/// What a counter gained; a counter that starts again from 0 (the process is a new one) gained what it has.
double gain(const ChainSample& before, const ChainSample& now, const std::string& name, const std::string& ending = "",
            const MetricsText::Labels& labels = {}) {
  const std::string full = full_name(now.metrics, name, ending);
  const double value = now.metrics.sum(full, labels);
  const double old = before.metrics.sum(full, labels);
  return value >= old ? value - old : value;
}

/// "p50 12.3 ms, p99 40.0 ms" of what a histogram gained.
std::string latency(const ChainSample& before, const ChainSample& now, const std::string& name) {
  const std::string bucket = full_name(now.metrics, name, "_bucket");
  const std::string full = bucket.substr(0, bucket.size() - std::string_view("_bucket").size());
  const auto old = before.metrics.buckets(full);
  const auto current = now.metrics.buckets(full);
  const auto p50 = histogram_quantile(old, current, 0.5);
  const auto p99 = histogram_quantile(old, current, 0.99);
  if (!p50 || !p99) return "-";
  return fmt::format("p50 {:.1f} ms  p99 {:.1f} ms", *p50 * 1000, *p99 * 1000);
}

std::string bar(double share, int width) {
  const long n_full = std::lround(std::clamp(share, 0.0, 1.0) * width);
  return fmt::format("[{:.<{}}]", std::string(n_full, '#'), width);
}

/// Milliseconds per step of one of the stage's histograms, or "-" when no step ran.
std::string per_step(const ChainSample& before, const ChainSample& now, const std::string& name,
                     const MetricsText::Labels& labels) {
  const double n = gain(before, now, name, "_count", labels);
  return n > 0 ? fmt::format("{:.2f}", gain(before, now, name, "_sum", labels) / n * 1000) : "-";
}

std::string stage_row(const Json& stage, const ChainSample& before, const ChainSample& now) {
  const std::string name = text_of(stage, "stage");
  std::string layers = "?";
  if (const Json* range = find_member(stage, "layers"); range != nullptr && range->is_array() && range->size() == 2)
    layers = fmt::format("{}-{}", (*range)[0].get<int>(), (*range)[1].get<int>() - 1);
  const std::string problem = text_of(stage, "problem");
  const MetricsText::Labels labels = {{"stage", name}};
  const double busy = gain(before, now, "stage_compute_seconds", "_sum", labels) / seconds_between(before, now);
  return fmt::format("{:<6}{:<8}{:<13}{:>9}{:>9}{:>6}{:>9}{:>10}{:>9}\n{}", name, layers, stage_state(stage),
                     human_bytes(static_cast<std::uint64_t>(number_of(stage, "weight_bytes"))),
                     human_bytes(static_cast<std::uint64_t>(number_of(stage, "resident_bytes"))),
                     fmt::format("{:.0f}%", std::min(100.0, busy * 100)),
                     per_step(before, now, "stage_compute_seconds", labels),
                     per_step(before, now, "stage_queue_seconds", labels),
                     per_step(before, now, "stage_wire_seconds", labels), problem.empty() ? "" : "  " + problem + "\n");
}

Result<std::string> fetch_metrics(const ApiAddress& endpoint) {
  const HttpReply reply = TRY(fetch_page(endpoint, "/metrics"));
  if (reply.status >= 400) return server_error(reply.status, reply.body);
  return reply.body;
}

}  // namespace

ChainSample sample_chain(const ApiAddress& endpoint) {
  ChainSample sample;
  sample.at = std::chrono::steady_clock::now();
  const auto health = exchange_json(endpoint, "/health");
  if (!health) {
    sample.problem = health.error().message();
    return sample;
  }
  sample.health = *health;
  if (const Json* error = find_member(*health, "error")) sample.problem = text_of(*error, "message");
  const auto page = fetch_metrics(endpoint);
  if (page) {
    sample.metrics = MetricsText(*page);
  } else {
    sample.gap = "no metrics: " + page.error().message();  // the chain itself may be well
  }
  return sample;
}

std::string top_text(const std::string& url, const std::deque<ChainSample>& samples) {
  const ChainSample& now = samples.back();
  const ChainSample& before = samples.size() > 1 ? samples[samples.size() - 2] : now;
  const ChainSample& oldest = samples.front();
  const double seconds = seconds_between(before, now);
  const auto rate = [&](const char* name) { return gain(before, now, name) / seconds; };
  const auto gauge = [&](const char* name) { return now.metrics.sum(full_name(now.metrics, name, "")); };

  std::string text =
      fmt::format("{}  {}  {}\n", text_of(now.health, "model"), url, now.problem.empty() ? "healthy" : "NOT HEALTHY");
  if (!now.problem.empty()) text += now.problem + "\n";
  if (!now.gap.empty()) text += now.gap + "\n";
  if (now.health.is_null()) return text;
  text += fmt::format("Requests   {:.0f} running  {:.0f} waiting  {:.1f} finished/s  {:.0f} preemptions\n",
                      gauge("num_requests_running"), gauge("num_requests_waiting"), rate("request_success_total"),
                      gauge("num_preemptions_total"));
  text += fmt::format("Tokens     {:.1f} out/s  {:.1f} in/s  {:.1f} steps/s\n", rate("generation_tokens_total"),
                      rate("prompt_tokens_total"), gain(before, now, "iteration_tokens", "_count") / seconds);
  text += fmt::format("TTFT       {}\n", latency(oldest, now, "time_to_first_token_seconds"));
  text += fmt::format("ITL        {}\n", latency(oldest, now, "inter_token_latency_seconds"));
  const double kv = gauge("kv_cache_usage_perc");
  text += fmt::format("KV cache   {} {:.1f}%\n\n", bar(kv, 30), kv * 100);
  text += fmt::format("{:<6}{:<8}{:<13}{:>9}{:>9}{:>6}{:>9}{:>10}{:>9}\n", "stage", "layers", "state", "weights",
                      "memory", "busy", "step ms", "queue ms", "wire ms");
  if (const Json* stages = find_member(now.health, "stages"); stages != nullptr && stages->is_array()) {
    for (const Json& stage : *stages) text += stage_row(stage, before, now);
  }
  return text;
}

}  // namespace commissure
