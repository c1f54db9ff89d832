#include "apps/load_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace commissure {

namespace {

constexpr double kWidth = 420, kHeight = 250;  // of one panel
constexpr double kLeft = 52, kTop = 34;        // of its axes, inside the panel
constexpr double kAxisWidth = 344, kAxisHeight = 170;
constexpr double kHeader = 64;
constexpr std::size_t kMaxPoints = 400;  // of one curve

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else {
      out += c;
    }
  }
  return out;
}

/// The smallest of 1, 2, 5 times a power of ten that cuts `span` into at most six steps.
double tick_step(double span) {
  const double rough = span / 6;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= rough) return factor * power;
  }
  return 10 * power;
}

std::string text_at(double x, double y, const char* kind, const std::string& text) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" class=\"{}\">{}</text>\n", x, y, kind, escaped(text));
}

std::string line_at(double x1, double y1, double x2, double y2, const char* kind) {
  return fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" class=\"{}\"/>\n", x1, y1, x2, y2,
                     kind);
}

/// One panel's axes: milliseconds to the right from 0 to `top_ms`, shares upwards from 0 to 1.
struct Axes {
  double top_ms;
  double x(double ms) const { return kLeft + kAxisWidth * ms / top_ms; }
  static double y(double share) { return kTop + kAxisHeight * (1 - share); }
};

std::string grid(const Axes& axes, double step) {
  std::string out;
  for (int tick = 0; tick * step <= axes.top_ms * 1.0001; ++tick) {
    const double x = axes.x(tick * step);
    out += line_at(x, kTop, x, kTop + kAxisHeight, "grid");
    out += text_at(x, kTop + kAxisHeight + 16, "tick middle", fmt::format("{:g}", tick * step));
  }
  for (const double share : {0.0, 0.25, 0.5, 0.75, 1.0}) {
    out += line_at(kLeft, Axes::y(share), kLeft + kAxisWidth, Axes::y(share), "grid");
    out += text_at(kLeft - 7, Axes::y(share) + 4, "tick end", fmt::format("{:.0f} %", share * 100));
  }
  return out + text_at(kLeft + kAxisWidth, kTop + kAxisHeight + 32, "tick end", "milliseconds");
}

std::string curve(const LatencySeries& series, const Axes& axes) {
  const std::size_t n = series.ms.size();
  const std::size_t stride = std::max<std::size_t>(1, n / kMaxPoints);
  std::string points = fmt::format("{:.1f},{:.1f}", axes.x(series.ms.front()), Axes::y(0));
  for (std::size_t i = 0; i < n; i += stride) {
    const std::size_t at = std::min(i + stride - 1, n - 1);  // the last one of each group: the curve ends at 100 %
    points += fmt::format(" {:.1f},{:.1f}", axes.x(series.ms[at]),
                          Axes::y(static_cast<double>(at + 1) / static_cast<double>(n)));
  }
  return fmt::format("<polyline points=\"{}\" class=\"curve\"/>\n", points);
}

std::string marks(const LatencySeries& series, const Axes& axes) {
  std::string out;
  double y = kTop + kAxisHeight - 46;  // the lower right corner: a distribution never gets there
  for (const auto& [name, share] : {std::pair{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}}) {
    const double ms = percentile(series.ms, share);
    out += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.5\" class=\"mark\"/>\n", axes.x(ms), Axes::y(share));
    out += text_at(kLeft + kAxisWidth - 8, y, "value end", fmt::format("{} {:.4g} ms", name, ms));
    y += 17;
  }
  return out;
}

std::string panel(const LatencySeries& series) {
  std::string out = text_at(kLeft, kTop - 12, "name", series.title);
  if (series.ms.empty()) return out + text_at(kLeft, kTop + 30, "tick", "nothing measured");
  const double longest = std::max(series.ms.back(), 1e-3);
  const double step = tick_step(longest);
  const Axes axes{step * std::ceil(longest / step)};
  return out + grid(axes, step) + curve(series, axes) + marks(series, axes);
}

constexpr const char* kStyle =
    "<style>text{font-family:system-ui,Helvetica,Arial,sans-serif;fill:#1f2937}"
    ".title{font-size:18px;font-weight:600}.caption{font-size:12px;fill:#4b5563}.name{font-size:13px;font-weight:600}"
    ".tick{font-size:11px;fill:#6b7280}.value{font-size:12px;font-variant-numeric:tabular-nums}"
    ".middle{text-anchor:middle}.end{text-anchor:end}.grid{stroke:#e5e7eb;stroke-width:1}"
    ".curve{fill:none;stroke:#2563eb;stroke-width:2;stroke-linejoin:round}.mark{fill:#dc2626}</style>\n";

}  // namespace

std::string plot_svg(const LoadReport& report, const std::string& caption) {
  const double width = 2 * kWidth;
  const double height = kHeader + 2 * kHeight;
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\">\n{2}"
      "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
      width, height, kStyle);
  svg += text_at(24, 30, "title", "Latency, cumulative share");
  svg += text_at(24, 50, "caption", caption);
  for (std::size_t i = 0; i < report.series.size(); ++i) {
    svg += fmt::format("<g transform=\"translate({:.0f} {:.0f})\">\n{}</g>\n", kWidth * static_cast<double>(i % 2),
                       kHeader + kHeight * static_cast<double>(i / 2), panel(report.series[i]));
  }
  return svg + "</svg>\n";
}

}  // namespace commissure
