#include "grammar/grammar.h"

#include <gtest/gtest.h>

#include <random>
#include <regex>

#include "support/fake_tokenizer.h"
#include "support/schema_checker.h"
#include "text/utf8.h"

namespace commissure {
namespace {

using Form = GrammarSource::Form;

constexpr int kRows = 320;  // of the model; the tokenizer has 258

/// A clock that stands still: what is too slow is not these tests' business.
double no_seconds() { return 0.0; }

std::shared_ptr<GrammarCompiler> make_compiler(std::size_t followed_bytes = kMaxFollowedBytes) {
  return GrammarCompiler::create(std::make_shared<FakeTokenizer>(), kRows, {TokenId(FakeTokenizer::kEos)},
                                 {.seconds = no_seconds, .followed_bytes = followed_bytes});
}

GrammarCompiler& compiler() {
  static const std::shared_ptr<GrammarCompiler> shared = make_compiler();
  return *shared;
}

/// A text that the grammar allows, drawn token by token; what closes something is drawn more often, so that it ends.
std::string walk(const Grammar& grammar, std::uint32_t seed) {
  std::mt19937 random(seed);
  const std::unique_ptr<GrammarMatcher> matcher = grammar.match();
  std::string text;
  for (int i = 0; i < 6000; ++i) {
    const auto mask = matcher->mask();
    EXPECT_TRUE(mask.has_value()) << text;
    if (!mask) return text;
    std::vector<TokenId> allowed, closing;
    mask->each([&](TokenId token) {
      EXPECT_LE(token.value, FakeTokenizer::kEos) << "neither control tokens nor rows without a token";
      allowed.push_back(token);
      const bool closes = token.value == '"' || token.value == '}' || token.value == ']' || token.value >= 256;
      if (closes) closing.push_back(token);
    });
    const bool may_close = !closing.empty() && random() % 3 == 0;
    const std::vector<TokenId>& from = may_close ? closing : allowed;
    const TokenId token = from[random() % from.size()];
    if (token.value == FakeTokenizer::kEos) {
      EXPECT_TRUE(matcher->may_end());
      return text;
    }
    EXPECT_TRUE(matcher->accept(token).has_value()) << text << " + " << token.value;
    text.push_back(static_cast<char>(token.value));
  }
  ADD_FAILURE() << "no end: " << text;
  return text;
}

bool allows(const Grammar& grammar, std::string_view text) {
  const std::unique_ptr<GrammarMatcher> matcher = grammar.match();
  for (const char c : text) {
    const TokenId token(static_cast<unsigned char>(c));
    const auto mask = matcher->mask();
    const bool is_in_mask = mask && mask->has(token.value);
    EXPECT_EQ(is_in_mask, matcher->accept(token).has_value()) << "mask and matcher differ in " << text;
    if (!is_in_mask) return false;
  }
  return matcher->may_end();
}

std::shared_ptr<const Grammar> compiled(const GrammarSource& source) {
  auto made = compiler().compile(source);
  EXPECT_TRUE(made.has_value()) << (made ? "" : made.error().message());
  return made ? *made : nullptr;
}

std::string problem(Form form, std::string text) {
  const auto made = compiler().compile(GrammarSource::of(form, std::move(text)));
  return made ? "none" : made.error().message();
}

/// Every keyword that docs/api.md says is enforced.
const char* const kSchemas[] = {
    R"({"type":"object"})",
    R"({"type":"array"})",
    R"({"type":"string"})",
    R"({"type":"number"})",
    R"({"type":"integer"})",
    R"({"type":"boolean"})",
    R"({"type":["string","null"],"maxLength":4})",
    R"({})",
    R"({"enum":["a","b\"\\\n\u0001é",3,null,{"x":[1.5]}]})",
    R"({"const":{"a":"</é\u0000"}})",
    R"({"type":"string","minLength":3,"maxLength":6})",
    R"({"type":"string","minLength":2})",
    R"({"type":"string","pattern":"^[a-c]{2,4}(x|y)+$"})",
    R"({"type":"string","pattern":"^[^a]\\S.$"})",
    R"({"type":"integer","minimum":-17,"maximum":1042})",
    R"({"type":"integer","exclusiveMinimum":5,"exclusiveMaximum":9})",
    R"({"type":"integer","minimum":3})",
    R"({"type":"integer","multipleOf":7})",
    R"({"type":"integer","minimum":0,"maximum":100,"multipleOf":25})",
    R"({"type":"number","minimum":-1.5,"maximum":2.25})",
    R"({"type":"number","exclusiveMinimum":0})",
    R"({"type":"array","items":{"type":"integer"},"minItems":2,"maxItems":4})",
    R"({"type":"array","prefixItems":[{"type":"string"},{"type":"null"}],"items":false,"minItems":2})",
    R"({"type":"array","prefixItems":[{"type":"string"}],"items":{"type":"boolean"},"minItems":3})",
    R"({"type":"array","items":false})",
    R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"string"}},"required":["b"]})",
    R"({"type":"object","properties":{"a":{},"b":{},"c":{}},"minProperties":1,"maxProperties":2})",
    R"({"type":"object","properties":{"a":{"type":"null"}},"additionalProperties":{"type":"integer"}})",
    R"({"type":"object","additionalProperties":{"type":"integer"},"minProperties":1,"maxProperties":3})",
    R"({"type":"object","patternProperties":{"^x_[a-z]+$":{"type":"boolean"}}})",
    R"({"type":"object","propertyNames":{"pattern":"^[a-z]{1,3}$"},"additionalProperties":{"type":"null"}})",
    R"({"type":"object","required":["must"],"properties":{"may":{"type":"null"}}})",
    R"({"anyOf":[{"type":"null"},{"type":"object","properties":{"a":{"const":1}},"required":["a"]}]})",
    R"({"oneOf":[{"type":"string"},{"type":"object","properties":{"a":{"type":"null"}}},{"type":"integer"}]})",
    R"({"oneOf":[{"$ref":"#/$defs/cat"},{"$ref":"#/$defs/dog"}],"$defs":{
        "cat":{"type":"object","properties":{"kind":{"const":"cat"},"n":{"type":"integer"}},"required":["kind"],"additionalProperties":false},
        "dog":{"type":"object","properties":{"kind":{"const":"dog"},"x":{"type":"string"}},"required":["kind"],"additionalProperties":false}}})",
    R"({"allOf":[{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]},{"properties":{"b":{"type":"null"}},"required":["b"]}]})",
    R"({"$ref":"#/$defs/tree","$defs":{"tree":{"type":"object","properties":{"v":{"type":"integer"},"kids":{"type":"array","items":{"$ref":"#/$defs/tree"},"maxItems":2}},"required":["v"]}}})",
    R"({"type":"object","properties":{"next":{"anyOf":[{"$ref":"#"},{"type":"null"}]}},"required":["next"]})",
};

