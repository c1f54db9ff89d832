#pragma once

#include <string>
#include <utility>
#include <vector>

namespace commissure {

/// One axis of a panel: how values are placed along it, and which of them are written beside it.
struct ChartScale {
  enum class Kind { kLinear, kShare, kDoubling };  ///< from 0; from 0 to 100 %; powers of two from 1
  Kind kind = Kind::kLinear;
  double top = 1;             ///< the largest value
  std::vector<double> ticks;  ///< values that are written beside the axis
  std::string label;

  /// Where a value lies: 0 at the axis's beginning, 1 at its end.
  double place(double value) const;
};

/// From 0 to the first multiple of 1, 2 or 5 times a power of ten that is at least `longest`.
ChartScale linear_scale(double longest, std::string label);
/// 0 to 100 %.
ChartScale share_scale();
/// 1, 2, 4 ... `top`.
ChartScale doubling_scale(double top, std::string label);

/// A line through points (x, y) in order; drawn in the panel's next colour.
struct ChartCurve {
  std::string name;  ///< for the legend; "" has none
  std::vector<std::pair<double, double>> points;
  std::vector<std::pair<double, double>> marks;  ///< points with a dot
};

struct ChartPanel {
  std::string title;
  ChartScale x, y;
  std::vector<ChartCurve> curves;  ///< none: the panel says that nothing was measured
  std::vector<std::string> notes;  ///< lines in the lower right corner
};

/// An SVG picture: a title, a line under it, and the panels two by two.
std::string draw_charts(const std::string& title, const std::string& caption, const std::vector<ChartPanel>& panels);

}  // namespace commissure
