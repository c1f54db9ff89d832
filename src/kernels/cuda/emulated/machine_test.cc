#include "kernels/cuda/emulated/machine.h"

#include <cmath>
#include <cstring>
#include <vector>

#include <gtest/gtest.h>

namespace commissure::cuda::emulated {
namespace {

constexpr int kThreads = 64;

/// Every thread hands its number over through shared memory and reads its neighbour's.
std::vector<float> neighbours(bool with_barrier) {
  std::vector<float> out(kThreads);
  launch({1}, {kThreads}, [&] {
    auto* shared = static_cast<float*>(shared_object(__FILE__, __LINE__, kThreads * sizeof(float), alignof(float)));
    const int thread = linear_thread();
    shared[thread] = static_cast<float>(thread);
    if (with_barrier) barrier(__LINE__);
    out[static_cast<std::size_t>(thread)] = shared[(thread + 1) % kThreads];
  });
  return out;
}

TEST(Machine, ThreadsMeetAtABarrier) {
  const std::vector<float> out = neighbours(true);
  for (int i = 0; i < kThreads; ++i)
    EXPECT_EQ(out[static_cast<std::size_t>(i)], static_cast<float>((i + 1) % kThreads));
}

TEST(Machine, WhatNobodyWroteYetIsNaN) {
  int n_poisoned = 0;
  for (const float value : neighbours(false)) n_poisoned += std::isnan(value);
  EXPECT_GT(n_poisoned, 0);
}

TEST(Machine, SharedObjectsLieAtTheirOwnAlignmentAndAtNoBetterOne) {
  for (const std::size_t alignment : {1, 2, 4, 8, 16}) {
    launch({1}, {1}, [&] {
      const auto at = reinterpret_cast<std::uintptr_t>(shared_object(__FILE__, __LINE__, 20, alignment));
      EXPECT_EQ(at % (2 * alignment), alignment);
    });
  }
}

TEST(Machine, BlocksAndWarpsRunInAnOrderDrawnFromTheSeed) {
  const auto order = [](std::uint64_t seed) {
    std::vector<int> seen;
    set_seed(seed);
    launch({8}, {96}, [&] {
      if (linear_thread() % 32 == 0) seen.push_back(static_cast<int>(block_index().x) * 8 + linear_thread() / 32);
    });
    return seen;
  };
  const std::vector<int> first = order(1);
  EXPECT_EQ(first.size(), 24u);
  EXPECT_EQ(first, order(1));
  EXPECT_NE(first, order(2));
}

TEST(Machine, CopiesArriveWhenTheyAreWaitedFor) {
  alignas(16) float from[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  alignas(16) float to[8] = {};
  launch({1}, {1}, [&] {
    copy_async(to, from);
    copy_commit();
    copy_async(to + 4, from + 4);
    copy_commit();
    EXPECT_TRUE(std::isnan(to[0]));
    copy_wait(1);
    EXPECT_EQ(to[3], 4.0f);
    EXPECT_TRUE(std::isnan(to[4]));
    copy_wait(0);
    EXPECT_EQ(to[7], 8.0f);
  });
}

TEST(MachineDeathTest, NamesTheLineOfAMismatch) {
  const auto run = [](const std::function<void()>& body) { launch({1}, {kThreads}, body); };
  EXPECT_DEATH(run([] { linear_thread() < 32 ? barrier(7) : barrier(9); }), "different barriers, one at line [79]");
  EXPECT_DEATH(run([] {
                 ShuffleArgs args{0, 0};
                 if (linear_thread() % 32 < 24) meet(Operation::kShuffle, ~0u, &args, 13);
               }),
               "mask names lanes that did not come .line 13");
  EXPECT_DEATH(run([] {
                 ShuffleArgs args{0, 0};
                 meet(Operation::kShuffle, ~0u, &args, linear_thread() % 2);
               }),
               "different operations");
  EXPECT_DEATH(run([] {
                 int d[4] = {};
                 const unsigned a[4] = {}, b[2] = {};
                 MultiplyArgs args{d, a, b};
                 if (linear_thread() % 32 < 16) meet(Operation::kMultiplyInt8, 0xffff, &args, 15);
               }),
               "matrix operation without all lanes .line 15");
  EXPECT_DEATH(run([] {
                 alignas(16) char bytes[32] = {};
                 copy_async(bytes + 4, bytes);
               }),
               "not aligned");
}

}  // namespace
}  // namespace commissure::cuda::emulated