TEST(Grammar, EveryTextOfASchemaIsAcceptedByIt) {
  for (const char* text : kSchemas) {
    const auto grammar = compiled(GrammarSource::of(Form::kJsonSchema, text));
    ASSERT_NE(grammar, nullptr) << text;
    const SchemaChecker checker(*parse_json(text));
    for (std::uint32_t seed = 0; seed < 40; ++seed) {
      const std::string answer = walk(*grammar, seed);
      const auto value = parse_json(answer);
      const bool has_twice = !value && value.error().message().find("twice") != std::string::npos;
      const bool is_huge = !value && value.error().message().find("overflow") != std::string::npos;
      if (has_twice || is_huge) continue;  // JSON leaves open that names repeat, and how large numbers may be
      ASSERT_TRUE(value.has_value()) << text << "\n" << answer << "\n" << value.error().message();
      ASSERT_TRUE(checker.accepts(*value)) << text << "\n" << answer;
    }
  }
}

TEST(Grammar, TheCheckerCanSayNo) {
  const auto accepts = [](const char* schema, const char* value) {
    return SchemaChecker(*parse_json(schema)).accepts(*parse_json(value));
  };
  EXPECT_FALSE(accepts(kSchemas[9], "3"));
  EXPECT_FALSE(accepts(kSchemas[10], "\"ab\""));
  EXPECT_FALSE(accepts(kSchemas[14], "1043"));
  EXPECT_FALSE(accepts(kSchemas[21], "[1]"));
  EXPECT_FALSE(accepts(kSchemas[25], "{\"a\":1}"));
}

