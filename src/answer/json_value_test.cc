#include "answer/json_value.h"

#include <gtest/gtest.h>

#include "core/json.h"

namespace commissure {
namespace {

std::string read(std::string_view text, bool takes_single_quotes = false) {
  return as_json(text, takes_single_quotes).value_or("none");
}

TEST(JsonValue, LeavesJsonAsItIs) {
  for (const std::string text :
       {"{}", "[]", "0", "-1.5e3", "true", "null", R"("a\"b\\\/\u00e9\ud83d\ude00 é")",
        R"({"a": [1, {"b": []}], "c":{}})", "[ ]", "{\n\"a\" : 1 }", "123456789012345678901234567890"}) {
    EXPECT_EQ(read(text), text);
  }
}

TEST(JsonValue, RefusesWhatIsNoJson) {
  for (const std::string text :
       {"",       " ",        "{",      "[1",       "\"a",         "{\"a\": ]",   "[1,]", "{\"a\": 1,}", "{,}",
        "{a: 1}", "{'a': 1}", "['y']",  "[1 2]",    "01",          "1.",          "+1",   "-",           "tru",
        "TRUE",   "NaN",      "1e999",  R"("x\q")", R"("\u12g4")", "{} x",        "1 2",  "]",           "{\"a\" 1}",
        "{1: 2}", "[1}",      "\"a\"b", "1\"",      "nullx",       "{\"a\": 'b'}"}) {
    EXPECT_EQ(read(text), "none") << text;
  }
  EXPECT_EQ(read(std::string("1\0", 2)), "none");
}

TEST(JsonValue, PutsRightWhatLeavesNoDoubt) {
  EXPECT_EQ(read("{\"a\": \"x\ny\tz\x01\"}"), R"({"a": "x\ny\tz\u0001"})");
  EXPECT_EQ(read("{\"a\nb\": [True, False, None], \"True\": \"None\"}"),
            R"({"a\nb": [true, false, null], "True": "None"})");
  EXPECT_EQ(read(R"(["\ud83d", "\ude00", "\ud83d\n", "\ud83dx", "\ud83d\ud83d\ude00"])"),
            R"(["\ufffd", "\ufffd", "\ufffd\n", "\ufffdx", "\ufffd\ud83d\ude00"])");
}

TEST(JsonValue, ReadsPythonsQuotesWhereItIsTold) {
  EXPECT_EQ(read(R"({'a': 'it\'s', 'b': 'say "hi"', "c": "it's"})", true),
            R"({"a": "it's", "b": "say \"hi\"", "c": "it's"})");
  EXPECT_EQ(read(R"(['\x41'])", true), "none");
}

TEST(JsonValue, FollowsAsDeepAsTheParserDoes) {
  const auto nested = [](std::size_t n) { return std::string(n, '[') + std::string(n, ']'); };
  EXPECT_EQ(read(nested(JsonValue::kMaxDepth)), nested(JsonValue::kMaxDepth));
  EXPECT_TRUE(parse_json(nested(JsonValue::kMaxDepth)));
  EXPECT_EQ(read(nested(JsonValue::kMaxDepth + 1)), "none");
}

}  // namespace
}  // namespace commissure
