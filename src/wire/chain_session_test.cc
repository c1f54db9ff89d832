#include "wire/chain_session.h"

#include <gtest/gtest.h>

#include "wire/frame.h"

namespace commissure {
namespace {

using Names = std::vector<std::string>;

TEST(ChainSession, ResumesTheLatestAnsweredOneAndWhatCameAfter) {
  SentSteps steps;
  const ChainSession first = steps.next({});
  EXPECT_FALSE(first.name.empty());
  EXPECT_TRUE(first.resumes.empty());
  EXPECT_EQ(steps.next(first), first) << "no step went through it";
  steps.on_step(first);
  steps.on_answer(first);
  steps.on_step(first);

  const ChainSession second = steps.next(first);
  EXPECT_NE(second.name, first.name);
  EXPECT_EQ(second.resumes, Names{first.name});
  steps.on_step(second);
  const ChainSession third = steps.next(second);
  EXPECT_EQ(third.resumes, (Names{first.name, second.name})) << "who knows whether a stage ran that step";
  steps.on_step(third);
  steps.on_answer(third);
  EXPECT_EQ(steps.next(third).resumes, Names{third.name});
}

TEST(ChainSession, ForgetsTheNewestWhenTooManyBreakUnanswered) {
  SentSteps steps;
  ChainSession session;
  Names names;
  for (std::size_t i = 0; i < kMaxResumes + 5; ++i) {
    session = steps.next(session);
    names.push_back(session.name);
    steps.on_step(session);
  }
  session = steps.next(session);
  EXPECT_EQ(session.resumes, Names(names.begin(), names.begin() + kMaxResumes));
}

TEST(ChainSession, AStageKeepsItsRowsForWhoResumesThem) {
  KeptRows rows;
  EXPECT_FALSE(rows.begin({"one", {}}));
  rows.on_step({"one", {}});
  EXPECT_TRUE(rows.begin({"two", {"one"}}));
  EXPECT_TRUE(rows.begin({"three", {"one", "two"}})) << "no step ran in two";
  rows.on_step({"three", {"one"}});
  EXPECT_TRUE(rows.begin({"three", {"one"}})) << "the stage before came back by itself";
  EXPECT_FALSE(rows.begin({"four", {"one"}})) << "it was somebody else's step in three";
  EXPECT_FALSE(rows.begin({"five", {"three"}})) << "dropped for four";
}

TEST(Succession, GoesByWhoBeganLaterOnceTheOtherGivesWay) {
  const ChainSession served{"s", {}, {100, 4}};
  const auto next = [&](const char* name, StreamEpoch epoch, bool gives_way) {
    return succession(served, gives_way, {name, {}, epoch});
  };
  for (const bool gives_way : {false, true}) {
    EXPECT_EQ(next("t", {100, 5}, gives_way), Succession::kReplace) << "the same stage A";
    EXPECT_EQ(next("s", {100, 4}, gives_way), Succession::kReplace) << "its stream was opened anew further up";
    EXPECT_EQ(next("t", {100, 3}, gives_way), Succession::kIsOlder);
    EXPECT_EQ(next("t", {99, 9}, gives_way), Succession::kIsOlder);
    EXPECT_EQ(next("", {}, gives_way), Succession::kIsNobodys);
    EXPECT_EQ(succession({}, gives_way, served), Succession::kReplace) << "nobody was served";
  }
  EXPECT_EQ(next("t", {101, 1}, false), Succession::kIsTooSoon);
  EXPECT_EQ(next("t", {101, 1}, true), Succession::kReplace);
  EXPECT_EQ(next("t", {kBreakingHead, 0}, false), Succession::kReplace);
  EXPECT_EQ(succession({"b", {}, {kBreakingHead, 0}}, false, served), Succession::kReplace);
}

TEST(ChainSession, WithoutANameNothingIsDecided) {
  KeptRows rows;
  rows.on_step({"one", {}});
  EXPECT_FALSE(rows.begin({}));
  EXPECT_EQ(rows.left(), StageMemory::kRows);
  EXPECT_TRUE(rows.begin({"two", {"one"}}));
}

}  // namespace
}  // namespace commissure
