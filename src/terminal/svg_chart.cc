#include "terminal/svg_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace commissure {

namespace {

constexpr double kWidth = 420, kHeight = 250;  // of one panel
constexpr double kLeft = 52, kTop = 34;        // of its axes, inside the panel
constexpr double kAxisWidth = 344, kAxisHeight = 170;
constexpr double kHeader = 64;
constexpr std::array<const char*, 6> kColours = {"#2563eb", "#d97706", "#059669", "#7c3aed", "#db2777", "#4b5563"};

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

std::string grid_line(double x1, double y1, double x2, double y2) {
  return fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" class=\"grid\"/>\n", x1, y1, x2,
                     y2);
}

double x_of(const ChartPanel& panel, double value) { return kLeft + kAxisWidth * panel.x.place(value); }
double y_of(const ChartPanel& panel, double value) { return kTop + kAxisHeight * (1 - panel.y.place(value)); }

std::string tick_text(const ChartScale& scale, double tick) {
  if (scale.kind == ChartScale::Kind::kShare) return fmt::format("{:.0f} %", tick * 100);
  if (tick != std::floor(tick)) return fmt::format("{:g}", tick);
  std::string text = fmt::format("{:.0f}", tick);  // whole numbers stay whole: 20,000,000, never 2e+07
  for (std::size_t i = text.size(); i > 3; i -= 3) text.insert(i - 3, ",");
  return text;
}

std::string grid(const ChartPanel& panel) {
  std::string out;
  for (const double tick : panel.x.ticks) {
    const double x = x_of(panel, tick);
    out += grid_line(x, kTop, x, kTop + kAxisHeight);
    out += text_at(x, kTop + kAxisHeight + 16, "tick middle", tick_text(panel.x, tick));
  }
  for (const double tick : panel.y.ticks) {
    const double y = y_of(panel, tick);
    out += grid_line(kLeft, y, kLeft + kAxisWidth, y);
    out += text_at(kLeft - 7, y + 4, "tick end", tick_text(panel.y, tick));
  }
  return out + text_at(kLeft + kAxisWidth, kTop + kAxisHeight + 32, "tick end", panel.x.label) +
         text_at(kLeft + kAxisWidth, kTop - 12, "tick end", panel.y.label);
}

std::string draw_curve(const ChartPanel& panel, std::size_t number) {
  const ChartCurve& curve = panel.curves[number];
  const char* colour = kColours[number % kColours.size()];
  std::string points;
  for (const auto& [x, y] : curve.points) points += fmt::format("{:.1f},{:.1f} ", x_of(panel, x), y_of(panel, y));
  std::string out = fmt::format("<polyline points=\"{}\" class=\"curve\" stroke=\"{}\"/>\n", points, colour);
  for (const auto& [x, y] : curve.marks)
    out +=
        fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.5\" class=\"mark\"/>\n", x_of(panel, x), y_of(panel, y));
  if (curve.name.empty()) return out;
  const double y = kTop + 14 + 16 * static_cast<double>(number);
  out += fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"14\" height=\"3\" fill=\"{}\"/>\n", kLeft + 8, y - 5,
                     colour);
  return out + text_at(kLeft + 28, y, "value", curve.name);
}

std::string draw_panel(const ChartPanel& panel) {
  std::string out = text_at(kLeft, kTop - 12, "name", panel.title);
  if (panel.curves.empty()) return out + text_at(kLeft, kTop + 30, "tick", "nothing measured");
  out += grid(panel);
  for (std::size_t i = 0; i < panel.curves.size(); ++i) out += draw_curve(panel, i);
  double y = kTop + kAxisHeight + 5 - 17 * static_cast<double>(panel.notes.size());
  for (const std::string& note : panel.notes) {
    out += text_at(kLeft + kAxisWidth - 8, y, "value end", note);
    y += 17;
  }
  return out;
}

constexpr const char* kStyle =
    "<style>text{font-family:system-ui,Helvetica,Arial,sans-serif;fill:#1f2937}"
    ".title{font-size:18px;font-weight:600}.caption{font-size:12px;fill:#4b5563}.name{font-size:13px;font-weight:600}"
    ".tick{font-size:11px;fill:#6b7280}.value{font-size:12px;font-variant-numeric:tabular-nums}"
    ".middle{text-anchor:middle}.end{text-anchor:end}.grid{stroke:#e5e7eb;stroke-width:1}"
    ".curve{fill:none;stroke-width:2;stroke-linejoin:round}.mark{fill:#dc2626}</style>\n";

}  // namespace

double ChartScale::place(double value) const {
  if (kind != Kind::kDoubling) return value / top;
  return top > 1 ? std::log2(std::max(value, 1.0)) / std::log2(top) : 0;
}

ChartScale linear_scale(double longest, std::string label) {
  longest = std::max(longest, 1e-3);
  const double step = tick_step(longest);
  ChartScale scale{ChartScale::Kind::kLinear, step * std::ceil(longest / step), {}, std::move(label)};
  for (int tick = 0; tick * step <= scale.top * 1.0001; ++tick) scale.ticks.push_back(tick * step);
  return scale;
}

ChartScale share_scale() { return {ChartScale::Kind::kShare, 1, {0.0, 0.25, 0.5, 0.75, 1.0}, ""}; }

ChartScale doubling_scale(double top, std::string label) {
  ChartScale scale{ChartScale::Kind::kDoubling, std::max(top, 1.0), {}, std::move(label)};
  for (double tick = 1; tick <= top; tick *= 2) scale.ticks.push_back(tick);
  return scale;
}

std::string draw_charts(const std::string& title, const std::string& caption, const std::vector<ChartPanel>& panels) {
  const double width = 2 * kWidth;
  const double height = kHeader + kHeight * static_cast<double>((panels.size() + 1) / 2);
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\">\n{2}"
      "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
      width, height, kStyle);
  svg += text_at(24, 30, "title", title);
  svg += text_at(24, 50, "caption", caption);
  for (std::size_t i = 0; i < panels.size(); ++i) {
    svg += fmt::format("<g transform=\"translate({:.0f} {:.0f})\">\n{}</g>\n", kWidth * static_cast<double>(i % 2),
                       kHeader + kHeight * static_cast<double>(i / 2), draw_panel(panels[i]));
  }
  return svg + "</svg>\n";
}

}  // namespace commissure
