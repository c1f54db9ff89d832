#include <gtest/gtest.h>

#include "api/chat_request.h"
#include "api/completion_request.h"
#include "api/sampling_fields.h"
#include "support/fake_engine.h"

namespace commissure {
namespace {

using testing::FakeEngine;

class RequestTest : public ::testing::Test {
 protected:
  static Json json(std::string_view text) {
    auto parsed = parse_json(text);
    EXPECT_TRUE(parsed) << text;
    return parsed ? *parsed : Json();
  }
  /// A chat body of one message and `more` members.
  static Json chat_body(std::string_view more = "") {
    return json(R"({"messages":[{"role":"user","content":"hi"}])" + std::string(more.empty() ? "" : ",") +
                std::string(more) + "}");
  }
  ApiResult<ChatRequest> chat(const Json& body) { return parse_chat_request(body, engine_.model(), options_); }
  ApiResult<CompletionRequest> completion(std::string_view body) {
    return parse_completion_request(json(body), engine_.model(), options_);
  }
  /// The 400's param and message, for bodies that must fail.
  void expect_refused(std::string_view member, std::string_view param) {
    const auto result = chat(chat_body(member));
    ASSERT_FALSE(result) << member;
    EXPECT_EQ(result.error().status, 400) << member;
    EXPECT_EQ(result.error().param, param) << member;
    EXPECT_NE(result.error().message.find(param.substr(param.rfind('.') + 1)), std::string::npos)
        << result.error().message;
  }
  static std::string text_of(const std::vector<TokenId>& tokens) { return testing::ByteTokenizer().decode(tokens); }

