#include "cloud/estimate.h"

#include <gtest/gtest.h>

namespace commissure {

namespace {

ProgramCall upload(std::uint64_t n_bytes) {
  ProgramCall call = gcloud({"storage", "cp", "x", "gs://b/x"});
  call.n_bytes = n_bytes;
  return call;
}

TEST(CloudEstimate, BytesAndKindsOfCallsCount) {
  EXPECT_NEAR(usual_seconds(upload(1'250'000'000)), 103, 1e-9);
  EXPECT_GT(usual_seconds(gcloud({"builds", "submit", "/src"})),
            usual_seconds(gcloud({"builds", "submit", "--no-source"})));
  EXPECT_EQ(usual_seconds(ProgramCall{.arguments = {"docker", "build", "."}}),
            usual_seconds(gcloud({"builds", "submit", "/src"})));
  EXPECT_GT(usual_seconds(gcloud({"run", "deploy", "demo-a"})), usual_seconds(gcloud({"secrets", "create", "x"})));
}

TEST(CloudEstimate, TheRateOfWhatHasEndedTellsWhatIsLeft) {
  const CloudStep step{"weights", "", "", {}, {upload(100'000'000), upload(300'000'000)}};
  const StepProgress first = step_progress(step, 0, 0, 2);
  EXPECT_EQ(first.bytes_all, 400'000'000u);
  EXPECT_EQ(first.bytes_per_second, 0);
  EXPECT_NEAR(first.seconds_left, 3 + 8 + 3 + 24 - 2, 1e-9);
  const StepProgress second = step_progress(step, 1, 20, 10);
  EXPECT_EQ(second.bytes_done, 100'000'000u);
  EXPECT_NEAR(second.bytes_per_second, 5e6, 1e-3);
  EXPECT_NEAR(second.seconds_left, 60 - 10, 1e-9);
  EXPECT_EQ(step_progress(step, 1, 20, 1000).seconds_left, 0);
}

TEST(CloudEstimate, WithoutBytesTheCallsBeforeTellHowSlowItIs) {
  const CloudStep step{"accounts", "", "", {}, {gcloud({"iam", "x"}), gcloud({"iam", "y"}), gcloud({"iam", "z"})}};
  EXPECT_NEAR(step_progress(step, 1, 6, 1).seconds_left, 12 - 1, 1e-9);
}

}  // namespace

}  // namespace commissure
