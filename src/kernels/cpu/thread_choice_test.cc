#include "kernels/cpu/thread_choice.h"

#include <gtest/gtest.h>

namespace commissure::cpu {
namespace {

TEST(ThreadChoice, CoresGetAThreadEach) {
  const auto cores = [](int n_threads) { return 1.0 + 0.02 * n_threads; };  // a lower clock
  for (const int n : {1, 2, 3, 8, 16}) EXPECT_EQ(choose_thread_count(n, cores), n);
}

TEST(ThreadChoice, SiblingsShareOne) {
  const auto siblings = [](int n_threads) { return n_threads > 1 ? 1.9 : 1.0; };
  EXPECT_EQ(choose_thread_count(2, siblings), 1);
  EXPECT_EQ(choose_thread_count(8, siblings), 4);
  EXPECT_EQ(choose_thread_count(1, siblings), 1);
  EXPECT_EQ(choose_thread_count(3, siblings), 3) << "some CPUs have no sibling";
}

TEST(ThreadChoice, ABusyNeighbourCostsNoCores) {
  int n_calls = 0;
  const auto once_calm = [&](int n_threads) { return n_threads > 1 && ++n_calls < 4 ? 3.0 : 1.0; };
  EXPECT_EQ(choose_thread_count(4, once_calm), 4);
}

TEST(ThreadChoice, TheProbeMeasures) {
  for (const int n : {1, 2}) EXPECT_GT(probe_seconds(n), 0.0);
}

}  // namespace
}  // namespace commissure::cpu
