#include "core/gate.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace commissure {
namespace {

TEST(Gate, CallsUntilItIsClosed) {
  int sum = 0;
  Gate<int> gate([&](int n) { sum += n; });
  EXPECT_TRUE(gate.call(1));
  EXPECT_TRUE(gate.close());
  EXPECT_FALSE(gate.close());
  EXPECT_FALSE(gate.call(2));
  EXPECT_EQ(sum, 1);
}

TEST(Gate, TheCallbackMayCloseItsOwnGate) {
  Gate<>* self = nullptr;
  int calls = 0;
  Gate<> gate([&] {
    ++calls;
    self->close();
  });
  self = &gate;
  EXPECT_TRUE(gate.call());
  EXPECT_FALSE(gate.call());
  EXPECT_EQ(calls, 1);
}

TEST(Gate, CloseWaitsForARunningCall) {
  std::atomic<bool> open = true;
  std::atomic<int> late = 0;
  Gate<> gate([&] {
    if (!open) ++late;
  });
  std::jthread caller([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) gate.call();
  });
  std::this_thread::yield();
  gate.close();
  open = false;
  caller.request_stop();
  caller.join();
  EXPECT_EQ(late, 0);
}

}  // namespace
}  // namespace commissure
