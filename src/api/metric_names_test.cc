#include "api/metric_names.h"

#include <gtest/gtest.h>

namespace commissure {
namespace {

constexpr std::string_view kPage =
    "# HELP commissure_iteration_tokens Rows.\n# TYPE commissure_iteration_tokens histogram\n"
    "commissure_iteration_tokens_count{model_name=\"m\"} 3\n"
    "# HELP commissure_kv_blocks Blocks.\n# TYPE commissure_kv_blocks gauge\ncommissure_kv_blocks 7\n";
constexpr std::string_view kTheirs =
    "# HELP vllm:iteration_tokens_total Rows.\n# TYPE vllm:iteration_tokens_total histogram\n"
    "vllm:iteration_tokens_total_count{model_name=\"m\"} 3\n";

TEST(MetricNames, KnowsThreeWords) {
  EXPECT_EQ(parse_metric_names("own"), MetricNames::kOwn);
  EXPECT_EQ(parse_metric_names("vllm"), MetricNames::kVllm);
  EXPECT_EQ(parse_metric_names("both"), MetricNames::kBoth);
  EXPECT_FALSE(parse_metric_names("theirs"));
}

TEST(MetricNames, OwnLeavesThePageAlone) { EXPECT_EQ(rename_metrics(kPage, MetricNames::kOwn), kPage); }

TEST(MetricNames, VllmRenamesWhatVllmHasAndKeepsTheRest) {
  const std::string page = rename_metrics(kPage, MetricNames::kVllm);
  EXPECT_TRUE(page.starts_with(kTheirs)) << page;
  EXPECT_EQ(page.find("commissure_iteration"), std::string::npos);
  EXPECT_NE(page.find("\ncommissure_kv_blocks 7\n"), std::string::npos);
}

TEST(MetricNames, BothShowsTheSameNumbersTwice) {
  const std::string page = rename_metrics(kPage, MetricNames::kBoth);
  EXPECT_NE(page.find("\ncommissure_iteration_tokens_count{model_name=\"m\"} 3\n"), std::string::npos);
  EXPECT_NE(page.find("\nvllm:iteration_tokens_total_count{model_name=\"m\"} 3\n"), std::string::npos);
}

}  // namespace
}  // namespace commissure
