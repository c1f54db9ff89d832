#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/json.h"
#include "core/result.h"
#include "measure/load_run.h"

namespace commissure {

/// Limits in milliseconds that a request must keep to count for goodput; an absent limit is not checked.
struct GoodputLimits {
  std::optional<double> ttft, tpot, e2el;
  bool any() const { return ttft || tpot || e2el; }
};

/// Reads "ttft:200,tpot:50" (also e2el). Errors: kInvalidArgument naming the bad part.
Result<GoodputLimits> parse_goodput(const std::string& text);

/// The value below which the share `q` (0 to 1) of `sorted` lies, linear between neighbours as numpy's percentile;
/// 0 when empty.
double percentile(std::span<const double> sorted, double q);

/// One latency over all successful requests, milliseconds, sorted.
struct LatencySeries {
  const char* key;    ///< "ttft", "tpot", "itl", "e2el": vLLM's names
  const char* title;  ///< for people
  std::vector<double> ms;
  double mean() const;
};

/// The results of a load test. Definitions as `vllm bench serve`: see the help of `commissure bench`.
struct LoadReport {
  int completed = 0;
  int failed = 0;
  double seconds = 0;
  long input_tokens = 0;
  long output_tokens = 0;
  std::optional<double> goodput;  ///< requests per second within the limits
  double max_late_ms = 0;
  std::vector<LatencySeries> series;
  std::vector<std::pair<std::string, int>> problems;  ///< distinct messages and their counts

  double per_second(double n) const { return seconds > 0 ? n / seconds : 0; }
};

/// One point of a sweep: as many requests at once as there are streams.
struct SweepPoint {
  int streams = 0;
  LoadReport report;
};

LoadReport make_report(const LoadResult& result, const GoodputLimits& limits);

/// The report as a table for people.
std::string report_text(const LoadReport& report);
/// The report under the names of vLLM's result files (request_throughput, mean_ttft_ms, p99_itl_ms, ...).
Json report_json(const LoadReport& report);

/// A table for people: one line per point, and under the lines what failed.
std::string sweep_text(const std::vector<SweepPoint>& points);
/// {"sweep": [report_json and "streams" of each point]}
Json sweep_json(const std::vector<SweepPoint>& points);

}  // namespace commissure
