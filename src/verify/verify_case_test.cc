#include "verify/verify_case.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "support/temp_folder.h"
#include "terminal/word_wrap.h"

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

TEST(VerifyCase, LabelsHaveOneWidth) {
  for (const VerifyCase& one : built_in_cases()) {
    const std::string label = one.label(46, true);
    EXPECT_EQ(columns_of(label), 46u) << label;
    EXPECT_EQ(label.find('\n'), std::string::npos) << label;
  }
  EXPECT_EQ(VerifyCase({"short", false, 0, {}}).label(12, true), "short       ");
  EXPECT_EQ(VerifyCase({"a longer text than fits", true, 0, {}}).label(20).size(), 20u);
}

TEST(VerifyCase, ALabelThatFitsIsWhole) {
  EXPECT_EQ(VerifyCase({"twelve signs", false, 0, {}}).label(12), "twelve signs");
  EXPECT_EQ(VerifyCase({"twelve signs!", false, 0, {}}).label(12), "twelve si...");
  EXPECT_EQ(VerifyCase({"日本の首都は東京", false, 0, {}}).label(10, true), "日本の... ") << "half a sign is none";
  EXPECT_EQ(VerifyCase({"a\tb\x1b[31mc", false, 0, {}}).label(20), "a b[31mc") << "nothing steers the terminal";
}

TEST(VerifyCase, IsSentAsItIsAsked) {
  const VerifyCase greedy{"x", false, 0, {TokenId(1), TokenId(2)}};
  EXPECT_EQ(greedy.request(5).prompt, greedy.prompt);
  EXPECT_EQ(greedy.request(5).max_tokens, 5);
  EXPECT_TRUE(greedy.request(5).ignore_eos) << "all answers have one length";
  EXPECT_EQ(greedy.request(5).sampling.temperature, 0.0f);
  const VerifyCase sampled{"x", true, 7, {}};
  EXPECT_EQ(sampled.request(5).sampling.temperature, kVerifyTemperature);
  EXPECT_EQ(sampled.request(5).sampling.seed, 7u);
}

TEST(VerifyCase, ThoseOfAFileAreItsLinesBothWays) {
  const testing::TempFolder folder;
  const auto cases = read_cases(folder.write("p.txt", "one\r\n\ntwo\n\nlast"));
  ASSERT_TRUE(cases.has_value());
  ASSERT_EQ(cases->size(), 6u);
  for (std::size_t i = 0; i < 6; ++i) {
    EXPECT_EQ((*cases)[i].text, (std::array{"one", "two", "last"})[i / 2]);
    EXPECT_EQ((*cases)[i].sampled, i % 2 == 1);
  }
  EXPECT_NE((*cases)[1].seed, (*cases)[3].seed);
  EXPECT_EQ(read_cases(folder.write("empty", "\n\r\n")).error().message(),
            folder.path("empty") + " holds no prompt; write one a line");
  EXPECT_EQ(read_cases(folder.path("none")).error().code(), Code::kNotFound);
}

TEST(LargestGap, IsMeasuredWhereTheAnswersAreOne) {
  VerifyAnswer expected = answer(), found = answer();
  EXPECT_EQ(largest_gap(expected, found), 0);
  found.logprobs = {-0.75f, -9.0f};
  EXPECT_EQ(largest_gap(expected, found), 7.75f);
  found.tokens[1] = TokenId(8);
  EXPECT_EQ(largest_gap(expected, found), 0.25f) << "behind another token everything differs";
  found.tokens[0] = TokenId(8);
  EXPECT_EQ(largest_gap(expected, found), 0);
}

}  // namespace
}  // namespace commissure