TEST(Grammar, FormatsHaveTheirShape) {
  for (const auto& [format, shape] : {std::pair("uuid", "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"),
                                      std::pair("date", "\\d{4}-\\d\\d-\\d\\d"), std::pair("ipv4", "\\d+(\\.\\d+){3}"),
                                      std::pair("date-time", "\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d.*"),
                                      std::pair("email", "[^@]*@.+"), std::pair("hostname", "[a-z0-9.-]+")}) {
    const auto grammar =
        compiled(GrammarSource::of(Form::kJsonSchema, dump_json({{"type", "string"}, {"format", format}})));
    ASSERT_NE(grammar, nullptr) << format;
    for (std::uint32_t seed = 0; seed < 10; ++seed) {
      const auto value = parse_json(walk(*grammar, seed));
      ASSERT_TRUE(value && value->is_string()) << format;
      EXPECT_TRUE(std::regex_match(value->get<std::string>(), std::regex(shape))) << format << ": " << *value;
    }
  }
}

TEST(Grammar, JsonHasNoSpacesWithoutEnd) {
  const auto grammar = compiled(GrammarSource::of(Form::kJsonSchema, R"({"type":"object"})"));
  EXPECT_TRUE(allows(*grammar, "{\n  \"a\": 1 }"));
  EXPECT_TRUE(allows(*grammar, "{" + std::string(20, ' ') + "\"a\":1}"));
  EXPECT_FALSE(allows(*grammar, "{" + std::string(21, ' ') + "\"a\":1}"));
}

TEST(Grammar, AnExpressionMatchesTheWholeText) {
  const auto grammar = compiled(GrammarSource::of(Form::kRegex, R"(^(\d{3}-){2}[a-f]+$)"));
  EXPECT_TRUE(allows(*grammar, "123-456-abc"));
  EXPECT_FALSE(allows(*grammar, "123-456-"));
  EXPECT_FALSE(allows(*grammar, "123-456-abcg"));
  for (std::uint32_t seed = 0; seed < 20; ++seed) {
    const std::string text = walk(*grammar, seed);
    EXPECT_TRUE(std::regex_match(text, std::regex(R"((\d{3}-){2}[a-f]+)"))) << text;
  }
}

TEST(Grammar, ChoicesAreTheseTextsAndNoOthers) {
  GrammarSource source;
  for (const char* text : {"yes", "yesterday", "no\"\\\n", "größer"}) source.choices.push_back({{Form::kText, text}});
  const auto grammar = compiled(source);
  for (const auto& choice : source.choices) EXPECT_TRUE(allows(*grammar, choice[0].text)) << choice[0].text;
  for (const char* other : {"", "y", "ye", "yesno", "yester", "nö"}) EXPECT_FALSE(allows(*grammar, other)) << other;
}

TEST(Grammar, PartsFollowEachOther) {
  GrammarSource source;
  source.choices.push_back(
      {{Form::kText, "call a "}, {Form::kJsonSchema, R"({"type":"integer"})"}, {Form::kText, ";"}});
  source.choices.push_back({{Form::kText, "call b "}, {Form::kRegex, "x+"}, {Form::kText, ";"}});
  const auto grammar = compiled(source);
  EXPECT_TRUE(allows(*grammar, "call a 12;") && allows(*grammar, "call b xx;"));
  EXPECT_FALSE(allows(*grammar, "call a x;") || allows(*grammar, "call b 1;") || allows(*grammar, "call a 12"));
}

TEST(Grammar, LlamaCppsNotationIsRead) {
  const auto grammar =
      compiled(GrammarSource::of(Form::kEbnf,
                                 "# sums\nroot ::= term (\"+\" term)* \"\\n\"\nterm ::= [0-9]+ | \"(\" "
                                 "root2 \")\"\nroot2 ::= term (\"+\" term){0,2}\n"));
  EXPECT_TRUE(allows(*grammar, "1+(2+3)+44\n"));
  EXPECT_FALSE(allows(*grammar, "1+(2+3+4+5)\n") || allows(*grammar, "1+\n"));
}

