#include "api/grammar_fields.h"

#include <gtest/gtest.h>

#include "api/api_service.h"
#include "api/chat_request.h"
#include "api/completion_request.h"
#include "support/fake_engine.h"

namespace commissure {
namespace {

using testing::FakeEngine;

/// Allows anything, and tells what it was made of.
class ToldGrammar final : public Grammar {
 public:
  explicit ToldGrammar(GrammarSource from) : source(std::move(from)) {}
  std::unique_ptr<GrammarMatcher> match() const override { return nullptr; }
  std::size_t n_bytes() const override { return 0; }
  const GrammarSource source;
};

class ToldCompiler final : public GrammarCompiler {
 public:
  using GrammarCompiler::compile;
  Result<std::shared_ptr<const Grammar>> compile(const GrammarSource& source, const Unwanted& is_unwanted) override {
    if (is_unwanted && is_unwanted()) return Error(Code::kCancelled, "unwanted");
    if (source.choices[0][0].text == "bad") return Error(Code::kInvalidArgument, "line 3: no good");
    for (const auto& choice : source.choices) {
      for (const auto& part : choice) {
        if (part.text.find("cannot be compiled") != std::string::npos) return Error(Code::kInvalidArgument, "cannot");
      }
    }
    return std::shared_ptr<const Grammar>(std::make_shared<ToldGrammar>(source));
  }
};

/// Bytes, and one token for a mark.
class MarkTokenizer final : public testing::ByteTokenizer {
 public:
  static constexpr int kMark = 258;
  explicit MarkTokenizer(std::string mark) : mark_(std::move(mark)) {}
  std::vector<TokenId> encode(std::string_view text, const EncodeOptions& options) const override {
    if (!text.starts_with(mark_)) return ByteTokenizer::encode(text, options);
    std::vector<TokenId> tokens = ByteTokenizer::encode(text.substr(mark_.size()), options);
    tokens.insert(tokens.begin(), TokenId(kMark));
    return tokens;
  }
  int n_tokens() const override { return 259; }
  std::string token_bytes(TokenId token, bool show_control) const override {
    return token.value == kMark ? mark_ : ByteTokenizer::token_bytes(token, show_control);
  }

 private:
  const std::string mark_;
};

class GrammarFieldsTest : public ::testing::Test {
 protected:
  GrammarFieldsTest() {
    use_template(
        "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{% if tools %}<tool_call>{% endif %}>");
    engine_.mutable_model().grammars = std::make_shared<ToldCompiler>();
  }

  void use_template(const std::string& source) {
    engine_.mutable_model().chat_template = ChatTemplate::compile(source).value();
    engine_.mutable_model().answer_syntax = answer_syntax(source);
  }
  ApiResult<ChatRequest> chat(const std::string& more) {
    const auto body = parse_json(R"({"messages":[{"role":"user","content":"hi"}],)" + more + "}");
    EXPECT_TRUE(body.has_value()) << more;
    return parse_chat_request(*body, engine_.model(), options_);
  }
  AnswerGrammar held(const std::string& more) {
    const auto request = chat(more);
    EXPECT_TRUE(request) << more << (request ? "" : ": " + request.error().message);
    return request ? request->fields.request.grammar : AnswerGrammar();
  }
  static std::string told(const AnswerGrammar& grammar) {
    if (grammar.grammar == nullptr) return "free";
    static constexpr std::string_view kForms[] = {"text", "schema", "regex", "ebnf"};
    std::string all;
    for (const auto& choice : dynamic_cast<const ToldGrammar&>(*grammar.grammar).source.choices) {
      all += all.empty() ? "" : " | ";
      for (const auto& part : choice) all += fmt::format("{}({})", kForms[static_cast<int>(part.form)], part.text);
    }
    return all;
  }
  std::string told_of(const std::string& more) { return told(held(more)); }
  void expect_refused(const std::string& more, std::string_view param, std::string_view words) {
    const auto request = chat(more);
    ASSERT_FALSE(request) << more;
    EXPECT_EQ(request.error().status, 400) << more;
    EXPECT_EQ(request.error().param, param) << more;
    EXPECT_NE(request.error().message.find(words), std::string::npos) << request.error().message;
  }

