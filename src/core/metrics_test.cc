#include "core/metrics.h"

#include <gtest/gtest.h>

namespace commissure {
namespace {

TEST(Metrics, WritesPrometheusText) {
  Metrics metrics("test:");
  metrics.counter("done_total", "How many are done.", {{"why", "stop"}}).add(2);
  metrics.gauge("usage", "Share in use.").set(0.5);
  Histogram histogram = metrics.histogram("seconds", "How long it took.", {0.1, 1.0});
  histogram.observe(0.05);
  histogram.observe(5);
  const std::string text = metrics.text();
  EXPECT_NE(text.find("# HELP test:done_total How many are done.\n# TYPE test:done_total counter\n"), text.npos);
  EXPECT_NE(text.find("test:done_total{why=\"stop\"} 2"), text.npos);
  EXPECT_NE(text.find("test:usage 0.5"), text.npos);
  EXPECT_NE(text.find("test:seconds_bucket{le=\"1\"} 1"), text.npos);
  EXPECT_NE(text.find("test:seconds_count 2"), text.npos);
}

TEST(Metrics, TheSameNameAndLabelsAreTheSameMetric) {
  Metrics metrics("test:");
  metrics.counter("n_total", "Count.").add();
  metrics.counter("n_total", "Count.").add();
  EXPECT_EQ(metrics.counter("n_total", "Count.").value(), 2);
}

TEST(Metrics, EscapesLabelValues) {
  Metrics metrics("test:");
  metrics.gauge("info", "Build.", {{"name", "a\"b\\c\nd"}}).set(1);
  EXPECT_NE(metrics.text().find(R"(test:info{name="a\"b\\c\nd"} 1)"), std::string::npos);
}

}  // namespace
}  // namespace commissure