  FakeEngine engine_;
  ApiOptions options_;
};

TEST_F(RequestTest, RendersTheTemplateWithoutASecondBos) {
  const auto result = chat(chat_body());
  ASSERT_TRUE(result);
  EXPECT_EQ(text_of(result->fields.request.prompt), "<bos>[user]hi[assistant]");
}

TEST_F(RequestTest, StopsToRenderForAClientThatLeft) {
  engine_.mutable_model().chat_template =
      ChatTemplate::compile("{% for a in range(99999) %}{% for b in range(9) %}x{% endfor %}{% endfor %}").value();
  int n_asked = 0;
  const auto result = parse_chat_request(chat_body(), engine_.model(), options_, [&] { return ++n_asked == 2; });
  ASSERT_FALSE(result);
  EXPECT_EQ(n_asked, 2);
}

TEST_F(RequestTest, TreatsDeveloperAsSystemAndJoinsTextParts) {
  const auto result = chat(json(R"({"messages":[{"role":"developer","content":"d"},
      {"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},
      {"role":"assistant","content":null}],"add_generation_prompt":false})"));
  ASSERT_TRUE(result);
  EXPECT_EQ(text_of(result->fields.request.prompt), "<bos>[system]d[user]ab[assistant]");
}

TEST_F(RequestTest, RefusesRangesAndTypesNamingTheField) {
  for (const auto& [member, param] : std::vector<std::pair<std::string, std::string>>{
           {R"("temperature":2.1)", "temperature"},
           {R"("temperature":-1)", "temperature"},
           {R"("temperature":"hot")", "temperature"},
           {R"("top_p":-0.1)", "top_p"},
           {R"("top_p":1.5)", "top_p"},
           {R"("min_p":-0.1)", "min_p"},
           {R"("top_k":-2)", "top_k"},
           {R"("top_k":1.5)", "top_k"},
           {R"("max_tokens":0)", "max_tokens"},
           {R"("max_completion_tokens":-5)", "max_completion_tokens"},
           {R"("logprobs":1)", "logprobs"},
           {R"("top_logprobs":2)", "top_logprobs"},
           {R"("logprobs":true,"top_logprobs":21)", "top_logprobs"},
           {R"("stop":"")", "stop"},
           {R"("stop":[1])", "stop"},
           {R"("stop":["1","2","3","4","5","6","7","8","9","10","11","12","13","14","15","16","17"])", "stop"},
           {R"("stop_token_ids":[258])", "stop_token_ids"},
           {R"("seed":1.5)", "seed"},
           {R"("stream":"yes")", "stream"},
           {R"("stream_options":{"include_usage":1})", "stream_options.include_usage"},
           {R"("timeout":0)", "timeout"},
           {R"("priority":1.5)", "priority"},
           {R"("priority":3000000000)", "priority"},
           {R"("chat_template_kwargs":[])", "chat_template_kwargs"}}) {
    expect_refused(member, param);
  }
}

TEST_F(RequestTest, RefusesWhatItCannotHonour) {
  for (const auto& [member, param] : std::vector<std::pair<std::string, std::string>>{
           {R"("response_format":{"type":"xml"})", "response_format"},
           {R"("tools":[{"type":"function"}])", "tools"},
           {R"("tool_choice":"required")", "tool_choice"},
           {R"("tools":[{"type":"custom","custom":{"name":"f"}}])", "tools"},
           {R"("guided_regex":3)", "guided_regex"},
           {R"("modalities":["text","audio"])", "modalities"},
           {R"("echo":true)", "echo"}}) {
    expect_refused(member, param);
  }
}

TEST_F(RequestTest, AcceptsNeutralNullAndUnknownMembers) {
  EXPECT_TRUE(
      chat(chat_body(R"("n":1,"presence_penalty":0,"frequency_penalty":0.0,"repetition_penalty":1.0,"logit_bias":{},
      "response_format":{"type":"text"},"tools":[],"tool_choice":"auto","best_of":1,"suffix":null,"user":"u","metadata":{"a":"b"},
      "stop":null,"max_tokens":null,"seed":null,"top_logprobs":null,"stream_options":null,"future":[1,{}],"n_probs":3)")));
  EXPECT_TRUE(chat(chat_body(R"("tools":[{"type":"function"}],"tool_choice":"none")")));
}

TEST_F(RequestTest, RefusesBadMessages) {
  for (const std::string_view body :
       {R"({})", R"({"messages":[]})", R"({"messages":"hi"})", R"({"messages":[1]})",
        R"({"messages":[{"content":"x"}]})", R"({"messages":[{"role":"robot","content":"x"}]})",
        R"({"messages":[{"role":"user"}]})", R"({"messages":[{"role":"user","content":5}]})",
        R"({"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]})",
        R"({"messages":[{"role":"user","content":[{"type":"text"}]}]})"}) {
    const auto result = chat(json(body));
    ASSERT_FALSE(result) << body;
    EXPECT_EQ(result.error().status, 400) << body;
    EXPECT_EQ(result.error().param, "messages") << body;
  }
}

TEST_F(RequestTest, PrefersRequestThenModelThenConstants) {
  const auto plain = chat(chat_body());
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->fields.request.sampling.temperature, 1.0f);
  EXPECT_EQ(plain->fields.request.max_tokens, -1);
  GenerationDefaults advised;
  advised.temperature = 0.7f;
  advised.top_p = 0.95f;
  advised.top_k = 64;
  engine_.mutable_model().defaults = advised;
  const auto model = chat(chat_body());
  EXPECT_EQ(model->fields.request.sampling.temperature, 0.7f);
  EXPECT_EQ(model->fields.request.sampling.top_k, 64);
  const auto request = chat(chat_body(R"("temperature":0,"top_k":-1)"));
  EXPECT_EQ(request->fields.request.sampling.temperature, 0.0f);
  EXPECT_EQ(request->fields.request.sampling.top_k, 0);
  EXPECT_EQ(request->fields.request.sampling.top_p, 0.95f);
}

