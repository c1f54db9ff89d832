#include "weights/storage_answers.h"

#include <gtest/gtest.h>

namespace commissure {
namespace {

TEST(StorageAnswers, AContentRangeIsWholeAndInOrder) {
  const auto range = parse_content_range("bytes 10-99/1234");
  ASSERT_TRUE(range.has_value());
  EXPECT_EQ(range->first, 10u);
  EXPECT_EQ(range->size, 1234u);
  for (const char* field :
       {"", "bytes", "bytes 10-99", "bytes 10-99/*", "bytes */1234", "bytes 10/1234", "bytes 99-10/1234",
        "bytes 10-1234/1234", "bytes 0-9/10x", "bytes -1-5/10", "items 0-9/10", "bytes 99999999999999999999-1/2"}) {
    EXPECT_FALSE(parse_content_range(field).has_value()) << field;
  }
}

TEST(StorageAnswers, FactsAreCompleteOrRefused) {
  const auto facts = read_object_facts(*parse_json(R"({"size": "12", "generation": "7", "crc32c": "yZRlqg=="})"), "o");
  ASSERT_TRUE(facts.has_value());
  EXPECT_EQ(facts->size, 12u);
  EXPECT_EQ(facts->generation, 7u);
  EXPECT_EQ(facts->crc32c, 0xc99465aau);
  for (const char* answer :
       {"[]", R"({"size": 12, "generation": "7"})", R"({"size": "12"})", R"({"size": "-1", "generation": "7"})",
        R"({"size": "99999999999999999", "generation": "7"})", R"({"size": "12", "generation": "7", "crc32c": "yZRl"})",
        R"({"size": "12", "generation": "7", "crc32c": 5})", R"({"size": "0", "generation": "7"})"}) {
    EXPECT_FALSE(read_object_facts(*parse_json(answer), "o").has_value()) << answer;
  }
}

TEST(StorageAnswers, APageHoldsPlainNamesBelowTheFolder) {
  const auto page = read_object_page(
      *parse_json(R"({"items": [{"name": "m/"}, {"name": "m/a.gguf"}, {"name": "m/b/c"}, {"name": "n/d"}, 5,
                                {"name": "m/.."}], "nextPageToken": "t"})"),
      "m/");
  EXPECT_EQ(page.files, std::vector<std::string>{"a.gguf"});
  EXPECT_EQ(page.next, "t");
  EXPECT_TRUE(read_object_page(*parse_json(R"({"items": {}})"), "").files.empty());
}

}  // namespace
}  // namespace commissure
