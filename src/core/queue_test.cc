#include "core/queue.h"

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <new>
#include <thread>
#include <utility>

#include "support/failing_new.h"

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

TEST(BoundedQueue, WhatIsNotTakenStaysWithItsOwner) {
  BoundedQueue<std::unique_ptr<int>> queue(1);
  queue.close();
  auto item = std::make_unique<int>(1);
  EXPECT_FALSE(queue.push(std::move(item)));
  EXPECT_NE(item, nullptr);
  EXPECT_FALSE(queue.try_push(std::move(item)));
  EXPECT_NE(item, nullptr);
}

#ifdef COMMISSURE_FAILING_NEW
TEST(BoundedQueue, WhatThereIsNoMemoryForMayBePushedAgain) {
  struct Item {
    std::unique_ptr<int> value = std::make_unique<int>(1);
    std::array<char, 600> much = {};  // each takes an allocation of its own
  };
  BoundedQueue<Item> queue(100);
  Item item;
  bool is_refused = false;
  {
    const FailingNew failing(sizeof(Item), FailingNew::Where::kHere);
    try {
      queue.push(std::move(item));
    } catch (const std::bad_alloc&) {
      is_refused = true;
    }
  }
  ASSERT_TRUE(is_refused);
  ASSERT_NE(item.value, nullptr);
  EXPECT_TRUE(queue.push(std::move(item)));
  EXPECT_NE(queue.pop()->value, nullptr);
}
#endif

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
