#include "core/scarce.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "support/failing_new.h"
#include "support/failing_threads.h"

namespace commissure {
namespace {

TEST(Scarce, WhatThereIsNoMemoryOrThreadForGivesTheOtherAnswer) {
  EXPECT_EQ(unless_scarce([] { return 1; }, [] { return 2; }), 1);
  EXPECT_EQ(unless_scarce([]() -> int { throw std::bad_alloc(); }, [] { return 2; }), 2);
  const auto no_thread = []() -> int { throw std::system_error(EAGAIN, std::generic_category()); };
  EXPECT_EQ(unless_scarce(no_thread, [] { return 2; }), 2);
  EXPECT_FALSE(done_unless_scarce(no_thread));
  EXPECT_THROW((void)unless_scarce([]() -> int { throw std::runtime_error("a fault"); }, [] { return 2; }),
               std::runtime_error)
      << "a fault is none of its business";
}

TEST(Scarce, WhatHasToBeDoneIsTriedUntilThereIsMemory) {
  int n_tries = 0;
  do_once_possible([&] {
    if (++n_tries < 3) throw std::bad_alloc();
  });
  EXPECT_EQ(n_tries, 3);
}

TEST(Scarce, TheThreadsOfThisProcessAreGrantedUnlessTheSystemRefuses) {
  EXPECT_TRUE(try_threads(0));
  EXPECT_TRUE(try_threads(8));
#ifdef COMMISSURE_FAILING_NEW
  const FailingThreads failing(FailingThreads::Where::kHere);
  const Status refused = try_threads(8);
  ASSERT_FALSE(refused);
  EXPECT_EQ(failing.n_failed(), 1);
  EXPECT_NE(refused.error().message().find("0 of 8"), std::string::npos) << refused.error().message();
#endif
}

#ifdef COMMISSURE_FAILING_NEW
TEST(Scarce, ThreadsAreTriedWithoutMemoryTooAndNobodyWaits) {
  for (const std::size_t n_bytes : {1u, 16u, 24u, 32u, 40u, 48u, 64u, 100u}) {
    Status refused;
    {
      const FailingNew failing(n_bytes, FailingNew::Where::kHere);
      refused = try_threads(8);
    }
    ASSERT_FALSE(refused) << n_bytes;
    EXPECT_EQ(refused.error().code(), Code::kUnavailable);
  }
  Status refused;
  {
    const FailingThreads no_threads(FailingThreads::Where::kHere);
    const FailingNew failing(50, FailingNew::Where::kHere);
    refused = try_threads(2);
  }
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error(), no_memory(Code::kUnavailable)) << "no memory for more words";
}

TEST(Scarce, AnErrorIsToldWithoutMemoryForItsWords) {
  const Error long_one(Code::kDataLoss, std::string(100, 'x'));
  EXPECT_EQ(copy_of(long_one), long_one);
  const FailingNew failing(1, FailingNew::Where::kHere);
  const Error told = copy_of(long_one);
  const bool is_told = told.code() == Code::kDataLoss && told.message() == "no memory";
  if (!is_told || failing.n_failed() != 1) std::abort();  // an expectation takes memory
}
#endif

}  // namespace
}  // namespace commissure