TEST_F(RequestTest, BreaksLoopsOnlyWhereTheRequestSaysNothingAboutDrawing) {
  engine_.mutable_model().defaults.dry = DryParams{.multiplier = 0.5f, .allowed_length = 7};
  const auto dry = [&](const char* more) { return chat(chat_body(more))->fields.request.sampling.dry; };
  EXPECT_EQ(dry(R"("seed":7,"max_tokens":5,"stop":["x"],"min_tokens":2,"n":2,"logprobs":true)").multiplier, 0.5f);
  EXPECT_EQ(dry(R"("temperature":null)").allowed_length, 7);
  EXPECT_FALSE(dry("").breakers.empty());
  for (const char* own : {R"("temperature":0)", R"("top_p":1)", R"("top_k":0)", R"("min_p":0)", R"("mirostat":0)",
                          R"("repetition_penalty":1)", R"("frequency_penalty":0)", R"("logit_bias":{"1":1})",
                          R"("typical_p":1)", R"("top_n_sigma":0)", R"("xtc_probability":0)", R"("dry_base":2)",
                          R"("bad_words":["x"])", R"("allowed_token_ids":[1])", R"("dry_multiplier":0)"})
    EXPECT_EQ(dry(own), DryParams{.base = dry(own).base}) << own;
  const DryParams asked = dry(R"("dry_multiplier":2)");
  EXPECT_EQ(asked.multiplier, 2.0f);
  EXPECT_EQ(asked.allowed_length, DryParams().allowed_length) << "not half of the model's";
  const auto generate = [&](const char* body) {
    return parse_generate_request(json(body), engine_.model(), options_)->fields.request.sampling;
  };
  EXPECT_EQ(generate(R"({"inputs":"x"})").dry.multiplier, 0.5f);
  EXPECT_EQ(generate(R"({"inputs":"x","parameters":{"do_sample":false}})").dry.multiplier, 0.0f);
}

TEST_F(RequestTest, TheModelsMirostatHoldsUnlessTheRequestSaysOtherwise) {
  engine_.mutable_model().defaults.mirostat = MirostatParams{.is_on = true, .tau = 4.0f};
  const auto mirostat = [&](const char* more) { return chat(chat_body(more))->fields.request.sampling.mirostat; };
  EXPECT_TRUE(mirostat("").is_on);
  EXPECT_EQ(mirostat("").tau, 4.0f);
  EXPECT_EQ(mirostat(R"("mirostat_tau":3)").tau, 3.0f);
  EXPECT_FALSE(mirostat(R"("mirostat":0)").is_on);
}

TEST_F(RequestTest, KeepsSeedsAndDrawsThemWhenAbsent) {
  EXPECT_EQ(chat(chat_body(R"("seed":42)"))->fields.request.sampling.seed, 42u);
  EXPECT_EQ(chat(chat_body(R"("seed":18446744073709551615)"))->fields.request.sampling.seed, UINT64_MAX);
  EXPECT_NE(chat(chat_body())->fields.request.sampling.seed, chat(chat_body())->fields.request.sampling.seed);
}

TEST_F(RequestTest, PrefersTheNewerLength) {
  EXPECT_EQ(chat(chat_body(R"("max_tokens":9,"max_completion_tokens":3)"))->fields.request.max_tokens, 3);
}

TEST_F(RequestTest, NamesBothNumbersOfAnOverflow) {
  const auto result = completion("{\"prompt\":\"" + std::string(5000, 'x') + "\",\"max_tokens\":7}");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, "context_length_exceeded");
  EXPECT_NE(result.error().message.find("maximum context length is 4096 tokens"), std::string::npos);
  EXPECT_NE(result.error().message.find("5001 in the prompt"), std::string::npos) << result.error().message;
  EXPECT_FALSE(completion("{\"prompt\":\"" + std::string(4096, 'x') + "\",\"max_tokens\":1}"));
  EXPECT_TRUE(completion("{\"prompt\":\"" + std::string(4095, 'x') + "\",\"max_tokens\":0}"));
}

TEST_F(RequestTest, CutsTheLengthToWhatTheContextLeaves) {
  const int n_prompt = static_cast<int>(chat(chat_body())->fields.request.prompt.size());
  EXPECT_EQ(chat(chat_body(R"("max_tokens":5000)"))->fields.request.max_tokens, 4096 - n_prompt);
  EXPECT_EQ(chat(chat_body(R"("max_tokens":2147483647)"))->fields.request.max_tokens, 4096 - n_prompt);
  EXPECT_EQ(chat(chat_body(R"("max_tokens":-1)"))->fields.request.max_tokens, -1);
  EXPECT_EQ(chat(chat_body(R"("max_completion_tokens":-1,"max_tokens":3)"))->fields.request.max_tokens, -1);
  EXPECT_EQ(completion(R"({"prompt":"x","max_tokens":-1})")->fields.request.max_tokens, -1);
  EXPECT_EQ(completion(R"({"prompt":"x","max_tokens":-2})").error().param, "max_tokens");
}

