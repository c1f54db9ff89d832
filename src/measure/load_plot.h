#pragma once

#include <string>
#include <vector>

#include "measure/load_report.h"

namespace commissure {

/// An SVG picture of a report: one panel per latency with its cumulative distribution (which share of all requests,
/// tokens or gaps took at most so long) and marks at p50, p90 and p99. `caption` is the line under the title.
std::string plot_svg(const LoadReport& report, const std::string& caption);

/// An SVG picture of a sweep of at least one point: throughput and latencies over the number of streams.
std::string sweep_svg(const std::vector<SweepPoint>& points, const std::string& caption);

}  // namespace commissure