  FakeEngine engine_;
  ApiOptions options_;
};

TEST_F(GrammarFieldsTest, EveryServersNamesAreRead) {
  for (const auto& [more, source] : std::vector<std::pair<std::string, std::string>>{
           {R"("response_format":{"type":"text"})", "free"},
           {R"("response_format":{})", "free"},
           {R"("response_format":null)", "free"},
           {R"("response_format":{"type":"json_object"})", R"(schema({"type":"object"}))"},
           {R"("response_format":{"type":"json_object","schema":{"type":"null"}})", R"(schema({"type":"null"}))"},
           {R"("response_format":{"type":"json_schema","json_schema":{"name":"n","strict":true,"schema":{"a":1}}})",
            R"(schema({"a":1}))"},
           {R"("response_format":{"type":"json_schema","schema":{"a":1}})", R"(schema({"a":1}))"},
           {R"("structured_outputs":{"json":{"a":1}})", R"(schema({"a":1}))"},
           {R"("structured_outputs":{"json":"{}","regex":null})", "schema({})"},
           {R"("structured_outputs":{"regex":"a+"})", "regex(a+)"},
           {R"("structured_outputs":{"choice":["a","b"]})", "text(a) | text(b)"},
           {R"("structured_outputs":{"grammar":"root ::= x"})", "ebnf(root ::= x)"},
           {R"("structured_outputs":{"json_object":true})", R"(schema({"type":"object"}))"},
           {R"("structured_outputs":{"json_object":false})", "free"},
           {R"("structured_outputs":{})", "free"},
           {R"("guided_json":{"a":1})", R"(schema({"a":1}))"},
           {R"("guided_regex":"a+")", "regex(a+)"},
           {R"("guided_choice":["a"])", "text(a)"},
           {R"("guided_grammar":"g")", "ebnf(g)"},
           {R"("grammar":"g")", "ebnf(g)"},
           {R"("grammar":"")", "free"},
           {R"("json_schema":{"a":1})", R"(schema({"a":1}))"}}) {
    EXPECT_EQ(told_of(more), source) << more;
  }
}

TEST_F(GrammarFieldsTest, WhatIsWrongNamesTheField) {
  expect_refused(R"("response_format":{"type":"xml"})", "response_format", "json_schema");
  expect_refused(R"("response_format":{"type":"json_schema"})", "response_format", "'schema'");
  expect_refused(R"("response_format":{"type":"json_schema","json_schema":{"schema":3}})", "response_format",
                 "a number");
  expect_refused(R"("response_format":"json")", "response_format", "an object");
  expect_refused(R"("structured_outputs":{"regex":3})", "structured_outputs.regex", "a string");
  expect_refused(R"("structured_outputs":{"choice":["a",""]})", "structured_outputs.choice", "not empty");
  expect_refused(R"("structured_outputs":{"regex":"a","grammar":"b"})", "structured_outputs", "one kind");
  expect_refused(R"("structured_outputs":{"structural_tag":"x"})", "structured_outputs.structural_tag",
                 "not supported");
  expect_refused(R"("guided_regex":"a","grammar":"b")", "grammar", "'guided_regex'");
  expect_refused(R"("guided_grammar":"bad")", "guided_grammar", "line 3: no good");
}

TEST_F(GrammarFieldsTest, WithoutACompilerItIsRefused) {
  engine_.mutable_model().grammars = nullptr;
  expect_refused(R"("guided_regex":"a")", "guided_regex", "COMMISSURE_GRAMMAR");
  EXPECT_EQ(told_of(R"("temperature":0)"), "free");
}

TEST_F(GrammarFieldsTest, CompletionsAreHeldToo) {
  const auto body = parse_json(R"({"prompt":["a","b"],"guided_regex":"x+"})");
  const auto request = parse_completion_request(*body, engine_.model(), options_);
  ASSERT_TRUE(request);
  EXPECT_EQ(told(request->fields.request.grammar), "regex(x+)");
  const auto generate = parse_json(R"({"inputs":"a","parameters":{"grammar":"g"}})");
  const auto native = parse_generate_request(*generate, engine_.model(), options_);
  ASSERT_TRUE(native);
  EXPECT_EQ(told(native->fields.request.grammar), "ebnf(g)");
}

TEST_F(GrammarFieldsTest, ThoughtsComeFirst) {
  const std::string body = R"("guided_regex":"a")";
  EXPECT_EQ(held(body).thought_end, "");
  use_template("{{ messages[0].content }}</think><think>\n");
  EXPECT_TRUE(held(body).is_thinking);
  EXPECT_EQ(held(body).thought_end, "</think>");
  use_template("{{ messages[0].content }}<think>\n\n</think>\n\n");
  EXPECT_FALSE(held(body).is_thinking || held(body).thought_begin);
}

constexpr const char* kTools =
    R"("tools":[{"type":"function","function":{"name":"find","strict":true,"parameters":{"type":"object","properties":{"n":{"type":"integer"}}}}},
                {"type":"function","function":{"name":"now"}},
                {"type":"function","function":{"name":"odd","parameters":{"not":{}}}}])";