TEST_F(RequestTest, AProbabilityOfNothingKeepsTheLikeliest) {
  const auto result = chat(chat_body(R"("top_p":0,"typical_p":0.0)"));
  ASSERT_TRUE(result);
  EXPECT_GT(result->fields.request.sampling.top_p, 0.0f);
  EXPECT_LT(result->fields.request.sampling.top_p, 1e-30f);
  EXPECT_TRUE(validate(result->fields.request.sampling));
  engine_.mutable_model().defaults.top_p = 0.0f;
  EXPECT_TRUE(validate(chat(chat_body())->fields.request.sampling));
}

/// One token per byte, and a count of what was asked of it.
class CountingTokenizer final : public testing::ByteTokenizer {
 public:
  std::vector<TokenId> encode(std::string_view text, const EncodeOptions& options) const override {
    n_encoded += text.size();
    return ByteTokenizer::encode(text, options);
  }
  mutable std::size_t n_encoded = 0;
};

TEST_F(RequestTest, RefusesATextByItsLengthBeforeItIsTokenised) {
  const auto tokenizer = std::make_shared<CountingTokenizer>();
  engine_.mutable_model().tokenizer = tokenizer;
  const std::string longest(4096 * 16 + 1, 'x');
  for (const std::string& prompt : {"\"" + longest + "\"", "[\"a\",\"" + longest + "\"]"}) {
    const auto result = completion("{\"prompt\":" + prompt + "}");
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, "context_length_exceeded");
    EXPECT_NE(result.error().message.find("4096 tokens"), std::string::npos);
    EXPECT_NE(result.error().message.find("65537 bytes"), std::string::npos) << result.error().message;
  }
  EXPECT_EQ(chat(json(R"({"messages":[{"role":"user","content":")" + longest + "\"}]}")).error().code,
            "context_length_exceeded");
  EXPECT_EQ(tokenizer->n_encoded, 1u) << "the short one of the list";
  EXPECT_EQ(options_.vocabulary->n_walks(), 1);
}

TEST_F(RequestTest, TakesNoMoreIdsThanTheContextHas) {
  std::string ids = "1";
  for (int i = 1; i < 4097; ++i) ids += ",1";
  EXPECT_EQ(completion("{\"prompt\":[" + ids + "]}").error().code, "context_length_exceeded");
  EXPECT_EQ(chat(chat_body("\"stop_token_ids\":[" + ids + "]")).error().param, "stop_token_ids");
}

