#include "verify/verify_report.h"

#include <gtest/gtest.h>

#include "support/text_lines.h"
#include "terminal/word_wrap.h"

namespace commissure {
namespace {

VerifyAnswer answer_of(std::vector<std::int32_t> tokens, float logprob = -1) {
  VerifyAnswer made;
  for (const std::int32_t token : tokens) {
    made.tokens.emplace_back(token);
    made.logprobs.push_back(logprob);
    made.alternatives.push_back({{token, logprob}});
  }
  return made;
}

/// Two prompts, one in wide letters, and what the reference says to them.
struct Comparison {
  std::vector<VerifyCase> cases = {{"日本の首都は東京で、とても大きな都市であり、人口も", false, 0, {TokenId(1)}},
                                   {"Once upon a time, in a village by the sea, there", true, 9, {TokenId(2)}}};
  std::vector<VerifyAnswer> expected = {answer_of({4, 5}), answer_of({6})};
};

TEST(VerifyColumn, NamesTheFirstCaseThatDiffers) {
  const Comparison of;
  std::vector<VerifyAnswer> found = of.expected;
  VerifyColumn column = compare_all("plain", of.cases, of.expected, found, {});
  EXPECT_EQ(column.first_difference(), -1);
  EXPECT_EQ(column.largest_gap, 0);
  found[1] = answer_of({6}, -1.25f);
  column = compare_all("plain", of.cases, of.expected, found, {});
  EXPECT_EQ(column.first_difference(), 1);
  EXPECT_EQ(column.largest_gap, 0.25f);
  EXPECT_EQ(compare_all("plain", of.cases, of.expected, found, {.exact = false}).first_difference(), -1);
}

TEST(VerifyTable, HasAlignedColumnsWithinEighty) {
  const Comparison of;
  std::vector<VerifyAnswer> found = of.expected;
  found[0].tokens[1] = TokenId(7);
  const std::string table = verify_table(
      of.cases, of.expected,
      {compare_all("plain", of.cases, of.expected, found, {}), {.name = "cut", .skipped = "no chain here"}});
  const auto lines = testing::lines_of(table);
  for (const std::string_view line : lines) EXPECT_EQ(columns_of(line), 77u) << table;
  EXPECT_EQ(lines.size(), 3u);
  EXPECT_NE(table.find("1 + 2   DIFFERS         -\n"), std::string::npos) << table;
  EXPECT_NE(table.find("1 + 1      same         -\n"), std::string::npos) << table;
}

TEST(VerifyJson, SaysHowEachCaseDiffers) {
  const Comparison of;
  std::vector<VerifyAnswer> found = of.expected;
  found[0].tokens[1] = TokenId(7);
  const Json json = verify_json(
      of.cases, of.expected,
      {compare_all("plain", of.cases, of.expected, found, {}), {.name = "cut", .skipped = "no chain here"}});
  ASSERT_EQ(json.size(), 2u);
  EXPECT_EQ(json[0]["prompt"], of.cases[0].text);
  EXPECT_EQ(json[0]["plain"], "token 1 is 7 instead of 5");
  EXPECT_EQ(json[1]["plain"], "same");
  EXPECT_TRUE(json[1]["cut"].is_null()) << "what was not run is neither";
  EXPECT_EQ(json[1]["sampled"], true);
  EXPECT_EQ(json[0]["completion_tokens"], 2);
}

TEST(WasReplayed, SeesPositionsComputedTwice) {
  VerifyAnswer found;
  found.steps = {{0, 5, {}}, {5, 1, {}}, {6, 1, {}}};
  EXPECT_FALSE(was_replayed(found));
  found.steps.push_back({0, 7, {}});
  EXPECT_TRUE(was_replayed(found));
}

}  // namespace
}  // namespace commissure