TEST_F(GrammarFieldsTest, CallsThatAreAMustAreHeldToTheirSchemas) {
  EXPECT_EQ(told_of(std::string(kTools) + R"(,"tool_choice":{"type":"function","function":{"name":"find"}})"),
            R"(text( )schema({"type":"object","properties":{"n":{"type":"integer"}}})text(}))");
  EXPECT_EQ(told_of(std::string(kTools) + R"(,"tool_choice":"required")"),
            R"(text(find", "arguments": )schema({"type":"object","properties":{"n":{"type":"integer"}}})text(}))"
            R"( | text(now", "arguments": )schema({"type":"object","properties":{}})text(}))"
            R"( | text(odd", "arguments": )schema({"type":"object"})text(}))")
      << "without strict, arguments that cannot be held to their schema are an object";
  EXPECT_EQ(told_of(kTools), "free") << "auto";
  EXPECT_EQ(told_of(std::string(kTools) + R"(,"tool_choice":"none")"), "free");
}

TEST_F(GrammarFieldsTest, ASchemaThatTheCompilerRefusesIsAnyObjectUnlessItIsStrict) {
  const std::string tool =
      R"("tools":[{"type":"function","function":{"name":"a","strict":STRICT,"parameters":)"
      R"({"type":"object","title":"cannot be compiled","properties":{}}}}],"tool_choice":"required")";
  const auto with = [&](const char* strict) {
    std::string body = tool;
    return body.replace(body.find("STRICT"), 6, strict);
  };
  EXPECT_EQ(told_of(with("false")), R"(text( )schema({"type":"object"})text(}))");
  expect_refused(with("true"), "tools", "cannot");
}

TEST_F(GrammarFieldsTest, WhatIsStrictIsRefusedWhereNothingHoldsIt) {
  engine_.mutable_model().grammars = nullptr;
  expect_refused(std::string(kTools) + R"(,"tool_choice":"required")", "tools", "COMMISSURE_GRAMMAR=OFF");
  EXPECT_EQ(told_of(R"("tools":[{"type":"function","function":{"name":"now"}}],"tool_choice":"required")"), "free");
}

TEST_F(GrammarFieldsTest, ArgumentsAreAnObject) {
  const auto arguments = [&](const std::string& parameters) {
    return told_of(R"("tools":[{"type":"function","function":{"name":"a","parameters":)" + parameters +
                   R"(}}],"tool_choice":{"type":"function","function":{"name":"a"}})");
  };
  EXPECT_EQ(arguments("{}"), R"(text( )schema({"type":"object"})text(}))");
  EXPECT_EQ(arguments(R"({"title":"x"})"), R"(text( )schema({"title":"x","type":"object"})text(}))");
  EXPECT_EQ(arguments(R"({"anyOf":[{"type":"object"}]})"), R"(text( )schema({"anyOf":[{"type":"object"}]})text(}))");
}

TEST_F(GrammarFieldsTest, ACallThatIsAMustHasNoOtherText) {
  for (const char* asked : {R"("response_format":{"type":"json_object"})", R"("guided_regex":"a")"}) {
    const std::string field = std::string(asked).substr(1, std::string(asked).find(':') - 2);
    expect_refused(std::string(kTools) + R"(,"tool_choice":"required",)" + asked, field, "leave one out");
    EXPECT_NE(told_of(std::string(kTools) + "," + asked), "free") << "auto";
  }
}

TEST_F(GrammarFieldsTest, OnlyAWholeMarkMayComeFirst) {
  const std::string body = std::string(kTools) + R"(,"guided_regex":"a")";
  EXPECT_TRUE(held(body).free_beginnings.empty()) << "the tokenizer has bytes alone";
  engine_.mutable_model().tokenizer = std::make_shared<MarkTokenizer>("<tool");
  EXPECT_TRUE(held(body).free_beginnings.empty()) << "a part of the mark begins other texts too";
  engine_.mutable_model().tokenizer = std::make_shared<MarkTokenizer>("<tool_call>");
  EXPECT_EQ(held(body).free_beginnings, std::vector<TokenId>{TokenId(MarkTokenizer::kMark)});
}

