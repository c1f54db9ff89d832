#include <gtest/gtest.h>

#include "core/index.h"
#include "grammar/grammar.h"
#include "grammar/schema_keywords.h"

namespace commissure {
namespace {

Json schema(const std::string& text) {
  auto parsed = parse_json(text);
  EXPECT_TRUE(parsed.has_value()) << text;
  return parsed ? *parsed : Json();
}

std::string problem(const std::string& text) {
  const auto made = enforceable_schema(schema(text));
  return made ? "none: " + dump_json(*made) : made.error().message();
}

std::string made(const std::string& text) {
  const auto result = enforceable_schema(schema(text));
  return result ? dump_json(*result) : "refused: " + result.error().message();
}

TEST(Schema, KeywordsThatCannotBeEnforcedAreNamedWithTheirPlace) {
  for (const char* keyword :
       {"not", "if", "then", "else", "contains", "minContains", "maxContains", "dependentRequired", "dependentSchemas",
        "dependencies", "$dynamicRef", "$anchor", "additionalItems", "frobnicate"}) {
    const std::string text =
        R"({"type":"object","properties":{"deep":{"type":"array","items":{")" + std::string(keyword) + R"(":{}}}}})";
    EXPECT_NE(problem(text).find("'" + std::string(keyword) + "'"), std::string::npos) << problem(text);
    EXPECT_NE(problem(text).find("$.properties.deep.items"), std::string::npos) << problem(text);
  }
  EXPECT_NE(problem(R"({"type":"array","uniqueItems":true})").find("uniqueItems"), std::string::npos);
  EXPECT_EQ(made(R"({"type":"array","uniqueItems":false})"), R"({"type":"array"})");
  EXPECT_NE(problem(R"({"type":"string","format":"color"})").find("color"), std::string::npos);
}

TEST(Schema, AnnotationsSayNothing) {
  EXPECT_EQ(
      made(R"({"$schema":"x","title":"T","description":"d","default":1,"examples":[1],"x-order":3,"type":"null"})"),
      R"({"type":"null"})");
}

TEST(Schema, NothingStandsBesideWhatTheCompilerHeedsAlone) {
  EXPECT_NE(problem(R"({"$ref":"#/$defs/a","minLength":3,"$defs":{"a":{}}})").find("minLength"), std::string::npos);
  EXPECT_NE(problem(R"({"enum":["a"],"maxLength":3})").find("maxLength"), std::string::npos);
  EXPECT_NE(problem(R"({"anyOf":[{}],"properties":{}})").find("properties"), std::string::npos);
  EXPECT_NE(problem(R"({"type":"string","pattern":"a+","minLength":1})").find("pattern"), std::string::npos);
  EXPECT_NE(problem(R"({"type":"string","pattern":"a+","format":"uuid"})").find("pattern"), std::string::npos);
}

TEST(Schema, ATypeBesideValuesOrAlternativesCounts) {
  EXPECT_EQ(made(R"({"type":"string","enum":["a",1,"b"]})"), R"({"enum":["a","b"]})");
  EXPECT_EQ(made(R"({"type":"integer","const":2})"), R"({"enum":[2]})");
  EXPECT_NE(problem(R"({"type":"integer","const":"2"})").find("type"), std::string::npos);
  EXPECT_EQ(made(R"({"type":"string","anyOf":[{"minLength":2},{"pattern":"x"}]})"),
            R"({"anyOf":[{"type":"string","minLength":2},{"type":"string","pattern":"x"}]})");
}

TEST(Schema, TypesFollowFromKeywords) {
  EXPECT_EQ(made(R"({"minLength":2})"), R"({"type":"string","minLength":2})");
  EXPECT_EQ(made(R"({"maximum":2})"), R"({"type":"number","maximum":2})");
  EXPECT_NE(problem(R"({"minLength":2,"minimum":1})").find("string and number"), std::string::npos);
  EXPECT_EQ(made(R"({"type":["integer","null"],"minimum":3,"minLength":9})"),
            R"({"type":["integer","null"],"minimum":3})");
}

TEST(Schema, OtherPropertiesAreLeftOutUnlessAskedFor) {
  EXPECT_EQ(made(R"({"properties":{"a":{}}})"),
            R"({"type":"object","properties":{"a":{}},"additionalProperties":false})");
  EXPECT_EQ(made(R"({"type":"object","properties":{"a":{}},"additionalProperties":true})"),
            R"({"type":"object","additionalProperties":true,"properties":{"a":{}}})");
  EXPECT_EQ(made(R"({"type":"object","required":["b"]})"),
            R"({"type":"object","required":["b"],"properties":{"b":{}},"additionalProperties":false})");
  EXPECT_EQ(made(R"({"type":"object","properties":{}})"), R"({"type":"object","additionalProperties":false})");
  EXPECT_NE(problem(R"({"type":"object","required":["b"],"additionalProperties":false})").find("'b'"),
            std::string::npos);
  EXPECT_NE(problem(R"({"type":"object","minProperties":2})").find("minProperties"), std::string::npos);
}

TEST(Schema, PartsOfAllOfBecomeOne) {
  EXPECT_EQ(
      made(
          R"({"allOf":[{"type":"object","properties":{"a":{}},"required":["a"]},{"properties":{"b":{}},"required":["b"]}]})"),
      R"({"type":"object","required":["a","b"],"properties":{"a":{},"b":{}},"additionalProperties":false})");
  EXPECT_NE(problem(R"({"allOf":[{"minLength":1},{"minLength":2}]})").find("minLength"), std::string::npos);
  EXPECT_NE(problem(R"({"allOf":[{"properties":{"a":{}},"additionalProperties":false},{"properties":{"b":{}}}]})")
                .find("additionalProperties"),
            std::string::npos);
  EXPECT_EQ(made(R"({"allOf":[{"$ref":"#/$defs/a"}],"description":"x","$defs":{"a":{"type":"null"}}})"),
            R"({"$ref":"#/$defs/a","$defs":{"a":{"type":"null"}}})");
}

TEST(Schema, ReferencesLeadIntoTheSchemaAndSomewhere) {
  EXPECT_NE(problem(R"({"$ref":"#/$defs/none"})").find("nothing"), std::string::npos);
  EXPECT_NE(problem(R"({"$ref":"https://example.com/x"})").find("into this schema"), std::string::npos);
  EXPECT_NE(
      problem(R"({"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}}})").find("itself"),
      std::string::npos);
  EXPECT_NE(problem(R"({"allOf":[{"$ref":"#"},{}]})").find("nested deeper"), std::string::npos);
}

TEST(Schema, SizesAreBounded) {
  std::string deep = "{}";
  for (int i = 0; i < 100; ++i) deep = R"({"items":)" + deep + "}";
  EXPECT_NE(problem(deep).find("nested deeper"), std::string::npos);
  std::string wide = R"({"properties":{"p":{})";
  for (int i = 0; i < 10'500; ++i) wide += ",\"p" + std::to_string(i) + "\":{}";
  EXPECT_EQ(enforceable_schema(schema(wide + "}}")).error().code(), Code::kResourceExhausted);
  EXPECT_NE(problem(R"({"type":"string","maxLength":1000000000})").find("at most"), std::string::npos);
  EXPECT_NE(problem(R"({"type":"array","minItems":-1})").find("at least 0"), std::string::npos);
}

TEST(Schema, ReferencesLeadToSchemasThatWereReadAndNowhereElse) {
  for (const char* path :
       {"#/$defs/a/enum/0", "#/$defs/a/const", "#/$defs", "#/x-a", "#/properties", "#/$defs/b/oneOf/0"}) {
    const Json schema = {{"$ref", path},
                         {"$defs",
                          {{"a", {{"enum", Json::array({{{"type", "string"}, {"pattern", "\""}}})}}},
                           {"b", {{"oneOf", Json::array({{{"type", "null"}}})}}}}},
                         {"x-a", {{"type", "string"}, {"maxLength", 1'000'000'000}}}};
    EXPECT_NE(problem(dump_json(schema)).find("nothing that answers can be held to"), std::string::npos) << path;
  }
  EXPECT_EQ(made(R"({"$ref":"#/$defs/a/items","$defs":{"a":{"type":"array","items":{"type":"null"}}}})"),
            R"({"$ref":"#/$defs/a/items","$defs":{"a":{"type":"array","items":{"type":"null"}}}})");
}

TEST(Schema, TheWaysToWhatReferencesNameAreBoundedTogether) {
  Json wide = {{"type", "object"}};
  for (int i = 0; i < 2000; ++i) wide["$defs"]["k" + std::to_string(i)] = Json::object();
  for (int i = 0; i < 900; ++i) wide["properties"]["p" + std::to_string(i)] = {{"$ref", "#/$defs/k1999"}};
  EXPECT_TRUE(enforceable_schema(wide).has_value());
  for (int i = 900; i < 1100; ++i) wide["properties"]["p" + std::to_string(i)] = {{"$ref", "#/$defs/k1999"}};
  EXPECT_NE(problem(dump_json(wide)).find("looks at names"), std::string::npos);
}

std::string pattern_of(const std::string& pattern) {
  const auto made = enforceable_schema({{"type", "string"}, {"pattern", pattern}});
  return made ? (*made)["pattern"].get<std::string>() : "refused: " + made.error().message();
}

std::string groups(int n) { return std::string(to_size(n), '(') + "a" + std::string(to_size(n), ')'); }

TEST(Schema, PatternsAreBoundedWhereverTheyStand) {
  for (const std::string& pattern : {groups(60'000), groups(300), std::string("a{50000}"), std::string("(a{40}){40}"),
                                     "a" + std::string(5000, '*'), std::string(9000, 'a')}) {
    EXPECT_NE(pattern_of(pattern).find("refused"), std::string::npos) << pattern.substr(0, 20);
    EXPECT_FALSE(enforceable_schema({{"type", "object"}, {"patternProperties", {{pattern, Json::object()}}}}))
        << pattern.substr(0, 20);
    EXPECT_FALSE(enforceable_schema({{"type", "object"}, {"propertyNames", {{"pattern", pattern}}}}))
        << pattern.substr(0, 20);
  }
  EXPECT_EQ(pattern_of("a{1000}"), "a{1000}");
  Json many = {{"type", "object"}};
  for (int i = 0; i < 5; ++i) many["properties"]["p" + std::to_string(i)] = {{"pattern", "a{900}"}};
  EXPECT_NE(problem(dump_json(many)).find("patterns of the schema unfold"), std::string::npos) << "together";
  many["properties"].erase("p4");
  EXPECT_TRUE(enforceable_schema(many));
}

TEST(Schema, PatternsAreSpelledInAscii) {
  EXPECT_EQ(pattern_of("^Größe: .+$"), R"(^Gr\u{f6}\u{df}e: .+$)");
  EXPECT_EQ(pattern_of("[ä-ü😀]\\\\ö\\ö\t"), R"([\u{e4}-\u{fc}\u{1f600}]\\\u{f6}\u{f6}\u{9})");
  EXPECT_EQ(pattern_of("a\\"), "a\\");
  EXPECT_NE(made(R"({"type":"object","patternProperties":{"^ä$":{}}})").find("u{e4}"), std::string::npos);
}

TEST(Schema, EveryPartIsCounted) {
  Json names = Json::array(), values = Json::array();
  for (int i = 0; i < 10'001; ++i) {
    names.push_back("n" + std::to_string(i));
    values.push_back(i);
  }
  EXPECT_NE(problem(dump_json({{"type", "object"}, {"required", names}})).find("parts"), std::string::npos);
  EXPECT_NE(problem(dump_json({{"enum", values}})).find("parts"), std::string::npos);
  Json merged = {{"$defs", {{"a", {{"type", "object"}, {"required", names}}}}}, {"allOf", Json::array()}};
  for (int i = 0; i < 3; ++i) merged["allOf"].push_back({{"$ref", "#/$defs/a"}});
  EXPECT_EQ(enforceable_schema(merged).error().code(), Code::kResourceExhausted);
  Json numbers = {{"type", "object"}};
  for (int i = 0; i < 100; ++i) {
    numbers["properties"]["p" + std::to_string(i)] = {{"type", "integer"}, {"multipleOf", 1000}};
  }
  EXPECT_NE(problem(dump_json(numbers)).find("parts"), std::string::npos) << "each has a thousand remainders";
}

TEST(Schema, CopiesOfWhatReferencesStandForAreBounded) {
  Json copied = {{"$defs", {{"a", {{"type", "string"}, {"enum", {std::string(10'000, 'a')}}}}}},
                 {"oneOf", Json::array()}};
  for (int i = 0; i < 200; ++i) copied["oneOf"].push_back({{"$ref", "#/$defs/a"}});
  EXPECT_NE(problem(dump_json(copied)).find("stand for more"), std::string::npos);
}

TEST(Schema, LimitsHoldForSchemasTogether) {
  SchemaWork work;
  const Json one = {{"type", "string"}, {"pattern", "a{900}"}};
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(enforceable_schema(one, work));
  EXPECT_EQ(work.patterns.size(), 4u);
  EXPECT_FALSE(enforceable_schema(one, work));
}

TEST(Schema, WhatIsNoSchemaIsRefused) {
  for (const char* text :
       {"3", "\"x\"", "null", "[]", "false", R"({"type":"strng"})", R"({"type":[]})", R"({"enum":[]})",
        R"({"anyOf":{}})", R"({"properties":[]})", R"({"required":"a"})", R"({"items":3})", R"({"minimum":"a"})",
        R"({"pattern":3})", R"({"$ref":3})", R"({"exclusiveMinimum":true})"}) {
    EXPECT_FALSE(enforceable_schema(schema(text)).has_value()) << text;
  }
}

}  // namespace
}  // namespace commissure