TEST(Grammar, WhatIsWrongIsSaidWithItsPlace) {
  EXPECT_NE(problem(Form::kEbnf, "root ::= \"a\"\nother ::= (\"b\"\n").find("line"), std::string::npos);
  EXPECT_NE(problem(Form::kEbnf, "root ::= missing").find("missing"), std::string::npos);
  EXPECT_NE(problem(Form::kEbnf, "start ::= \"a\"").find("root"), std::string::npos);
  EXPECT_NE(problem(Form::kEbnf, "root[temperature=1] ::= \"a\"").find("options"), std::string::npos);
  EXPECT_NE(problem(Form::kEbnf, "\nroot ::= Token(3)").find("line 2"), std::string::npos);
  EXPECT_NE(problem(Form::kRegex, "(a").find("parenthesis"), std::string::npos);
  EXPECT_NE(problem(Form::kRegex, "a(?=b)").find("ookahead"), std::string::npos);
  EXPECT_NE(problem(Form::kRegex, "\\bword").find("boundary"), std::string::npos);
  EXPECT_NE(problem(Form::kRegex, "(a)\\1").find("ackreference"), std::string::npos);
  EXPECT_NE(problem(Form::kRegex, "a^b").find("'^'"), std::string::npos) << "what it would ignore is refused";
  EXPECT_NE(problem(Form::kJsonSchema, "{").find("JSON"), std::string::npos);
  EXPECT_NE(problem(Form::kJsonSchema, R"({"type":"number","multipleOf":0.1})").find("multipleOf"), std::string::npos);
  EXPECT_NE(problem(Form::kJsonSchema, R"({"type":"integer","minimum":5,"multipleOf":2})").find("multipleOf"),
            std::string::npos);
  EXPECT_NE(problem(Form::kJsonSchema, R"({"oneOf":[{"type":"integer"},{"type":"number","minimum":3}]})").find("oneOf"),
            std::string::npos);
  EXPECT_NE(problem(Form::kJsonSchema, R"({"type":"integer","minimum":5,"maximum":4})").find("minimum"),
            std::string::npos);
}

/// The rest of a text is a JSON string.
bool is_text(const std::string& answer) {
  const auto value = parse_json(answer);
  return value && value->is_string();
}

TEST(Grammar, PatternsStayInTheirText) {
  for (const char* pattern :
       {"^Größe: .+$", "^.{1,40}$", "^[^a]*$", "^[ -ÿ]+$", "\\S\\W\\D", "^[\\s\\S]{3}$", "ö|\\ö|ü?x", "(?i)äb.$"}) {
    const auto grammar =
        compiled(GrammarSource::of(Form::kJsonSchema, dump_json({{"type", "string"}, {"pattern", pattern}})));
    ASSERT_NE(grammar, nullptr) << pattern;
    for (std::uint32_t seed = 0; seed < 40; ++seed) {
      const std::string answer = walk(*grammar, seed);
      EXPECT_TRUE(is_text(answer)) << pattern << "\n" << answer;
    }
  }
  const auto grammar = compiled(GrammarSource::of(Form::kJsonSchema, R"({"type":"string","pattern":"^Größe: .+$"})"));
  EXPECT_TRUE(allows(*grammar, "\"Größe: 3 °\""));
  EXPECT_FALSE(allows(*grammar, "\"Größe: \"") || allows(*grammar, "\"Grosse: 3\"") ||
               allows(*grammar, "\"Größe: \n\""));
  const auto names = compiled(GrammarSource::of(
      Form::kJsonSchema, R"({"type":"object","patternProperties":{"^ä.$":{"type":"null"}},"minProperties":1})"));
  EXPECT_TRUE(allows(*names, "{\"äb\":null}"));
  EXPECT_FALSE(allows(*names, "{\"ä\"\":null}") || allows(*names, "{\"äbc\":null}"));
}

TEST(Grammar, EveryAnswerIsUtf8) {
  for (const auto& [form, text] : {std::pair(Form::kRegex, "[^a-z]{1,30}"), std::pair(Form::kRegex, "(.|\\W){4,9}"),
                                   std::pair(Form::kEbnf, "root ::= [^a]* \"a\""),
                                   std::pair(Form::kJsonSchema, R"({"type":"string","pattern":"^[^a]{3,9}$"})"),
                                   std::pair(Form::kJsonSchema, R"({"type":"string","maxLength":9})")}) {
    const auto grammar = compiled(GrammarSource::of(form, text));
    ASSERT_NE(grammar, nullptr) << text;
    for (std::uint32_t seed = 0; seed < 60; ++seed) {
      const std::string answer = walk(*grammar, seed);
      EXPECT_EQ(valid_utf8_prefix(answer), answer.size()) << text << "\n" << answer;
    }
    EXPECT_FALSE(allows(*grammar, "\"\xed\xa0\x80")) << "a surrogate";
  }
}