TEST_F(GrammarFieldsTest, AnswersInChannelsAreHeldFromTheirBeginning) {
  use_template("{% for m in messages %}{{ m.content }}{% endfor %}{{ tools }}<|start|>assistant<|channel|>");
  engine_.mutable_model().tokenizer = std::make_shared<MarkTokenizer>("<|channel|>");
  const AnswerGrammar grammar = held(std::string(kTools) + R"(,"guided_regex":"a")");
  EXPECT_EQ(told(grammar), "regex(a)");
  const std::string prompt = engine_.model().tokenizer->decode(chat(R"("guided_regex":"a")")->fields.request.prompt);
  EXPECT_TRUE(prompt.ends_with("<|channel|>final<|message|>")) << prompt;
  EXPECT_TRUE(grammar.free_beginnings.empty() && grammar.thought_end.empty() && !grammar.thought_begin)
      << "what follows the mark of a channel may be the answer";
  EXPECT_EQ(told_of(std::string(kTools) + R"(,"tool_choice":{"type":"function","function":{"name":"find"}})"),
            R"(text()schema({"type":"object","properties":{"n":{"type":"integer"}}})text())");
  EXPECT_EQ(told_of(std::string(kTools) + R"(,"tool_choice":"required")"), "free")
      << "a mark of the format stands behind the name";
}

TEST_F(GrammarFieldsTest, WhoLeftWaitsForNoGrammar) {
  const auto body = parse_json(R"({"messages":[{"role":"user","content":"hi"}],"guided_regex":"a"})");
  EXPECT_TRUE(parse_chat_request(*body, engine_.model(), options_, [] { return false; }));
  EXPECT_FALSE(parse_chat_request(*body, engine_.model(), options_, [] { return true; }));
  const auto completion = parse_json(R"({"prompt":"a","guided_regex":"a"})");
  EXPECT_TRUE(parse_completion_request(*completion, engine_.model(), options_, [] { return false; }));
  EXPECT_FALSE(parse_completion_request(*completion, engine_.model(), options_, [] { return true; }));
  EXPECT_FALSE(parse_generate_request(*completion, engine_.model(), options_, [] { return true; }));
}

TEST_F(GrammarFieldsTest, WhatMayBeCompiledIsLongWork) {
  const auto is_long = [](std::string body) {
    HttpRequest request;
    request.path = "/v1/chat/completions";
    request.body = std::move(body);
    return ApiService::is_long(request);
  };
  EXPECT_TRUE(is_long(R"({"response_format":{}})"));
  EXPECT_TRUE(is_long(R"({"tool_choice":"required"})") && is_long(R"({"tool_choice" : {"type":"function"}})"));
  EXPECT_TRUE(is_long(R"({"tool_choice":"auto","tool_choice":"required"})"));
  EXPECT_TRUE(is_long("{\"gr\\u0061mmar\":\"\"}") && is_long("{\"guided\\u005fregex\":\"\"}"));
  EXPECT_FALSE(is_long(R"({"messages":[],"tools":[]})") || is_long("{\"messages\":\"\\u00e4\\u2028\"}"));
  EXPECT_FALSE(is_long(R"({"messages":[{"role":"user","content":"my grammar, a \\"grammar\\""}]})"));
  EXPECT_TRUE(is_long(R"({"grammar" : ""})") && is_long(R"({"guided_json":{}})"));
  EXPECT_FALSE(is_long(R"({"tool_choice":"auto"})") || is_long(R"({"tool_choice": "none"})"));
}

TEST_F(GrammarFieldsTest, CallsInOtherSpellings) {
  const std::string body = std::string(kTools) + R"(,"tool_choice":{"type":"function","function":{"name":"now"}})";
  use_template("{{ tools }}<|python_tag|>");
  EXPECT_EQ(told_of(body), R"(text( )schema({"type":"object","properties":{}})text(}))");
  use_template("{{ tools }}[TOOL_CALLS]");
  EXPECT_EQ(told_of(body), R"(text( )schema({"type":"object","properties":{}})text(}]))");
  for (const char* source :
       {"{{ tools }}<|tool_call>", "{{ tools }}<tool_call><function=", "{{ tools }}[TOOL_CALLS][ARGS]"}) {
    use_template(source);
    EXPECT_EQ(told_of(body), "free") << source;
  }
}

TEST_F(GrammarFieldsTest, WhatTakesTimeIsNotQuick) {
  const auto quick = [](std::string body) {
    HttpRequest request;
    request.path = "/v1/completions";
    request.body = std::move(body);
    return ApiService::is_quick(request);
  };
  EXPECT_TRUE(quick(R"({"prompt":"a"})"));
  for (const char* name : {"response_format", "structured_outputs", "guided_json", "guided_regex", "guided_choice",
                           "guided_grammar", "grammar", "json_schema"}) {
    EXPECT_FALSE(quick(R"({"prompt":"a",")" + std::string(name) + R"(":{}})")) << name;
  }
}

}  // namespace
}  // namespace commissure