TEST_F(RequestTest, BoundsEveryTextAndList) {
  const auto text = [](std::size_t n) { return "\"" + std::string(n, 'x') + "\""; };
  EXPECT_TRUE(chat(chat_body("\"stop\":" + text(1024))));
  expect_refused("\"stop\":" + text(1025), "stop");
  expect_refused("\"stop\":[\"a\"," + text(77'000) + "]", "stop");
  expect_refused("\"bad_words\":" + text(1025), "bad_words");
  expect_refused("\"dry_multiplier\":1,\"dry_sequence_breakers\":" + text(257), "dry_sequence_breakers");
  std::string words = text(200), variables = "\"v\":0";
  for (int i = 0; i < 400; ++i) words += "," + text(200);
  expect_refused("\"bad_words\":[" + words + "]", "bad_words");
  for (int i = 1; i < 256; ++i) variables += ",\"v" + std::to_string(i) + "\":0";
  EXPECT_TRUE(chat(chat_body("\"chat_template_kwargs\":{" + variables + "}")));
  expect_refused("\"chat_template_kwargs\":{" + variables + ",\"w\":0}", "chat_template_kwargs");
}

TEST_F(RequestTest, BoundsTheListsOfASequenceTogether) {
  std::string ids = "1", words = "\"" + std::string(60, 'a') + "\"";
  for (int i = 1; i < 16384; ++i) ids += ",1";
  for (int i = 1; i < 500; ++i) words += ",\"" + std::string(60, static_cast<char>('a' + i % 26)) + "\"";
  EXPECT_TRUE(chat(chat_body("\"allowed_token_ids\":[" + ids + "]")));
  expect_refused("\"allowed_token_ids\":[" + ids + "],\"bad_words\":[" + words + "]", "bad_words");
}

TEST_F(RequestTest, WalksTheVocabularyOncePerListOfBreakers) {
  for (int i = 0; i < 3; ++i) {
    const auto result = chat(chat_body(R"("dry_multiplier":0.8)"));
    ASSERT_TRUE(result);
    EXPECT_EQ(result->fields.request.sampling.dry.breakers,
              (std::vector<TokenId>{TokenId('\n'), TokenId('"'), TokenId('*'), TokenId(':')}));
    EXPECT_TRUE(chat(chat_body(R"("dry_multiplier":0.8,"dry_sequence_breakers":["x"])")));
  }
  EXPECT_EQ(options_.vocabulary->n_walks(), 2);
}

TEST_F(RequestTest, WhatRequestsAskUnaskedIsKnownFromTheStart) {
  ServedModel& model = engine_.mutable_model();
  model.defaults.dry.emplace().multiplier = 0.8f;
  prepare_vocabulary(model, *options_.vocabulary);
  EXPECT_EQ(options_.vocabulary->n_walks(), 2);
  for (int i = 0; i < 20; ++i) {
    EXPECT_TRUE(completion(fmt::format(R"({{"prompt":"a","dry_multiplier":1,"dry_sequence_breakers":["{}"]}})",
                                       static_cast<char>('a' + i))));
  }
  EXPECT_EQ(options_.vocabulary->n_walks(), 22);
  const auto usual = completion(R"({"prompt":"a"})");
  ASSERT_TRUE(usual);
  EXPECT_EQ(usual->fields.request.sampling.dry.breakers.size(), 4u);
  options_.vocabulary->longest_token_bytes(*model.tokenizer);
  EXPECT_EQ(options_.vocabulary->n_walks(), 22) << "no number of other lists drives these out";
}

/// Names compared while a body of `n` unknown members, half of them in `parameters`, is read.
std::uint64_t work_of(int n) {
  // The vector beneath, which takes members without looking for their names.
  const auto add = [](Json& object, std::string name, Json value) {
    static_cast<Json::object_t::Container&>(object.get_ref<Json::object_t&>())
        .emplace_back(std::move(name), std::move(value));
  };
  Json inner = Json::object(), body = Json::object();
  for (int i = 0; i < n / 2; ++i) {
    add(body, "a" + std::to_string(i), i);
    add(inner, "b" + std::to_string(i), i);
  }
  add(body, "inputs", "x");
  add(body, "parameters", std::move(inner));
  const Json* parameters = find_member(body, "parameters");
  if (parameters == nullptr) return 0;
  Fields fields(body);
  fields.fall_back_to(*parameters);
  fields.also_called("max_tokens", "max_new_tokens");
  const FakeEngine engine;
  read_generation_fields(fields, engine.model(), ApiOptions());
  fields.integer("max_tokens", 0, 10);
  return fields.n_compared();
}

TEST(Fields, ReadingGrowsWithTheMembersAndNotWithTheirSquare) {
  const std::uint64_t work = work_of(2000);
  EXPECT_GE(work, 2000u);
  EXPECT_LE(work, 2000u * 200u) << "names that are asked for times members";
  EXPECT_LE(work_of(4000), 2 * work + 1000);
}

TEST_F(RequestTest, ReadsParametersBesideThousandsOfOthers) {
  std::string members;
  for (int i = 0; i < 5'000; ++i) members += "\"k" + std::to_string(i) + "\":0,";
  const auto result = parse_generate_request(
      json("{" + members + "\"stop\":null,\"temperature\":0.5,\"inputs\":\"x\",\"parameters\":{" + members +
           "\"stop\":\"s\",\"temperature\":1,\"max_new_tokens\":7}}"),
      engine_.model(), options_);
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(result->fields.request.max_tokens, 7);
  EXPECT_EQ(result->fields.request.stop, std::vector<std::string>{"s"});
  EXPECT_EQ(result->fields.request.sampling.temperature, 0.5f) << "the top wins";
}

TEST_F(RequestTest, RefusesAnotherModel) {
  options_.model_aliases = {"alias"};
  EXPECT_TRUE(chat(chat_body(R"("model":"fake/model")")));
  EXPECT_TRUE(chat(chat_body(R"("model":"alias")")));
  const auto result = chat(chat_body(R"("model":"gpt-9")"));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().status, 404);
  EXPECT_EQ(result.error().code, "model_not_found");
}

TEST_F(RequestTest, SendsModelsWithoutATemplateToCompletions) {
  engine_.mutable_model().chat_template = nullptr;
  const auto result = chat(chat_body());
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message.find("/v1/completions"), std::string::npos);
}

TEST_F(RequestTest, SaysWhyTheTemplateOfAModelIsOfNoUse) {
  engine_.mutable_model().chat_template = nullptr;
  engine_.mutable_model().chat_template_problem = "chat template: line 3: unexpected '.'";
  const auto result = chat(chat_body());
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().status, 400);
  EXPECT_NE(result.error().message.find("line 3: unexpected '.'"), std::string::npos) << result.error().message;
}

