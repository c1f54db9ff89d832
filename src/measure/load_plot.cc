#include "measure/load_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "terminal/svg_chart.h"

namespace commissure {

namespace {

constexpr std::size_t kMaxPoints = 400;  // of one curve
constexpr std::pair<const char*, double> kMarks[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}};

/// Which share of all requests, tokens or gaps took at most so long.
ChartPanel distribution(const LatencySeries& series) {
  ChartPanel panel{series.title, {}, share_scale(), {}, {}};
  if (series.ms.empty()) return panel;
  panel.x = linear_scale(series.ms.back(), "milliseconds");
  ChartCurve& curve = panel.curves.emplace_back();
  const std::size_t n = series.ms.size();
  const std::size_t stride = std::max<std::size_t>(1, n / kMaxPoints);
  curve.points.push_back({series.ms.front(), 0});
  for (std::size_t i = 0; i < n; i += stride) {
    const std::size_t at = std::min(i + stride - 1, n - 1);  // the last one of each group: the curve ends at 100 %
    curve.points.push_back({series.ms[at], static_cast<double>(at + 1) / static_cast<double>(n)});
  }
  for (const auto& [name, share] : kMarks) {
    const double ms = percentile(series.ms, share);
    curve.marks.push_back({ms, share});
    panel.notes.push_back(
        fmt::format("{} {:.{}f} ms", name, ms, ms < 100 ? 1 : 0));  // lower right: a distribution never gets there
  }
  return panel;
}

ChartCurve over_streams(const std::vector<SweepPoint>& points, const std::string& name,
                        const std::function<double(const LoadReport&)>& value) {
  ChartCurve curve{name, {}, {}};
  for (const SweepPoint& point : points)
    curve.points.push_back({static_cast<double>(point.streams), value(point.report)});
  curve.marks = curve.points;
  return curve;
}

ChartPanel growth_panel(const std::string& title, const std::string& unit, std::vector<ChartCurve> curves) {
  double top_x = 1;
  double top_y = 0;
  for (const ChartCurve& curve : curves) {
    for (const auto& [x, y] : curve.points) {
      top_x = std::max(top_x, x);
      top_y = std::max(top_y, y);
    }
  }
  return {title, doubling_scale(top_x, "streams"), linear_scale(top_y, unit), std::move(curves), {}};
}

}  // namespace

std::string plot_svg(const LoadReport& report, const std::string& caption) {
  std::vector<ChartPanel> panels;
  for (const LatencySeries& series : report.series) panels.push_back(distribution(series));
  return draw_charts("Latency, cumulative share", caption, panels);
}

std::string sweep_svg(const std::vector<SweepPoint>& points, const std::string& caption) {
  std::vector<ChartPanel> panels = {
      growth_panel("Output tokens per second", "tokens/s", {over_streams(points, "", [](const LoadReport& report) {
                     return report.per_second(static_cast<double>(report.output_tokens));
                   })})};
  for (const std::size_t i : {0u, 2u, 3u}) {
    std::vector<ChartCurve> curves;
    for (const auto& [name, share] : kMarks)
      curves.push_back(over_streams(points, name, [i, share = share](const LoadReport& report) {
        return percentile(report.series[i].ms, share);
      }));
    panels.push_back(growth_panel(points.front().report.series[i].title, "milliseconds", std::move(curves)));
  }
  return draw_charts("Throughput and latency by streams", caption, panels);
}

}  // namespace commissure
