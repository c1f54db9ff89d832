#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace commissure {

/// Under which names /metrics shows what vLLM has too: ours (commissure_...), vLLM's (vllm:...) or both.
enum class MetricNames { kOwn, kVllm, kBoth };

/// "own", "vllm" or "both".
std::optional<MetricNames> parse_metric_names(std::string_view text);

/// A page of our metrics with the names asked for. What vLLM has no name for always keeps ours.
std::string rename_metrics(std::string_view page, MetricNames names);

}  // namespace commissure
