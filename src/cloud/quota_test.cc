#include "cloud/quota.h"

#include <gtest/gtest.h>

#include "cloud/steps.h"
#include "support/cloud_test_spec.h"

namespace commissure {
namespace {

constexpr const char* kL4 = "NvidiaL4GpuAllocNoZonalRedundancyPerProjectRegion";

Status check(const CloudSpec& spec, const std::string& value) {
  CloudState state;
  const CloudRead read = quota_reads(spec).front();
  const Status absorbed =
      read.absorb(read.key,
                  R"({"dimensionsInfos": [{"dimensions": {"region": "us-central1"}, "details": {"value": "0"}},)"
                  R"({"dimensions": {"region": "europe-west4"}, "details": {"value": ")" +
                      value + R"("}}]})",
                  state);
  if (!absorbed) return absorbed;
  return check_gpu_quota(spec, state);
}

TEST(CloudQuota, AsksForTheQuotaThatTheStagesDrawOn) {
  CloudSpec spec = test_spec();
  EXPECT_EQ(gpu_quotas(spec), std::vector<std::string>{kL4});
  EXPECT_NE(command_line(quota_reads(spec).front().call).find(std::string("beta quotas info describe ") + kL4),
            std::string::npos);
  spec.stages[1].zonal_redundancy = true;
  spec.stages[2].gpu = "nvidia-rtx-pro-6000";
  EXPECT_EQ(gpu_quotas(spec).size(), 3u);
  for (CloudStage& stage : spec.stages) stage.gpu = "";
  EXPECT_TRUE(gpu_quotas(spec).empty());
  EXPECT_TRUE(quota_reads(spec).empty());
}

TEST(CloudQuota, RefusesStagesThatTheRegionHasNoGpusFor) {
  const CloudSpec spec = test_spec();
  for (const char* enough : {"3", "8", "3000", "-1", ""}) EXPECT_TRUE(check(spec, enough)) << enough;
  for (const char* few : {"2", "2000"}) {
    const Status status = check(spec, few);
    ASSERT_FALSE(status) << few;
    EXPECT_EQ(status.error().code(), Code::kResourceExhausted);
    EXPECT_EQ(status.error().message(),
              std::string("step quota: the stages need 3 nvidia-l4 at once and ") + kL4 +
                  " allows 2 in europe-west4; ask for more at "
                  "https://console.cloud.google.com/iam-admin/quotas?project=acme (service run.googleapis.com), or "
                  "choose another region or GPU, or fewer stages");
  }
}

TEST(CloudQuota, ARegionThatWasNeverUsedGrantsThree) {
  CloudSpec spec = test_spec();
  EXPECT_TRUE(check(spec, "0"));
  spec.stages.push_back(spec.stages.back());
  EXPECT_FALSE(check(spec, "0"));
}

TEST(CloudQuota, WhatIsNotKnownStopsNothing) {
  const CloudSpec spec = test_spec();
  CloudState state;
  EXPECT_TRUE(check_gpu_quota(spec, state));
  for (const char* odd : {"{}", R"({"dimensionsInfos": 3})", R"({"dimensionsInfos": [3, {"details": {}}]})"}) {
    state.quotas[kL4] = *parse_json(odd);
    EXPECT_TRUE(check_gpu_quota(spec, state)) << odd;
  }
}

}  // namespace
}  // namespace commissure
