#include "measure/metrics_text.h"

#include <gtest/gtest.h>

#include <cmath>

#include "measure/chain_top.h"

namespace commissure {
namespace {

constexpr const char* kPage =
    "# HELP commissure_x A thing.\n# TYPE commissure_x counter\n"
    "commissure_x{stage=\"a\",model_name=\"m \\\"q\\\"\"} 3\ncommissure_x{stage=\"b\"} 4.5\nplain 7\n"
    "h_bucket{le=\"1\"} 2\nh_bucket{le=\"2\"} 6\nh_bucket{le=\"+Inf\"} 8\nh_count 8\nbroken{a=\"b 1\nalso\n";

TEST(MetricsText, ReadsSamplesAndLabels) {
  const MetricsText page(kPage);
  EXPECT_EQ(page.sum("commissure_x"), 7.5);
  EXPECT_EQ(page.sum("commissure_x", {{"stage", "b"}}), 4.5);
  EXPECT_EQ(page.sum("commissure_x", {{"model_name", "m \"q\""}}), 3);
  EXPECT_EQ(page.sum("plain"), 7);
  EXPECT_EQ(page.sum("broken"), 0);
  EXPECT_EQ(page.buckets("h").size(), 3u);
}

TEST(MetricsText, ReadsWhateverAServerMayWrite) {
  const MetricsText page(
      "a 1 1395066363000\nb\t2\nc{} 3\nd{x=\"1\",} 4\r\ne{path=\"C:\\\\DIR\",text=\"two\\nlines\"} 5\n"
      "f{x=\"}\"} +Inf\ng -1.5e3\n   \n");
  EXPECT_EQ(page.sum("a"), 1) << "with the time it was taken";
  EXPECT_EQ(page.sum("b"), 2);
  EXPECT_EQ(page.sum("c"), 3);
  EXPECT_EQ(page.sum("d", {{"x", "1"}}), 4);
  EXPECT_EQ(page.sum("e", {{"path", "C:\\DIR"}, {"text", "two\nlines"}}), 5);
  EXPECT_TRUE(std::isinf(page.sum("f", {{"x", "}"}})));
  EXPECT_EQ(page.sum("g"), -1500);
}

TEST(MetricsText, LeavesOutWhatIsNoSample) {
  const MetricsText page("<html>\nnot found\nname \nx{a=\"1\"}\ny{a=1} 2\nz{a=\"1 2\nw{ 3\n");
  for (const char* name : {"<html>", "not", "name", "x", "y", "z", "w"}) EXPECT_FALSE(page.has(name)) << name;
}

TEST(MetricsText, AddsUpTheHistogramsOfAllStages) {
  const MetricsText page(
      "h_bucket{le=\"1\",stage=\"a\"} 1\nh_bucket{le=\"+Inf\",stage=\"a\"} 2\n"
      "h_bucket{le=\"1\",stage=\"b\"} 10\nh_bucket{le=\"+Inf\",stage=\"b\"} 20\nh_bucket{stage=\"b\"} 99\n");
  EXPECT_EQ(page.buckets("h").at(1), 11);
  EXPECT_EQ(page.buckets("h", {{"stage", "b"}}).at(1), 10);
  EXPECT_EQ(page.buckets("h").size(), 2u) << "a bucket without a bound is none";
}

/// Against sorting: quantiles of values that lie evenly inside their buckets are exact.
TEST(MetricsText, QuantilesAreThoseOfSortedValues) {
  std::map<double, double> counts;
  for (const double bound : {10.0, 40.0, 100.0}) counts[bound] = bound;  // the values 1, 2, ... 100
  for (int percent = 1; percent <= 100; ++percent)
    EXPECT_NEAR(*histogram_quantile({}, counts, percent / 100.0), percent, 1e-9);
}

TEST(MetricsText, QuantilesAreOfWhatCameBetween) {
  const auto now = MetricsText(kPage).buckets("h");
  EXPECT_DOUBLE_EQ(*histogram_quantile({}, now, 0.5), 1.5);
  EXPECT_DOUBLE_EQ(*histogram_quantile({}, now, 0.125), 0.5);
  EXPECT_DOUBLE_EQ(*histogram_quantile({}, now, 0.99), 2);  // beyond the last bound
  EXPECT_FALSE(histogram_quantile(now, now, 0.5));
  const auto before = MetricsText("h_bucket{le=\"1\"} 2\nh_bucket{le=\"2\"} 2\nh_bucket{le=\"+Inf\"} 4\n").buckets("h");
  EXPECT_DOUBLE_EQ(*histogram_quantile(before, now, 0.5), 1.5);
  EXPECT_FALSE(histogram_quantile({}, {}, 0.5));
}

TEST(TopText, ShowsRatesAndStages) {
  ChainSample before, now;
  now.at = before.at + std::chrono::seconds(2);
  before.health = now.health = {{"model", "m"}, {"stages", {{{"stage", "a"}, {"state", "ready"}, {"layers", {0, 5}}}}}};
  before.metrics =
      MetricsText("commissure_generation_tokens_total 10\ncommissure_stage_compute_seconds_sum{stage=\"a\"} 1\n");
  now.metrics = MetricsText(
      "commissure_generation_tokens_total 70\ncommissure_stage_compute_seconds_sum{stage=\"a\"} 2\n"
      "commissure_stage_compute_seconds_count{stage=\"a\"} 100\ncommissure_kv_cache_usage_perc 0.5\n");
  const std::string text = top_text("http://x", {before, now});
  EXPECT_NE(text.find("30.0 out/s"), std::string::npos) << text;
  EXPECT_NE(text.find("50.0%"), std::string::npos);
  EXPECT_NE(text.find("0-4"), std::string::npos);
  EXPECT_NE(text.find("50%    10.00"), std::string::npos) << text;
  now.health = nullptr;
  now.problem = "nothing answers there";
  EXPECT_NE(top_text("http://x", {now}).find("NOT HEALTHY\nnothing answers there"), std::string::npos);
}

}  // namespace
}  // namespace commissure
