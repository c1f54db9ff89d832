#include "serve/needed_threads.h"

#include <gtest/gtest.h>

namespace commissure {
namespace {

int needed(char stage, std::vector<int> cuts, int n_cpus) {
  StageSettings settings;
  settings.stage = stage;
  settings.cuts = std::move(cuts);
  return needed_threads(settings, n_cpus);
}

TEST(NeededThreads, AreThoseOfTheStagesPlace) {
  // As /proc lists them of running stages on two CPUs, kernels' apart, and three for the moment.
  EXPECT_EQ(needed('a', {10, 20}, 2), 18 + 3);
  EXPECT_EQ(needed('b', {10, 20}, 2), 14 + 3);
  EXPECT_EQ(needed('c', {10, 20}, 2), 13 + 3);
  EXPECT_EQ(needed('a', {}, 2), 8 + 3) << "a stage alone has no gRPC";
}

TEST(NeededThreads, GrowWithTheMachineAsGrpcDoes) {
  EXPECT_EQ(needed('b', {10, 20}, 1), needed('b', {10, 20}, 2));
  EXPECT_EQ(needed('b', {10, 20}, 8), needed('b', {10, 20}, 2) + 6);
  EXPECT_EQ(needed('b', {10, 20}, 256), needed('b', {10, 20}, 16));
  EXPECT_EQ(needed('a', {}, 64), needed('a', {}, 2));
}

TEST(NeededThreads, ACollectorOfTracesTakesOne) {
  StageSettings settings;
  settings.stage = "a";
  const int without = needed_threads(settings, 2);
  settings.trace_collector = "http://localhost:4318";
  EXPECT_EQ(needed_threads(settings, 2), without + 1);
}

}  // namespace
}  // namespace commissure
