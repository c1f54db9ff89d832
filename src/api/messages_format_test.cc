#include <gtest/gtest.h>

#include <map>
#include <utility>

#include "api/answer_format.h"
#include "api/chat_request.h"
#include "api/messages_request.h"
#include "support/fake_engine.h"
#include "support/served_api.h"

namespace commissure {
namespace {

using testing::answer_events;
using testing::FakeEngine;
using testing::spelled_json;

const std::string kTools =
    R"("tools":[{"name":"find","input_schema":{"type":"object","properties":{"n":{"type":"integer"}}}},
                {"name":"now","input_schema":{"type":"object"}}])";
constexpr std::string_view kCalls = testing::kTwoCalls;

class MessagesFormatTest : public ::testing::Test {
 protected:
  MessagesFormatTest() { testing::think_and_call(engine_); }

  /// For the answers to one request of these members.
  std::unique_ptr<AnswerFormat> format(const std::string& members) {
    std::shared_ptr<const AnswerPlan>& plan = plans_[members];
    if (plan == nullptr) {
      const Json body =
          spelled_json(fmt::format(R"({{"max_tokens":9,"messages":[{{"role":"user","content":"hi"}}],{}}})", members));
      const auto request =
          parse_chat_request(chat_from_messages(body, MessagesUse::kAnswer).value(), engine_.model(), ApiOptions());
      EXPECT_TRUE(request) << request.error().message;
      plan = request->plan;
    }
    return make_messages_format("m", "req_1", plan);
  }
  Json whole(const std::string& members, const std::vector<GenerationEvent>& events) {
    return testing::whole_answer(*format(members), events);
  }
  std::vector<Json> streamed(const std::string& members, const std::vector<GenerationEvent>& events) {
    return testing::named_events(testing::streamed_text(*format(members), events));
  }
  /// The message that a client makes of a stream; refuses an order that clients do not expect.
  static Json message_of(const std::vector<Json>& events) {
    Json message = events.at(0)["message"];
    std::string input;
    int open = -1;
    for (std::size_t i = 1; i < events.size(); ++i) {
      const Json& event = events[i];
      Json& blocks = message["content"];
      if (event["type"] == "content_block_start") {
        EXPECT_EQ(open, -1) << "the block before is open";
        open = event["index"];
        EXPECT_EQ(open, static_cast<int>(blocks.size()));
        blocks.push_back(event["content_block"]);
        input.clear();
      } else if (event["type"] == "content_block_delta") {
        EXPECT_EQ(event["index"], open);
        const Json& delta = event["delta"];
        if (delta.contains("partial_json")) input += delta["partial_json"];
        for (const char* part : {"text", "thinking"}) {
          if (delta["type"] == std::string(part) + "_delta")
            blocks.back()[part] = blocks.back()[part].get<std::string>() + delta[part].get<std::string>();
        }
      } else if (event["type"] == "content_block_stop") {
        EXPECT_EQ(event["index"], open);
        open = -1;
        if (!input.empty()) blocks.back()["input"] = parse_json(input).value_or(Json::object());
      } else if (event["type"] == "message_delta") {
        EXPECT_EQ(open, -1);
        message.update(event["delta"]);
        message["usage"] = event["usage"];
      }
    }
    EXPECT_EQ(events.back()["type"], "message_stop");
    return message;
  }
  /// Without what is drawn.
  static Json known(Json message) {
    message.erase("id");
    for (Json& block : message["content"]) block.erase("id");
    return message;
  }

  FakeEngine engine_;
  std::map<std::string, std::shared_ptr<const AnswerPlan>> plans_;
};

TEST_F(MessagesFormatTest, AnswersInOnePiece) {
  const Json answer = whole(R"("top_k":1)", answer_events({"So", " so.", "\n</think>\n\n", "Yes", "."}));
  EXPECT_TRUE(answer["id"].get<std::string>().starts_with("msg_"));
  EXPECT_EQ(known(answer), spelled_json(R"({"type":"message","role":"assistant","model":"m","content":[
      {"type":"thinking","thinking":"So so.","signature":""},{"type":"text","text":"Yes."}],
      "stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":6,"cache_creation_input_tokens":0,
      "cache_read_input_tokens":4,"output_tokens":5,"output_tokens_details":{"thinking_tokens":3}}})"));
}

TEST_F(MessagesFormatTest, CallsAreToolUses) {
  const Json answer = whole(kTools, answer_events({"</think>", std::string(kCalls)}));
  Json blocks = known(answer)["content"];
  EXPECT_EQ(blocks, spelled_json(R"([{"type":"text","text":"Let me see."},
      {"type":"tool_use","name":"find","input":{"n":1,"of":"e\n"}},{"type":"tool_use","name":"now","input":{}}])"));
  EXPECT_EQ(answer["stop_reason"], "tool_use");
  const std::string first = answer["content"][1]["id"], second = answer["content"][2]["id"];
  EXPECT_TRUE(first.starts_with("toolu_") && second.starts_with("toolu_")) << first << second;
  EXPECT_NE(first, second);
}

TEST_F(MessagesFormatTest, StreamsWhatClientsExpect) {
  std::vector<std::string> types;
  for (const Json& event :
       streamed(kTools, answer_events({"Hm", ".</think>", "A", " b", "<tool_call>{\"name\": \"now\", \"argu",
                                       "ments\": {}}", "</tool_call>"}))) {
    types.push_back(event["type"].get<std::string>());
    if (event.contains("delta") && event["delta"].contains("type"))
      types.back() = event["delta"]["type"].get<std::string>();
  }
  EXPECT_EQ(types,
            (std::vector<std::string>{"message_start", "content_block_start", "ping", "thinking_delta",
                                      "thinking_delta", "signature_delta", "content_block_stop", "content_block_start",
                                      "text_delta", "text_delta", "content_block_stop", "content_block_start",
                                      "input_json_delta", "content_block_stop", "message_delta", "message_stop"}));
}