TEST_F(RequestTest, PassesNoneForWhatIsNotGiven) {
  const auto prompt_of = [&](const char* source, std::string_view messages) {
    engine_.mutable_model().chat_template = ChatTemplate::compile(source).value();
    const auto result = chat(json(fmt::format(R"({{"messages":[{}]}})", messages)));
    return result ? text_of(result->fields.request.prompt) : result.error().message;
  };
  constexpr std::string_view kUser = R"({"role":"user","content":"u"})";
  EXPECT_EQ(prompt_of("{{ tools is none }}{{ documents is none }}", kUser), "TrueTrue");

  const std::string with_calls = std::string(kUser) +
                                 R"(,{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function",)"
                                 R"("function":{"name":"f","arguments":"{}"}}]})";
  EXPECT_EQ(prompt_of("{% for m in messages %}{{ '<' + m.content + '>' }}{% endfor %}", with_calls), "<u><>");
  EXPECT_EQ(prompt_of("{{ messages[1].content is none }}{{ messages[1].tool_calls | length }}", with_calls), "True1");
  const std::string without = std::string(kUser) + R"(,{"role":"assistant","content":null,"tool_calls":[]})";
  EXPECT_EQ(prompt_of("{{ messages[1].content is string }}{{ messages[1].tool_calls is defined }}", without),
            "TrueFalse");
}

TEST_F(RequestTest, LeavesPartsToTemplatesThatWalkOverThem) {
  engine_.mutable_model().chat_template =
      ChatTemplate::compile(
          "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}"
          "{% for p in m.content %}{{ p.text | trim }}{% endfor %}{% endif %}{% endfor %}")
          .value();
  const auto result = chat(json(R"({"messages":[{"role":"user","content":[{"type":"text","text":"a: "},
      {"type":"text","text":" b "}]}]})"));
  ASSERT_TRUE(result);
  EXPECT_EQ(text_of(result->fields.request.prompt), "a:b");
}

TEST_F(RequestTest, ReadsEveryShapeOfPrompt) {
  EXPECT_EQ(completion(R"({"prompt":"ab"})")->prompts.front().size(), 3u);  // with <bos>
  EXPECT_EQ(completion(R"({"prompt":"ab","add_special_tokens":false})")->prompts.front().size(), 2u);
  EXPECT_EQ(completion(R"({"prompt":["a","b"]})")->prompts.size(), 2u);
  EXPECT_EQ(completion(R"({"prompt":[65,66]})")->prompts,
            (std::vector<std::vector<TokenId>>{{TokenId(65), TokenId(66)}}));
  EXPECT_EQ(completion(R"({"prompt":[[65],[66,67]]})")->prompts.size(), 2u);
  EXPECT_EQ(completion(R"({"prompt":[[65],"b"]})")->prompts.size(), 2u);
  for (const std::string_view body :
       {R"({})", R"({"prompt":null})", R"({"prompt":5})", R"({"prompt":[]})", R"({"prompt":[[]]})",
        R"({"prompt":[258]})", R"({"prompt":[-1]})", R"({"prompt":[1.5]})", R"({"prompt":{}})",
        R"({"prompt":[65,"a"]})", R"({"prompt":"","add_special_tokens":false})"}) {
    const auto result = completion(body);
    ASSERT_FALSE(result) << body;
    EXPECT_EQ(result.error().param, "prompt") << body;
  }
}

