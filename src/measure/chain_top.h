#pragma once

#include <chrono>
#include <deque>
#include <string>

#include "client/client.h"
#include "core/json.h"
#include "measure/metrics_text.h"

namespace commissure {

/// The chain at one moment, as /health and /metrics tell.
struct ChainSample {
  std::chrono::steady_clock::time_point at;
  Json health;          ///< null when it did not answer
  MetricsText metrics;  ///< empty then
  std::string problem;  ///< why the chain is not well; empty when it is
  std::string gap;      ///< why a part of the picture is missing, e.g. a key for /metrics; empty when none is
};

/// Asks once; never fails: what is wrong is in the sample.
ChainSample sample_chain(const ApiAddress& endpoint);

/// The picture `commissure top` shows, in plain text of several lines: what runs, tokens per second, latencies, KV
/// cache, and a line per stage. Rates are those between the last two samples, latencies those of all samples given
/// (oldest first, not empty).
std::string top_text(const std::string& url, const std::deque<ChainSample>& samples);

}  // namespace commissure
