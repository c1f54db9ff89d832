#include "core/queue.h"

#include <gtest/gtest.h>

#include <thread>

namespace commissure {
namespace {

TEST(BoundedQueue, KeepsOrderAndBounds) {
  BoundedQueue<int> queue(2);
  EXPECT_TRUE(queue.push(1));
  EXPECT_TRUE(queue.push(2));
  EXPECT_FALSE(queue.try_push(3));
  EXPECT_EQ(queue.pop(), 1);
  EXPECT_TRUE(queue.try_push(3));
  EXPECT_EQ(queue.pop(), 2);
  EXPECT_EQ(queue.pop(), 3);
  EXPECT_EQ(queue.try_pop(), std::nullopt);
}

TEST(BoundedQueue, CloseDrainsThenEnds) {
  BoundedQueue<int> queue(4);
  queue.push(7);
  queue.close();
  EXPECT_FALSE(queue.push(8));
  EXPECT_EQ(queue.pop(), 7);
  EXPECT_EQ(queue.pop(), std::nullopt);
}

TEST(BoundedQueue, StopWakesAWaitingPop) {
  BoundedQueue<int> queue(1);
  std::jthread reader([&](std::stop_token stop) { EXPECT_EQ(queue.pop(stop), std::nullopt); });
  reader.request_stop();
}

TEST(BoundedQueue, FullQueueHoldsThePusher) {
  BoundedQueue<int> queue(1);
  queue.push(1);
  std::jthread writer([&] { EXPECT_TRUE(queue.push(2)); });
  EXPECT_EQ(queue.pop(), 1);
  EXPECT_EQ(queue.pop(), 2);
}

}  // namespace
}  // namespace commissure
