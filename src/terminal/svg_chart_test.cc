#include "terminal/svg_chart.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace commissure {
namespace {

int count(const std::string& text, const std::string& part) {
  int n = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++n;
  return n;
}

TEST(ChartScale, HasAFewRoundTicksThatReachTheLongest) {
  EXPECT_EQ(linear_scale(12, "ms").ticks, (std::vector<double>{0, 2, 4, 6, 8, 10, 12}));
  EXPECT_EQ(linear_scale(13, "ms").top, 15);
  EXPECT_EQ(doubling_scale(6, "streams").ticks, (std::vector<double>{1, 2, 4}));
  EXPECT_GT(linear_scale(0, "ms").top, 0) << "nothing measured still has an axis";
}

TEST(ChartScale, ReachesAnyLength) {
  std::mt19937 random(5);
  for (int i = 0; i < 2000; ++i) {
    const double longest = std::pow(10.0, std::uniform_real_distribution<double>(-2.9, 9)(random));
    const ChartScale scale = linear_scale(longest, "");
    ASSERT_GE(scale.top, longest * (1 - 1e-12));
    ASSERT_LE(scale.top, 1.7 * longest) << "and leaves little empty: " << longest;
    ASSERT_GE(scale.ticks.size(), 3u) << longest;
    ASSERT_LE(scale.ticks.size(), 8u) << longest;
    ASSERT_NEAR(scale.ticks.back(), scale.top, 1e-9 * scale.top) << longest;
  }
}

TEST(ChartScale, PlacesValuesBetweenItsEnds) {
  EXPECT_DOUBLE_EQ(linear_scale(12, "").place(6), 0.5);
  EXPECT_DOUBLE_EQ(share_scale().place(0.25), 0.25);
  const ChartScale streams = doubling_scale(16, "");
  EXPECT_DOUBLE_EQ(streams.place(1), 0);
  EXPECT_DOUBLE_EQ(streams.place(4), 0.5);
  EXPECT_DOUBLE_EQ(streams.place(16), 1);
  EXPECT_DOUBLE_EQ(doubling_scale(1, "").place(1), 0) << "one point alone";
}

TEST(DrawCharts, EscapesWhatPeopleCallThings) {
  const std::string svg = draw_charts("a < b & c", "<i>", {});
  EXPECT_NE(svg.find("a &lt; b &amp; c"), std::string::npos);
  EXPECT_EQ(svg.find("<i>"), std::string::npos);
}

TEST(DrawCharts, DrawsEveryCurveAndMarkOnce) {
  ChartPanel panel{"p", linear_scale(10, "x"), linear_scale(10, "y"), {}, {"note"}};
  panel.curves.push_back({"one", {{0, 0}, {10, 10}}, {{5, 5}}});
  panel.curves.push_back({"", {{0, 10}, {10, 0}}, {}});
  const std::string svg = draw_charts("t", "c", {panel, {"empty", {}, {}, {}, {}}, panel});
  EXPECT_EQ(count(svg, "<polyline"), 4);
  EXPECT_EQ(count(svg, "<circle"), 2);
  EXPECT_EQ(count(svg, ">one<"), 2) << "a curve without a name is not in the legend";
  EXPECT_EQ(count(svg, "nothing measured"), 1);
  EXPECT_EQ(count(svg, "<g "), count(svg, "</g>"));
  EXPECT_NE(svg.find("viewBox=\"0 0 840 564\""), std::string::npos) << "three panels take two rows";
}

TEST(DrawCharts, PutsTheEndsOfACurveAtTheEndsOfItsAxes) {
  ChartPanel panel{"p", linear_scale(10, "x"), share_scale(), {{"", {{0, 0}, {10, 1}}, {}}}, {}};
  EXPECT_NE(draw_charts("t", "c", {panel}).find("points=\"52.0,204.0 396.0,34.0 \""), std::string::npos);
}

TEST(DrawCharts, WritesNumbersAsPeopleDo) {
  ChartPanel panel{"p", linear_scale(3'000'000, "x"), share_scale(), {{"", {{0, 0}}, {}}}, {}};
  const std::string svg = draw_charts("t", "c", {panel});
  EXPECT_NE(svg.find(">1,500,000<"), std::string::npos) << svg;
  EXPECT_NE(svg.find(">75 %<"), std::string::npos);
  panel.x = linear_scale(1, "x");
  EXPECT_NE(draw_charts("t", "c", {panel}).find(">0.4<"), std::string::npos);
}

}  // namespace
}  // namespace commissure