TEST_F(RequestTest, ScoresThePromptForEchoWithLogprobs) {
  const auto result = completion(R"({"prompt":[65,66],"echo":true,"logprobs":1,"max_tokens":0})");
  ASSERT_TRUE(result);
  EXPECT_EQ(result->fields.request.prompt_logprobs, 1);
  EXPECT_EQ(result->fields.request.max_tokens, 0);
  EXPECT_EQ(result->echo_texts.front(), "AB");
  EXPECT_EQ(completion(R"({"prompt":"x"})")->fields.request.max_tokens, 16);
}

TEST_F(RequestTest, ReadsPromptScoresBesideEcho) {
  const auto both = completion(R"({"prompt":[65,66],"echo":true,"logprobs":3,"prompt_logprobs":1})");
  ASSERT_TRUE(both);
  EXPECT_EQ(both->fields.request.prompt_logprobs, 3);
  EXPECT_EQ(both->prompt_logprobs, 1);
  EXPECT_EQ(chat(chat_body(R"("prompt_logprobs":2)"))->fields.request.prompt_logprobs, 2);
  EXPECT_EQ(chat(chat_body(R"("prompt_logprobs":21)")).error().param, "prompt_logprobs");
  const auto native = parse_generate_request(json(R"({"prompt":"x","prompt_logprobs":1})"), engine_.model(), options_);
  EXPECT_EQ(native.error().param, "prompt_logprobs");
}

TEST_F(RequestTest, ReadsWhichLogprobsAreMeant) {
  const auto processed = [&](const std::string& members) {
    return chat(chat_body(members))->fields.request.sampling.processed_logprobs;
  };
  EXPECT_FALSE(processed(R"("logprobs":true)"));
  EXPECT_FALSE(processed(R"("logprobs_mode":"raw_logprobs")"));
  EXPECT_TRUE(processed(R"("logprobs_mode":"processed_logprobs")"));
  EXPECT_TRUE(processed(R"("post_sampling_probs":true)"));
  EXPECT_EQ(chat(chat_body(R"("logprobs_mode":"raw_logits")")).error().param, "logprobs_mode");
  EXPECT_EQ(chat(chat_body(R"("logprobs_mode":"raw_logprobs","post_sampling_probs":true)")).error().param,
            "post_sampling_probs");
}

TEST_F(RequestTest, ReadsBothSpellingsOfGenerate) {
  const auto generate = [&](std::string_view body) {
    return parse_generate_request(json(body), engine_.model(), options_);
  };
  const auto tgi = generate(R"({"inputs":"x","parameters":{"max_new_tokens":7,"do_sample":false,"stop":["y"]}})");
  ASSERT_TRUE(tgi);
  EXPECT_EQ(tgi->fields.request.max_tokens, 7);
  EXPECT_EQ(tgi->fields.request.sampling.temperature, 0.0f);
  EXPECT_EQ(tgi->fields.request.stop, std::vector<std::string>{"y"});
  const auto flat = generate(R"({"prompt":"x","max_tokens":7,"stream":true})");
  ASSERT_TRUE(flat);
  EXPECT_EQ(flat->fields.request.max_tokens, 7);
  EXPECT_TRUE(flat->fields.stream);
  EXPECT_FALSE(generate(R"({"prompt":["x","y"]})"));
  EXPECT_FALSE(generate(R"({"inputs":"x","parameters":[]})"));
}

}  // namespace
}  // namespace commissure