TEST_F(MessagesFormatTest, TheStreamIsTheAnswerHoweverItIsCut) {
  const std::string text = "So so.\n</think>\n\n" + std::string(kCalls);
  const Json expected = known(whole(kTools, answer_events({text})));
  EXPECT_EQ(expected["content"].size(), 4u);
  for (std::size_t n = 1; n <= text.size(); ++n) {
    for (const std::size_t first : {n, n / 2}) {
      std::vector<std::string> pieces = {text.substr(0, first)};
      for (std::size_t at = first; at < text.size(); at += n) pieces.push_back(text.substr(at, n));
      const auto cut = answer_events(pieces);
      const Json answer = known(whole(kTools, cut)), stream = known(message_of(streamed(kTools, cut)));
      EXPECT_EQ(stream, answer) << n;
      EXPECT_EQ(stream["content"], expected["content"]) << n;
      EXPECT_EQ(stream["stop_reason"], "tool_use") << n;
    }
  }
}

TEST_F(MessagesFormatTest, TextBehindACallIsABlockOfItsOwn) {
  const auto cut = answer_events({"</think>One<tool_call>{\"name\": \"now\"", "}</tool_call>", "Two", " three"});
  const Json answer = known(whole(kTools, cut));
  EXPECT_EQ(answer["content"],
            spelled_json(R"([{"type":"text","text":"One"},{"type":"tool_use","name":"now","input":{}},
                                        {"type":"text","text":"Two three"}])"));
  EXPECT_EQ(known(message_of(streamed(kTools, cut))), answer);
}

TEST_F(MessagesFormatTest, WhatAnOpenCallStillGetsComesFirst) {
  const auto cut = answer_events({"</think><tool_call>{\"name\": \"find\", \"arguments\": {\"n\"",
                                  ": 1}}</tool_call>Then<tool_call>"
                                  "{\"name\": \"now\"}</tool_call>"});
  EXPECT_EQ(known(message_of(streamed(kTools, cut)))["content"],
            spelled_json(R"([{"type":"tool_use","name":"find","input":{"n":1}},{"type":"text","text":"Then"},
                     {"type":"tool_use","name":"now","input":{}}])"));
}

TEST_F(MessagesFormatTest, SaysWhyItEnded) {
  const auto reason = [&](GenerationEvent last, std::string_view text) {
    const auto cut = answer_events({"</think>", std::string(text)}, std::move(last));
    const Json answer = whole(kTools, cut);
    EXPECT_EQ(known(message_of(streamed(kTools, cut))), known(answer));
    return dump_json(answer["stop_reason"]) + dump_json(answer["stop_sequence"]);
  };
  GenerationEvent at_length, at_stop;
  at_length.finish = FinishReason::kLength;
  at_stop.finish = FinishReason::kStop;
  at_stop.stop_string = "END";
  EXPECT_EQ(reason({}, "a"), R"("end_turn"null)");
  EXPECT_EQ(reason(at_length, "a"), R"("max_tokens"null)");
  EXPECT_EQ(reason(at_stop, "a"), R"("stop_sequence""END")");
  EXPECT_EQ(reason({}, kCalls), R"("tool_use"null)");
  EXPECT_EQ(reason(at_length, kCalls), R"("max_tokens"null)");
  EXPECT_EQ(reason({}, "<tool_call>{\"name\": \"find\", \"arguments\": {\"n\": x"), R"("end_turn"null)");
}

TEST_F(MessagesFormatTest, HalfACallHasNoInput) {
  GenerationEvent last;
  last.finish = FinishReason::kLength;
  const Json answer = whole(
      kTools, answer_events({"</think><tool_call>{\"name\": \"find\", \"arguments\": {\"n\": 1, \"of\": \"al"}, last));
  EXPECT_EQ(known(answer)["content"], spelled_json(R"([{"type":"tool_use","name":"find","input":{}}])"));
}

TEST_F(MessagesFormatTest, OfANameThatComesTwiceTheLastValueCounts) {
  const Json answer = whole(
      kTools, answer_events({R"(</think><tool_call>{"name": "find", "arguments": {"n": 1, "n": 2}}</tool_call>)"}));
  EXPECT_EQ(known(answer)["content"], spelled_json(R"([{"type":"tool_use","name":"find","input":{"n":2}}])"));
  EXPECT_EQ(answer["stop_reason"], "tool_use");
}

TEST_F(MessagesFormatTest, AnAnswerMayBeEmpty) {
  const auto cut = answer_events({""});
  EXPECT_EQ(whole(R"("top_k":1)", cut)["content"], Json::array());
  EXPECT_EQ(streamed(R"("top_k":1)", cut).size(), 3u);
  EXPECT_EQ(whole(R"("thinking":{"type":"disabled"})", answer_events({"So</think>Yes"}))["content"],
            spelled_json(R"([{"type":"text","text":"Yes"}])"));
}

TEST_F(MessagesFormatTest, BreaksTheSilence) {
  const auto made = format(R"("top_k":1)");
  EXPECT_TRUE(made->keep_alive().starts_with(": "));
  const auto all = answer_events({"a", "b"});
  made->stream_event(0, all[0], all[0].usage);
  EXPECT_EQ(made->keep_alive(), "event: ping\ndata: {\"type\":\"ping\"}\n\n");
}

}  // namespace
}  // namespace commissure
