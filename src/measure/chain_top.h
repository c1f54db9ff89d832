#pragma once

#include <chrono>
#include <deque>
#include <string>

#include "client/client.h"
#include "core/json.h"
#include "measure/metrics_text.h"

namespace commissure {

/// The chain at one moment, as its /health and /metrics tell.
struct ChainSample {
  std::chrono::steady_clock::time_point at;
  Json health;          ///< null when the chain did not answer
  MetricsText metrics;  ///< empty when the chain did not answer
  std::string problem;  ///< why the chain is not well; empty when it is
  std::string gap;      ///< why a part of the picture is missing, e.g. a key for /metrics; empty when none is
};

/// Asks the chain once. Never fails: what went wrong is the sample's `problem`.
ChainSample sample_chain(const ApiAddress& endpoint);

/// The picture `commissure top` shows, in plain text of several lines: what runs, tokens per second, latencies, KV
/// cache, and a line per stage. Rates are taken between the last two samples, latencies over all samples; `samples` has
/// the oldest first and is not empty.
std::string top_text(const std::string& url, const std::deque<ChainSample>& samples);

}  // namespace commissure