TEST(Grammar, OtherLettersThanAsciiCountOnceInAPattern) {
  EXPECT_EQ(problem(Form::kJsonSchema, dump_json({{"type", "string"}, {"pattern", "^(中文|文\u5000){1,99}$"}})),
            "none");
}

TEST(Grammar, WaysToReadAnAnswerAreBounded) {
  const auto compiler = make_compiler(/*followed_bytes=*/1 << 20);
  const auto n_followed = [&](const char* text, int most) {
    const auto grammar = compiler->compile(GrammarSource::of(Form::kEbnf, text));
    EXPECT_TRUE(grammar.has_value()) << text;
    const auto matcher = (*grammar)->match();
    for (int n = 0; n < most; ++n) {
      const auto mask = matcher->mask();
      if (!mask) {
        EXPECT_NE(mask.error().message().find("too much memory"), std::string::npos) << mask.error().message();
        return n;
      }
      EXPECT_TRUE(matcher->accept(TokenId('a')).has_value());
    }
    return most;
  };
  EXPECT_EQ(n_followed("root ::= \"a\"*", 1000), 1000);
  EXPECT_LT(n_followed("root ::= root root | \"a\"", 1000), 1000);
}

TEST(Grammar, PatternsThatNoAutomatonHoldsAreRefused) {
  const auto refused = [](const std::string& pattern) {
    return problem(Form::kJsonSchema, dump_json({{"type", "string"}, {"pattern", pattern}}));
  };
  EXPECT_NE(refused("^.{1,60000}$").find("unfolds"), std::string::npos);
  EXPECT_NE(refused("^\"quoted\"$").find("without quotes"), std::string::npos) << refused("^\"quoted\"$");
  EXPECT_NE(refused("^\\\\$").find("without quotes"), std::string::npos);
  EXPECT_NE(refused("^a\tb$").find("without quotes"), std::string::npos);
  EXPECT_NE(refused("^(a$").find("(a"), std::string::npos) << refused("^(a$");
  EXPECT_NE(problem(Form::kJsonSchema, R"({"type":"object","patternProperties":{"^\"$":{}}})").find("without quotes"),
            std::string::npos);
}

TEST(Grammar, AnErrorIsOfItsOwnSource) {
  EXPECT_NE(problem(Form::kEbnf, "root ::= missing").find("missing"), std::string::npos);
  EXPECT_EQ(problem(Form::kJsonSchema, "{").find("missing"), std::string::npos);
  EXPECT_EQ(problem(Form::kRegex, "a{3,2}").find("missing"), std::string::npos);
}

TEST(Grammar, CompiledOnesAreKept) {
  const auto fresh = make_compiler();
  const GrammarSource source = GrammarSource::of(Form::kJsonSchema, R"({"type":"integer"})");
  const auto first = fresh->compile(source);
  EXPECT_EQ(*first, *fresh->compile(source));
  EXPECT_NE(*first, *fresh->compile(GrammarSource::of(Form::kJsonSchema, R"({"type":"number"})")));
  EXPECT_NE(*first, *fresh->compile(GrammarSource::of(Form::kRegex, R"({"type":"integer"})")));
  EXPECT_GT((*first)->n_bytes(), 0u);
}

TEST(Grammar, MasksThatAnswersMakeAreCounted) {
  const auto fresh = make_compiler();
  Json wide = {{"type", "object"}};
  for (int i = 0; i < 50; ++i) wide["properties"]["p" + std::to_string(i)] = {{"type", "integer"}};
  const auto grammar = fresh->compile(GrammarSource::of(Form::kJsonSchema, dump_json(wide)));
  ASSERT_TRUE(grammar.has_value());
  EXPECT_GT((*grammar)->n_bytes(), 1000u);
  EXPECT_EQ(GrammarSource::of(Form::kRegex, "abc").n_bytes(), 3u);
}

