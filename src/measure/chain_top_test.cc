#include "measure/chain_top.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "api/metric_names.h"
#include "support/text_lines.h"

namespace commissure {
namespace {

/// The families that the engine shows, with so many steps and tokens.
std::string page_of(int steps, int tokens) {
  std::string text;
  const auto family = [&](const std::string& name, const std::string& type, const std::string& samples) {
    text += "# HELP commissure_" + name + " x\n# TYPE commissure_" + name + " " + type + "\n" + samples;
  };
  const std::string n = std::to_string(steps);
  family("num_requests_running", "gauge", "commissure_num_requests_running{engine=\"0\"} 3\n");
  family("generation_tokens_total", "counter", "commissure_generation_tokens_total " + std::to_string(tokens) + "\n");
  family("iteration_tokens", "histogram",
         "commissure_iteration_tokens_bucket{le=\"+Inf\"} " + n + "\ncommissure_iteration_tokens_count " + n +
             "\ncommissure_iteration_tokens_sum 1\n");
  family("time_to_first_token_seconds", "histogram",
         "commissure_time_to_first_token_seconds_bucket{le=\"0.1\"} " + n +
             "\ncommissure_time_to_first_token_seconds_bucket{le=\"+Inf\"} " + n + "\n");
  return text;
}

ChainSample sample_of(int second, int steps, int tokens, MetricNames names) {
  ChainSample sample;
  sample.at = std::chrono::steady_clock::time_point(std::chrono::seconds(second));
  sample.health = {{"model", "m"}, {"stages", {{{"stage", "a"}, {"state", "ready"}, {"layers", {0, 30}}}}}};
  sample.metrics = MetricsText(rename_metrics(page_of(steps, tokens), names));
  return sample;
}

TEST(ChainTop, ShowsTheSameNumbersUnderEveryNameOfTheMetrics) {
  for (const MetricNames names : {MetricNames::kOwn, MetricNames::kVllm, MetricNames::kBoth}) {
    const std::string text = top_text("http://x", {sample_of(0, 10, 100, names), sample_of(2, 30, 400, names)});
    EXPECT_NE(text.find("3 running"), std::string::npos) << text;
    EXPECT_NE(text.find("150.0 out/s"), std::string::npos) << text;
    EXPECT_NE(text.find("10.0 steps/s"), std::string::npos) << text;
    EXPECT_NE(text.find("TTFT       p50 50.0 ms"), std::string::npos) << text;
  }
}

TEST(ChainTop, IsHealthyWithoutMetrics) {
  ChainSample sample = sample_of(0, 1, 1, MetricNames::kOwn);
  sample.metrics = {};
  sample.gap = "no metrics: set COMMISSURE_API_KEY";
  const std::string text = top_text("http://x", {sample});
  EXPECT_NE(text.find("  healthy"), std::string::npos) << text;
  EXPECT_NE(text.find("set COMMISSURE_API_KEY"), std::string::npos) << text;
}

TEST(ChainTop, FitsEightyColumns) {
  const std::string text = top_text("http://x", {sample_of(0, 1, 1, MetricNames::kOwn)});
  for (const std::string_view line : testing::lines_of(text)) EXPECT_LE(line.size(), 80u) << text;
}

TEST(ChainTop, CountsAStageThatBeganAgainFromZero) {
  const std::string text =
      top_text("http://x", {sample_of(0, 1000, 50'000, MetricNames::kOwn), sample_of(2, 4, 20, MetricNames::kOwn)});
  EXPECT_NE(text.find("Tokens     10.0 out/s"), std::string::npos) << text;
  EXPECT_NE(text.find("2.0 steps/s"), std::string::npos) << text;
}

TEST(ChainTop, TakesRatesFromTheLastTwoAndLatenciesFromAll) {
  const std::string text =
      top_text("http://x", {sample_of(0, 10, 0, MetricNames::kOwn), sample_of(1, 20, 100, MetricNames::kOwn),
                            sample_of(2, 20, 110, MetricNames::kOwn)});
  EXPECT_NE(text.find("10.0 out/s"), std::string::npos) << text;
  EXPECT_NE(text.find("TTFT       p50 50.0 ms"), std::string::npos) << "those of the first second count: " << text;
  EXPECT_NE(text.find("ITL        -\n"), std::string::npos) << "nothing was measured: " << text;
}

TEST(ChainTop, ShowsEveryStageWithWhatIsKnown) {
  ChainSample now = sample_of(1, 1, 1, MetricNames::kOwn);
  now.health["stages"] = {{{"stage", "a"}, {"state", "ready"}, {"layers", {0, 10}}},
                          {{"stage", "b"}, {"state", "unreachable"}, {"problem", "nobody listens at 127.0.0.1:9"}}};
  now.problem = "stage b is away";
  const std::string text = top_text("http://x", {now});
  EXPECT_NE(text.find("NOT HEALTHY\nstage b is away\n"), std::string::npos) << text;
  EXPECT_NE(text.find("a     0-9 "), std::string::npos) << text;
  EXPECT_NE(text.find("b     ? "), std::string::npos) << text;
  EXPECT_NE(text.find("\n  nobody listens at 127.0.0.1:9\n"), std::string::npos) << text;
}

TEST(ChainTop, DrawsTheCacheAsFullAsItIs) {
  const auto bar_of = [](const char* share) {
    ChainSample now = sample_of(0, 1, 1, MetricNames::kOwn);
    now.metrics = MetricsText(std::string("commissure_kv_cache_usage_perc ") + share + "\n");
    const std::string text = top_text("http://x", {now});
    return std::count(text.begin(), text.end(), '#');
  };
  EXPECT_EQ(bar_of("0"), 0);
  EXPECT_EQ(bar_of("0.5"), 15);
  EXPECT_EQ(bar_of("1"), 30);
  EXPECT_EQ(bar_of("1.7"), 30) << "never beyond its ends";
}

TEST(ChainTop, AChainThatDoesNotAnswerIsASample) {
  const ChainSample sample = sample_chain({.url = "http://127.0.0.1:1", .api_key = ""});
  EXPECT_TRUE(sample.health.is_null());
  EXPECT_NE(sample.problem, "");
  EXPECT_NE(top_text("http://127.0.0.1:1", {sample}).find("NOT HEALTHY"), std::string::npos);
}

}  // namespace
}  // namespace commissure
