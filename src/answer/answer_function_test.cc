#include "answer/answer_function.h"

#include <gtest/gtest.h>

namespace commissure {
namespace {

ParameterKind kind_of(std::string_view schema) {
  Json parameters = Json::parse(
      R"({"$defs": {"text": {"enum": ["x", "y"]}, "n": {"type": "integer"}, "loop": {"$ref": "#/$defs/loop"},
          "tree": {"anyOf": [{"$ref": "#/$defs/tree"}, {"$ref": "#/$defs/tree"}]},
          "mixed": {"anyOf": [{"$ref": "#/$defs/mixed"}, {"$ref": "#/$defs/mixed"}, {"type": "integer"}]}}})");
  parameters["properties"]["p"] = Json::parse(schema);
  const Json tools = Json::array({{{"function", {{"name", "f"}, {"parameters", parameters}}}}});
  return answer_functions(tools).at(0).kind_of("p");
}

TEST(AnswerFunction, ATextIsWhatMayBeAText) {
  for (const auto* schema : {R"({"type": "string"})", R"({})", R"({"description": "d"})", R"({"enum": ["1", "2"]})",
                             R"({"const": "1"})", R"({"type": ["integer", "string"]})", R"({"$ref": "#/$defs/text"})",
                             R"({"oneOf": [{"type": "integer"}, {"enum": ["a"]}]})", R"(true)",
                             R"({"allOf": [{"$ref": "#/$defs/text"}]})"}) {
    EXPECT_EQ(kind_of(schema), ParameterKind::kText) << schema;
  }
}

TEST(AnswerFunction, NullIsNoTextWhereItIsAllowed) {
  for (const auto* schema :
       {R"({"anyOf": [{"type": "string"}, {"type": "null"}]})", R"({"type": ["string", "null"]})",
        R"({"enum": ["a", null]})", R"({"anyOf": [{"$ref": "#/$defs/text"}, {"type": "null"}]})"}) {
    EXPECT_EQ(kind_of(schema), ParameterKind::kTextOrNull) << schema;
  }
}

TEST(AnswerFunction, AllElseIsAValue) {
  for (const auto* schema :
       {R"({"type": "integer"})", R"({"anyOf": [{"type": "integer"}, {"type": "null"}]})", R"({"$ref": "#/$defs/n"})",
        R"({"$ref": "#/nowhere"})", R"({"$ref": "other.json"})", R"({"enum": [1, 2]})", R"({"properties": {}})"}) {
    EXPECT_EQ(kind_of(schema), ParameterKind::kValue) << schema;
  }
}

TEST(AnswerFunction, ReferencesInCirclesEnd) {
  for (const auto* schema :
       {R"({"$ref": "#/$defs/loop"})", R"({"$ref": "#/$defs/tree"})", R"({"$ref": "#/$defs/mixed"})"}) {
    EXPECT_EQ(kind_of(schema), ParameterKind::kText) << schema;
  }
}

/// Each reference is looked up, and what it names is read: a request may have very many of both.
TEST(AnswerFunction, LooksAtNoMoreThanSoManyMembers) {
  Json parameters = {{"$defs", Json::object()}, {"properties", Json::object()}};
  for (int i = 0; i < 2000; ++i) {
    parameters["$defs"].push_back({"d" + std::to_string(i), {{"type", "integer"}}});
    parameters["properties"].push_back({"p" + std::to_string(i), {{"$ref", "#/$defs/d" + std::to_string(i)}}});
  }
  const auto functions = answer_functions(Json::array({{{"function", {{"name", "f"}, {"parameters", parameters}}}}}));
  EXPECT_EQ(functions.at(0).kind_of("p0"), ParameterKind::kValue);
  EXPECT_EQ(functions.at(0).kind_of("p400"), ParameterKind::kValue);
  EXPECT_EQ(functions.at(0).kind_of("p1999"), ParameterKind::kText) << "the two thousandth look at two thousand";
}

/// The description of a request's tools may have megabytes, and a plan lives as long as its answer.
TEST(AnswerFunction, KeepsNoMoreThanNamesAndKinds) {
  Json tools = Json::array({{{"function", {{"name", "f"}, {"description", std::string(1 << 20, 'd')}}}}});
  Json& properties = tools[0]["function"]["parameters"]["properties"] = Json::object();
  properties["s"] = {{"type", "string"}, {"description", std::string(1 << 20, 'd')}};
  properties["n"] = {{"type", "integer"}, {"description", std::string(1 << 20, 'd')}};
  const auto functions = answer_functions(tools);
  ASSERT_EQ(functions.size(), 1u);
  ASSERT_EQ(functions[0].parameters.size(), 1u) << "texts need no entry";
  EXPECT_EQ(functions[0].kind_of("n"), ParameterKind::kValue);
  EXPECT_TRUE(answer_functions(tools, /*has_kinds=*/false)[0].parameters.empty());
}

}  // namespace
}  // namespace commissure