TEST(Grammar, WhatNobodyWaitsForIsLeft) {
  int n_asked = 0;
  const auto source = GrammarSource::of(Form::kJsonSchema, R"({"type":"object"})");
  const auto made = make_compiler()->compile(source, [&] { return ++n_asked == 3; });
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(made.error().code(), Code::kCancelled);
  EXPECT_EQ(n_asked, 3) << "also while masks are made";
}

TEST(Grammar, LimitsHoldForAllChoicesTogether) {
  GrammarSource source;
  const std::string schema = dump_json({{"type", "string"}, {"pattern", "a{900}"}});
  for (int i = 0; i < 5; ++i) source.choices.push_back({{Form::kText, "x"}, {Form::kJsonSchema, schema}});
  EXPECT_EQ(make_compiler()->compile(source).error().code(), Code::kResourceExhausted);
  source.choices.clear();
  const std::string text = "root ::= \"a\" #" + std::string(100'000, ' ');
  for (int i = 0; i < 3; ++i) source.choices.push_back({{Form::kEbnf, text}});
  EXPECT_EQ(make_compiler()->compile(source).error().code(), Code::kResourceExhausted);
}

/// As SentencePiece has them: a token "▁a" is " a", and "a" where it is the first.
class PieceTokenizer final : public FakeTokenizer {
 public:
  static constexpr int kYes = kTokens, kNo = kTokens + 1;
  int n_tokens() const override { return kTokens + 2; }
  std::string token_bytes(TokenId token, bool show_control) const override {
    if (token.value == kYes) return " yes";
    return token.value == kNo ? " no" : FakeTokenizer::token_bytes(token, show_control);
  }
  bool is_control(TokenId token) const override { return token.value < kTokens && FakeTokenizer::is_control(token); }
  bool strips_leading_space() const override { return true; }
};

TEST(Grammar, AFirstTokensSpaceIsNotOfTheAnswer) {
  const auto pieces =
      GrammarCompiler::create(std::make_shared<PieceTokenizer>(), kRows, {TokenId(FakeTokenizer::kEos)});
  GrammarSource source;
  for (const char* text : {"yes", "yes no", "maybe"}) source.choices.push_back({{Form::kText, text}});
  const auto matcher = (*pieces->compile(source))->match();
  EXPECT_TRUE(matcher->mask()->has(PieceTokenizer::kYes) && matcher->mask()->has('y'));
  EXPECT_FALSE(matcher->mask()->has(PieceTokenizer::kNo));
  ASSERT_TRUE(matcher->accept(TokenId(PieceTokenizer::kYes)).has_value());
  EXPECT_TRUE(matcher->may_end());
  EXPECT_TRUE(matcher->mask()->has(PieceTokenizer::kNo)) << "the space of a later one is";
  EXPECT_FALSE(matcher->mask()->has(PieceTokenizer::kYes));
}

TEST(Grammar, WithoutEndTokensAnAnswerEndsWhereNothingFollows) {
  const auto endless = GrammarCompiler::create(std::make_shared<FakeTokenizer>(), kRows, {});
  const auto matcher = (*endless->compile(GrammarSource::of(Form::kText, "ab")))->match();
  EXPECT_FALSE(matcher->may_end());
  ASSERT_TRUE(matcher->accept(TokenId('a')).has_value() && matcher->accept(TokenId('b')).has_value());
  EXPECT_TRUE(matcher->may_end());
  EXPECT_EQ(matcher->mask().error().code(), Code::kInvalidArgument);
}

TEST(Grammar, GoesOnBehindAText) {
  const auto grammar = compiled(GrammarSource::of(Form::kJsonSchema, R"({"type":"object"})"));
  const auto matcher = grammar->match();
  ASSERT_TRUE(matcher->accept_text("{\"a\"").has_value());
  EXPECT_TRUE(matcher->mask()->has(':'));
  EXPECT_FALSE(matcher->accept_text("}").has_value());
  EXPECT_FALSE(matcher->accept(TokenId(FakeTokenizer::kControl)).has_value());
  EXPECT_FALSE(matcher->accept(TokenId(kRows - 1)).has_value());
}

}  // namespace
}  // namespace commissure
