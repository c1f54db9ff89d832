#include "core/json.h"

#include <gtest/gtest.h>

#include <new>

#include "core/json_limits.h"
#ifdef COMMISSURE_FAILING_NEW
#include "support/failing_new.h"
#endif

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

TEST(Json, FindsAKeyThatAppearsTwiceWhereverItStands) {
  for (const char* text : {R"({"a":1,"b":{},"a":2})", R"([{"b":1},{"a":{"z":1},"c":[{"d":1,"d":1}]}])"}) {
    const auto parsed = parse_json(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_NE(parsed.error().message().find("appears twice"), std::string::npos) << parsed.error().message();
  }
  EXPECT_TRUE(parse_json(R"([{"a":1,"b":{"a":1}},{"a":{"a":1}}])")) << "each object has keys of its own";
}

TEST(Json, CountsWhatAStrangersTextHolds) {
  JsonAllowance allowance{.items = 5, .others = 6};
  // Others: the array, the object, two members, the array and the text within.
  EXPECT_TRUE(parse_json_within(R"([1,2,{"a":1,"b":["x",null]}])", allowance));
  EXPECT_EQ(allowance.items, 2u);
  EXPECT_EQ(allowance.others, 0u);
  EXPECT_TRUE(parse_json_within("7", allowance)) << "no list, and one value";

  const auto refused = [](const char* text, JsonAllowance rest) {
    const auto parsed = parse_json_within(text, rest);
    return !parsed && parsed.error().code() == Code::kResourceExhausted;
  };
  EXPECT_TRUE(refused("[1,2,3]", {.items = 2, .others = 1}));
  EXPECT_FALSE(refused("[1,2,3]", {.items = 3, .others = 1}));
  for (const char* text : {"[[],[]]", "[{},{}]", R"(["a","b"])", R"({"a":1,"b":2})", R"({"a":[]})", R"([["a"]])"}) {
    EXPECT_TRUE(refused(text, {.items = 9, .others = 2})) << text;
    EXPECT_FALSE(refused(text, {.items = 9, .others = 3})) << text;
  }
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

#ifdef COMMISSURE_FAILING_NEW
TEST(Json, ATextIsNotBlamedForMemoryThatIsShort) {
  constexpr std::size_t kLarge = 1 << 20;
  const std::string text = '"' + std::string(kLarge, 'x') + '"';
  const FailingNew failing(kLarge, FailingNew::Where::kHere);
  EXPECT_THROW(static_cast<void>(parse_json(text)), std::bad_alloc);
  EXPECT_GT(failing.n_failed(), 0);
}
#endif

}  // namespace
}  // namespace commissure
