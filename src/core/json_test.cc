#include "core/json.h"

#include <gtest/gtest.h>

namespace commissure {
namespace {

TEST(Json, AnErrorDoesNotRepeatALargeText) {
  const std::string large(100'000, 'a');
  for (const std::string& text : {'"' + large, "{\"" + large + "\":1,\"" + large + "\":2}", large,
                                  "1" + std::string(5000, '0'), "\"" + std::string(50'000, '\xc3')}) {
    const auto json = parse_json(text);
    ASSERT_FALSE(json.has_value());
    EXPECT_LT(json.error().message().size(), 400u);
  }
  // A character is not cut in two.
  std::string umlauts;
  for (int i = 0; i < 1000; ++i) umlauts += "\u00e4";
  const std::string message = parse_json('"' + umlauts).error().message();
  EXPECT_NE(dump_json(message).find("\u00e4..."), std::string::npos);
}

TEST(Json, KeepsTheOrderOfKeys) {
  EXPECT_EQ(dump_json(parse_json(R"({"b":1,"a":{"d":2,"c":[]}})").value()), R"({"b":1,"a":{"d":2,"c":[]}})");
}

TEST(Json, RefusesDuplicateKeysWithTheirName) {
  const auto parsed = parse_json(R"({"a":{"x":1,"x":2}})");
  ASSERT_FALSE(parsed.has_value());
  EXPECT_NE(parsed.error().message().find("\"x\" appears twice"), std::string::npos);
}

TEST(Json, RefusesDeepNesting) {
  EXPECT_TRUE(parse_json(std::string(100, '[') + std::string(100, ']')).has_value());
  EXPECT_FALSE(parse_json(std::string(100000, '[')).has_value());
}

TEST(Json, RefusesTextBehindANul) {
  EXPECT_FALSE(parse_json(std::string_view("{}\0}garbage", 11)).has_value());
  EXPECT_FALSE(parse_json(std::string_view("{}\0", 3)).has_value());
}

TEST(Json, RefusesTrailingTextAndBadUtf8) {
  EXPECT_FALSE(parse_json("{} x").has_value());
  EXPECT_FALSE(parse_json("\"\xff\"").has_value());
  EXPECT_FALSE(parse_json("").has_value());
  EXPECT_FALSE(parse_json("1e999").has_value());
}

TEST(Json, ParsesAVocabularyInTimeProportionalToItsLength) {
  std::string text = "{";
  for (int i = 0; i < 60'000; ++i) text += fmt::format("\"token{}\":{},", i, i);  // a linear search each: 10 s
  const Json parsed = parse_json(text + R"("last":[{"x":[1,-2.5,"y",null,true]},{}]})").value();
  EXPECT_EQ(parsed.size(), 60'001u);
  EXPECT_EQ(dump_json(parsed.back()), R"([{"x":[1,-2.5,"y",null,true]},{}])");
}

TEST(Json, FindMemberTreatsNullAsAbsent) {
  const Json object = parse_json(R"({"a":null,"b":0})").value();
  EXPECT_EQ(find_member(object, "a"), nullptr);
  EXPECT_EQ(find_member(object, "c"), nullptr);
  ASSERT_NE(find_member(object, "b"), nullptr);
}

}  // namespace
}  // namespace commissure
