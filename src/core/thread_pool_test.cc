#include "core/thread_pool.h"

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace commissure {
namespace {

TEST(ThreadPool, CallsEveryPartExactlyOnce) {
  for (int n_threads : {1, 2, 3, 5}) {
    ThreadPool pool(n_threads);
    std::vector<int> calls(static_cast<std::size_t>(n_threads), 0);
    for (int i = 0; i < 100; ++i) {
      pool.run([&](int part, int n_parts) {
        ASSERT_EQ(n_parts, n_threads);
        ++calls[static_cast<std::size_t>(part)];
      });
    }
    for (int n : calls) EXPECT_EQ(n, 100);
  }
}

TEST(ThreadPool, RunsPartZeroOnTheCaller) {
  ThreadPool pool(2);
  std::thread::id ids[2];
  pool.run([&](int part, int) { ids[part] = std::this_thread::get_id(); });
  EXPECT_EQ(ids[0], std::this_thread::get_id());
  EXPECT_NE(ids[1], ids[0]);
}

TEST(ThreadPool, MakesWritesVisibleToTheNextCall) {
  ThreadPool pool(3);
  std::vector<long> cells(3, 1);
  for (int i = 0; i < 20; ++i) {
    long total = 0;
    for (long cell : cells) total += cell;
    pool.run([&](int part, int) { cells[static_cast<std::size_t>(part)] = total; });
  }
  EXPECT_EQ(cells[0], 3486784401L);  // 3^20
}

TEST(ThreadPool, WakesAfterResting) {
  ThreadPool pool(2);
  std::atomic<int> n_calls{0};
  for (int i = 0; i < 5; ++i) {
    pool.rest();
    std::this_thread::sleep_for(std::chrono::microseconds(200));
    pool.run([&](int, int) { ++n_calls; });
  }
  EXPECT_EQ(n_calls, 10);
}

TEST(ThreadPool, CanBeWokenFromAnotherThreadAtAnyTime) {
  ThreadPool pool(2);
  std::atomic<int> n_calls{0};
  std::jthread waker([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) pool.wake();
  });
  for (int i = 0; i < 500; ++i) {
    pool.rest();
    pool.run([&](int, int) { ++n_calls; });
  }
  EXPECT_EQ(n_calls, 1000);
}

TEST(ThreadPool, StopsWithoutHavingRun) { ThreadPool pool(4); }

}  // namespace
}  // namespace commissure
