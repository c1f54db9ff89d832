#include "text/stop_matcher.h"

#include <gtest/gtest.h>

#include <random>

namespace commissure {
namespace {

/// Everything let out while `text` arrives in pieces cut at `cuts`.
StopMatcher::Output stream(StopMatcher matcher, std::string_view text, const std::vector<std::size_t>& cuts) {
  StopMatcher::Output all;
  std::size_t begin = 0;
  const auto push = [&](std::size_t end) {
    const auto output = matcher.push(text.substr(begin, end - begin));
    all.text += output.text;
    if (output.matched) all.matched = output.matched;
    begin = end;
  };
  for (const std::size_t cut : cuts) push(cut);
  push(text.size());
  all.text += matcher.finish();
  return all;
}

TEST(StopMatcher, NeverLeaksAPartOfAStopWhereverTextIsCut) {
  const std::string text = "say <|im_end|> and more";
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    const auto output = stream(StopMatcher({"<|im_end|>"}), text, {cut});
    EXPECT_EQ(output.text, "say ") << cut;
    EXPECT_EQ(output.matched, "<|im_end|>") << cut;
  }
}

TEST(StopMatcher, LetsTextOutAsSoonAsItCannotBecomeAStop) {
  StopMatcher matcher({"END"});
  EXPECT_EQ(matcher.push("a E").text, "a ");
  EXPECT_EQ(matcher.push("N").text, "");
  EXPECT_EQ(matcher.push("E").text, "EN");
  EXPECT_EQ(matcher.finish(), "E");
}

TEST(StopMatcher, TakesTheStopThatBeginsFirst) {
  EXPECT_EQ(stream(StopMatcher({"b", "ab"}), "xab", {}).text, "x");
  EXPECT_EQ(*stream(StopMatcher({"ab", "abc"}), "xabcd", {}).matched, "abc");
  // Overlapping itself: "aab" in "aaab".
  EXPECT_EQ(stream(StopMatcher({"aab"}), "aaab", {1, 2, 3}).text, "a");
}

TEST(StopMatcher, IgnoresEmptyStops) {
  const auto output = stream(StopMatcher({"", ""}), "text", {2});
  EXPECT_EQ(output.text, "text");
  EXPECT_FALSE(output.matched.has_value());
}

TEST(StopMatcher, SwallowsEverythingAfterAMatch) {
  StopMatcher matcher({"."});
  EXPECT_EQ(matcher.push("a.b").text, "a");
  EXPECT_EQ(matcher.push("c").text, "");
  EXPECT_EQ(matcher.finish(), "");
}

TEST(StopMatcher, NamesTheLongerOfTwoAtOnePlaceInOnePiece) {
  const auto output = stream(StopMatcher({"bc", "abcd", "abc"}), "xabcd", {});
  EXPECT_EQ(output.text, "x");
  EXPECT_EQ(*output.matched, "abcd");
}

/// Comparisons while text of one byte meets stops that nearly are that text.
std::uint64_t work_of(std::size_t n_stop, std::size_t n_text) {
  std::vector<std::string> stops;
  for (std::size_t i = 0; i < 16; ++i) {
    stops.push_back(std::string(n_stop * i / 16, 'a') + "q" + std::string(n_stop - n_stop * i / 16, 'a'));
  }
  StopMatcher matcher(stops);
  for (std::size_t i = 0; i < n_text; i += 10) matcher.push(std::string(10, 'a'));
  return matcher.n_compared();
}

TEST(StopMatcher, WorkGrowsWithTheTextAndNotWithTheStops) {
  const std::uint64_t work = work_of(1000, 10'000);
  EXPECT_GE(work, 16u * 10'000u);
  EXPECT_LE(work, 2u * 16u * 10'000u);
  EXPECT_LE(work_of(1000, 20'000), 2 * work + 16'000) << "twice the text";
  EXPECT_LE(work_of(80'000, 10'000), 2 * work) << "80 times the stops";
}

TEST(StopMatcher, AgreesWithASearchOfTheWholeText) {
  std::mt19937 random(7);
  for (int round = 0; round < 2000; ++round) {
    std::string text, stop;
    for (auto n = random() % 30; n > 0; --n) text += "ab"[random() % 2];
    for (auto n = 1 + random() % 4; n > 0; --n) stop += "ab"[random() % 2];
    std::vector<std::size_t> cuts;
    for (std::size_t i = 1; i < text.size(); ++i) {
      if (random() % 2 == 0) cuts.push_back(i);
    }
    const std::size_t at = text.find(stop);
    const auto output = stream(StopMatcher({stop}), text, cuts);
    ASSERT_EQ(output.text, text.substr(0, at)) << text << " until " << stop;
    ASSERT_EQ(output.matched.has_value(), at != std::string::npos);
  }
}

}  // namespace
}  // namespace commissure
