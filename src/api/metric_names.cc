#include "api/metric_names.h"

#include <algorithm>
#include <utility>

namespace commissure {

namespace {

constexpr std::string_view kOwnPrefix = "commissure_";
constexpr std::string_view kVllmPrefix = "vllm:";

/// Ours without prefix, and vLLM's. Source: vLLM's v1 metrics.
constexpr std::pair<std::string_view, std::string_view> kNames[] = {
    {"num_requests_running", "num_requests_running"},
    {"num_requests_waiting", "num_requests_waiting"},
    {"kv_cache_usage_perc", "kv_cache_usage_perc"},
    {"prompt_tokens_total", "prompt_tokens_total"},
    {"generation_tokens_total", "generation_tokens_total"},
    {"request_success_total", "request_success_total"},
    {"num_preemptions_total", "num_preemptions_total"},
    {"prefix_cache_queries_total", "prefix_cache_queries_total"},
    {"prefix_cache_hits_total", "prefix_cache_hits_total"},
    {"time_to_first_token_seconds", "time_to_first_token_seconds"},
    {"inter_token_latency_seconds", "inter_token_latency_seconds"},
    {"e2e_request_latency_seconds", "e2e_request_latency_seconds"},
    {"request_queue_time_seconds", "request_queue_time_seconds"},
    {"request_prefill_time_seconds", "request_prefill_time_seconds"},
    {"request_decode_time_seconds", "request_decode_time_seconds"},
    {"request_inference_time_seconds", "request_inference_time_seconds"},
    {"request_time_per_output_token_seconds", "request_time_per_output_token_seconds"},
    {"request_prompt_tokens", "request_prompt_tokens"},
    {"request_generation_tokens", "request_generation_tokens"},
    {"iteration_tokens", "iteration_tokens_total"},  // a histogram: only a counter's name may end in _total
};

/// One family (its HELP, TYPE and samples) with `from` instead of `to` wherever a line names it.
std::string renamed(std::string_view family, std::string_view from, std::string_view to) {
  std::string text;
  while (!family.empty()) {
    std::string_view line = family.substr(0, family.find('\n') + 1);
    family.remove_prefix(line.size());
    const std::size_t mark = line.starts_with("# ") ? line.find(' ', 2) + 1 : 0;
    text.append(line.substr(0, mark)).append(to).append(line.substr(mark + from.size()));
  }
  return text;
}

void append_family(std::string_view family, MetricNames names, std::string& text) {
  constexpr std::string_view kHelp = "# HELP ";
  const std::string_view name = family.substr(kHelp.size(), family.find(' ', kHelp.size()) - kHelp.size());
  const auto known = std::find_if(std::begin(kNames), std::end(kNames), [&](const auto& entry) {
    return name.starts_with(kOwnPrefix) && name.substr(kOwnPrefix.size()) == entry.first;
  });
  const bool has_alias = known != std::end(kNames);
  if (names == MetricNames::kBoth || !has_alias) text += family;
  if (has_alias) text += renamed(family, name, std::string(kVllmPrefix).append(known->second));
}

}  // namespace

std::optional<MetricNames> parse_metric_names(std::string_view text) {
  if (text == "own") return MetricNames::kOwn;
  if (text == "vllm") return MetricNames::kVllm;
  if (text == "both") return MetricNames::kBoth;
  return std::nullopt;
}

std::string rename_metrics(std::string_view page, MetricNames names) {
  if (names == MetricNames::kOwn) return std::string(page);
  std::string text;
  while (!page.empty()) {
    const std::size_t next = page.find("\n# HELP ");
    const std::string_view family = page.substr(0, next == std::string_view::npos ? page.size() : next + 1);
    append_family(family, names, text);
    page.remove_prefix(family.size());
  }
  return text;
}

}  // namespace commissure
