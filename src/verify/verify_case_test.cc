#include "verify/verify_case.h"

#include <gtest/gtest.h>

#include <cmath>

#include "verify/verify_report.h"

namespace commissure {
namespace {

VerifyAnswer answer() {
  VerifyAnswer made;
  made.tokens = {TokenId(4), TokenId(9)};
  made.logprobs = {-0.5f, -1.25f};
  made.alternatives = {{{4, -0.5f}, {5, -3.0f}}, {{9, -1.25f}, {7, -1.5f}}};
  return made;
}

const VerifyCase kGreedy{"x", false, 0, {}};
const VerifyCase kSampled{"x", true, 1, {}};

TEST(Difference, SeesASingleBit) {
  const VerifyAnswer expected = answer();
  EXPECT_FALSE(difference(kGreedy, expected, answer(), {}));
  VerifyAnswer found = answer();
  found.logprobs[1] = std::nextafter(-1.25f, 0.0f);
  EXPECT_NE(difference(kGreedy, expected, found, {})->find("token 1"), std::string::npos);
  found = answer();
  found.alternatives[0][5] = std::nextafter(-3.0f, 0.0f);
  EXPECT_TRUE(difference(kGreedy, expected, found, {}));
  found = answer();
  found.tokens.pop_back();
  EXPECT_EQ(*difference(kGreedy, expected, found, {}), "1 tokens instead of 2");
}

TEST(Difference, ToleratesOnlyWhatItSays) {
  const VerifyTolerance tolerance{.exact = false, .logprob = 0.25f};
  const VerifyAnswer expected = answer();
  VerifyAnswer found = answer();
  found.logprobs[0] = -0.7f;
  EXPECT_FALSE(difference(kGreedy, expected, found, tolerance));
  found.logprobs[0] = -0.8f;
  EXPECT_TRUE(difference(kGreedy, expected, found, tolerance));
  found = answer();
  found.tokens[1] = TokenId(7);  // nearly as likely as 9
  EXPECT_FALSE(difference(kGreedy, expected, found, tolerance));
  found = answer();
  found.tokens[0] = TokenId(5);
  EXPECT_TRUE(difference(kGreedy, expected, found, tolerance));
  EXPECT_FALSE(difference(kSampled, expected, found, tolerance));
  EXPECT_TRUE(difference(kSampled, expected, found, {}));
}

TEST(WasReplayed, SeesPositionsComputedTwice) {
  VerifyAnswer found;
  found.steps = {{0, 5, {}}, {5, 1, {}}, {6, 1, {}}};
  EXPECT_FALSE(was_replayed(found));
  found.steps.push_back({0, 7, {}});
  EXPECT_TRUE(was_replayed(found));
}

TEST(VerifyCase, LabelsHaveOneWidth) {
  for (const VerifyCase& one : built_in_cases()) EXPECT_EQ(one.label(46).find('\n'), std::string::npos);
  EXPECT_EQ(VerifyCase({"short", false, 0, {}}).label(12, true), "short       ");
  EXPECT_EQ(VerifyCase({"a longer text than fits", true, 0, {}}).label(20).size(), 20u);
}

}  // namespace
}  // namespace commissure
