#include "serve/waking_link.h"

#include <gtest/gtest.h>

#include <string>

namespace commissure {
namespace {

using std::chrono::milliseconds;

/// Takes steps while it is well.
class ColdChain final : public StageLink {
 public:
  Status state = Error(Code::kUnavailable, "stage b is cold");
  int n_submitted = 0;
  int n_opened = 0;

  void start(Sink) override {}
  Status submit(StageInput) override {
    ++n_submitted;
    return state;
  }
  Status health() const override { return state; }
  int n_streams() const override { return n_opened; }
  void stop() override {}
};

struct Waking {
  explicit Waking(milliseconds limit) : link(chain, [this] { ++n_begun; }, limit) {}

  ColdChain chain;
  int n_begun = 0;
  WakingLink link;
};

TEST(WakingLink, LoadsOnceOnFirstUse) {
  Waking waking(std::chrono::hours(1));
  EXPECT_TRUE(waking.link.health().has_value()) << "a cold chain counts as well";
  EXPECT_EQ(waking.n_begun, 0);
  EXPECT_FALSE(waking.link.wake());
  EXPECT_FALSE(waking.link.wake());
  EXPECT_EQ(waking.n_begun, 1);
  waking.chain.state = {};
  EXPECT_TRUE(waking.link.wake());
  EXPECT_TRUE(waking.link.submit({}).has_value());
}

TEST(WakingLink, OnceAwakeTheChainSpeaksForItself) {
  Waking waking(std::chrono::hours(1));
  waking.chain.state = {};
  EXPECT_TRUE(waking.link.wake());
  waking.chain.state = Error(Code::kUnavailable, "stage b is gone");
  EXPECT_TRUE(waking.link.wake()) << "a break is an outage, not a cold start";
  EXPECT_FALSE(waking.link.health().has_value());
}

TEST(WakingLink, AChainThatWasReadyBeforeAnybodyUsedItIsOutWhenItBreaks) {
  Waking waking(std::chrono::hours(1));
  waking.chain.state = {};
  waking.chain.n_opened = 1;
  EXPECT_TRUE(waking.link.health().has_value());
  waking.chain.state = Error(Code::kUnavailable, "stage b is gone");
  EXPECT_FALSE(waking.link.health().has_value());
  EXPECT_TRUE(waking.link.wake()) << "nobody waits for it as for a cold one";
}

TEST(WakingLink, AChainOfOneStageIsWellWhileItIsCold) {
  Waking waking(std::chrono::hours(1));
  waking.chain.state = {};
  EXPECT_TRUE(waking.link.health().has_value());
  waking.chain.state = Error(Code::kUnavailable, "stage a is loading");
  EXPECT_FALSE(waking.link.wake());
  EXPECT_TRUE(waking.link.health().has_value()) << "it was not ready yet";
}

TEST(WakingLink, AfterTheLimitTheChainIsOut) {
  Waking waking(milliseconds(0));
  EXPECT_TRUE(waking.link.wake());
  const Status refused = waking.link.submit({});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().message(), "stage b is cold");
  EXPECT_FALSE(waking.link.health().has_value());
}

TEST(WakingLink, WhatCannotMendItselfIsNotWaitedFor) {
  Waking waking(std::chrono::hours(1));
  waking.chain.state = Error(Code::kFailedPrecondition, "stage b has another model");
  EXPECT_FALSE(waking.link.health().has_value());
  EXPECT_TRUE(waking.link.wake());
  EXPECT_EQ(waking.link.submit({}).error().code(), Code::kFailedPrecondition);
}

}  // namespace
}  // namespace commissure
