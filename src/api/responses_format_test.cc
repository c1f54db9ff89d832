#include <gtest/gtest.h>

#include <map>
#include <set>

#include "api/answer_format.h"
#include "api/chat_request.h"
#include "api/responses_request.h"
#include "support/served_api.h"

namespace commissure {
namespace {

using testing::answer_events;
using testing::spelled_json;

const std::string kTools =
    R"("tools":[{"type":"function","name":"find","parameters":{"type":"object"}},{"type":"function","name":"now"}])";
constexpr std::string_view kCalls = testing::kTwoCalls;

class ResponsesFormatTest : public ::testing::Test {
 protected:
  ResponsesFormatTest() { testing::think_and_call(engine_); }

  /// For the answers to one request of these members.
  std::unique_ptr<AnswerFormat> format(const std::string& members) {
    std::shared_ptr<const AnswerPlan>& plan = plans_[members];
    const auto read = read_responses(spelled_json(fmt::format(R"({{"input":"hi",{}}})", members))).value();
    if (plan == nullptr) {
      const auto request = parse_chat_request(read.chat, engine_.model(), ApiOptions());
      EXPECT_TRUE(request) << request.error().message;
      plan = request->plan;
    }
    return make_responses_format("m", read.echo, plan);
  }
  Json whole(const std::string& members, const std::vector<GenerationEvent>& events) {
    return testing::whole_answer(*format(members), events);
  }
  std::vector<Json> streamed(const std::string& members, const std::vector<GenerationEvent>& events) {
    return testing::named_events(testing::streamed_text(*format(members), events));
  }

  /// The output that a client makes of a stream; refuses an order that clients do not expect.
  static Json output_of(const std::vector<Json>& events) {
    Json output = Json::array();
    bool is_open = false, has_part = false;
    for (std::size_t i = 0; i < events.size(); ++i) {
      const Json& event = events[i];
      const std::string type = event["type"];
      EXPECT_EQ(event["sequence_number"], i);
      if (i < 2) EXPECT_EQ(type, i == 0 ? "response.created" : "response.in_progress");
      if (i < 2) EXPECT_EQ(event["response"]["status"], "in_progress");
      if (i >= 2 && i + 1 < events.size()) {
        EXPECT_EQ(event["output_index"].get<std::size_t>(),
                  type == "response.output_item.added" ? output.size() : output.size() - 1);
      }
      if (event.contains("item_id")) EXPECT_EQ(event["item_id"], output.back()["id"]);
      if (type == "response.output_item.added") {
        EXPECT_FALSE(std::exchange(is_open, true)) << "the item before is open";
        EXPECT_EQ(event["item"]["status"], "in_progress");
        output.push_back(event["item"]);
        has_part = false;
      } else if (type == "response.content_part.added") {
        EXPECT_FALSE(std::exchange(has_part, true));
        output.back()["content"].push_back(event["part"]);
      } else if (type.ends_with(".delta")) {
        EXPECT_TRUE(is_open);
        Json& last = output.back();
        Json& text = last["type"] == "function_call" ? last["arguments"] : last["content"].at(0)["text"];
        text = text.get<std::string>() + event["delta"].get<std::string>();
      } else if (type.ends_with("_text.done")) {
        EXPECT_EQ(event["text"], output.back()["content"][0]["text"]);
      } else if (type == "response.function_call_arguments.done") {
        EXPECT_EQ(event["arguments"], output.back()["arguments"]);
        EXPECT_EQ(event["name"], output.back()["name"]);
      } else if (type == "response.content_part.done") {
        EXPECT_EQ(event["part"], output.back()["content"][0]);
      } else if (type == "response.output_item.done") {
        EXPECT_TRUE(std::exchange(is_open, false));
        output.back()["status"] = event["item"]["status"];
        EXPECT_EQ(event["item"], output.back());
      }
    }
    EXPECT_FALSE(is_open);
    EXPECT_EQ(events.back()["response"]["output"], output);
    return output;
  }
  /// Without what is drawn.
  static Json known(Json output) {
    for (Json& item : output) {
      item.erase("id");
      item.erase("call_id");
    }
    return output;
  }

  testing::FakeEngine engine_;
  std::map<std::string, std::shared_ptr<const AnswerPlan>> plans_;
};

TEST_F(ResponsesFormatTest, AnswersInOnePiece) {
  Json answer = whole(R"("metadata":{"a":"b"},"max_output_tokens":9,"instructions":"i")",
                      answer_events({"So", " so.", "\n</think>\n\n", "Yes", "."}));
  EXPECT_TRUE(answer["id"].get<std::string>().starts_with("resp_"));
  EXPECT_TRUE(answer["output"][0]["id"].get<std::string>().starts_with("rs_"));
  EXPECT_TRUE(answer["output"][1]["id"].get<std::string>().starts_with("msg_"));
  EXPECT_GE(answer["completed_at"], answer["created_at"]);
  for (const char* drawn : {"id", "created_at", "completed_at"}) answer.erase(drawn);
  answer["output"] = known(answer["output"]);
  EXPECT_EQ(answer, spelled_json(R"({"object":"response","status":"completed","background":false,"error":null,
      "incomplete_details":null,"model":"m","output":[
       {"type":"reasoning","status":"completed","summary":[],"content":[{"type":"reasoning_text","text":"So so."}]},
       {"type":"message","status":"completed","role":"assistant","content":[
        {"type":"output_text","text":"Yes.","annotations":[],"logprobs":[]}]}],
      "max_output_tokens":9,"reasoning":{"effort":null,"summary":null},"text":{"format":{"type":"text"}},"tools":[],
      "tool_choice":"auto","parallel_tool_calls":true,"metadata":{"a":"b"},"instructions":"i",
      "previous_response_id":null,"store":false,"top_logprobs":0,"truncation":"disabled",
      "usage":{"input_tokens":10,"input_tokens_details":{"cached_tokens":4},"output_tokens":5,
       "output_tokens_details":{"reasoning_tokens":3},"total_tokens":15}})"));
}

TEST_F(ResponsesFormatTest, StreamsWhatClientsExpect) {
  std::vector<std::string> types;
  const auto events =
      streamed(kTools, answer_events({"Hm", ".</think>", "A", " b", "<tool_call>{\"name\": \"now\", \"argu",
                                      "ments\": {}}", "</tool_call>"}));
  for (const Json& event : events) types.push_back(event["type"].get<std::string>().substr(9));
  EXPECT_EQ(types, (std::vector<std::string>{"created",
                                             "in_progress",
                                             "output_item.added",
                                             "content_part.added",
                                             "reasoning_text.delta",
                                             "reasoning_text.delta",
                                             "reasoning_text.done",
                                             "content_part.done",
                                             "output_item.done",
                                             "output_item.added",
                                             "content_part.added",
                                             "output_text.delta",
                                             "output_text.delta",
                                             "output_text.done",
                                             "content_part.done",
                                             "output_item.done",
                                             "output_item.added",
                                             "function_call_arguments.delta",
                                             "function_call_arguments.done",
                                             "output_item.done",
                                             "completed"}));
  EXPECT_EQ(events[0]["response"]["output"], Json::array());
  EXPECT_EQ(events[0]["response"]["id"], events.back()["response"]["id"]);
  EXPECT_EQ(events[11]["logprobs"], Json::array());
}

TEST_F(ResponsesFormatTest, TheStreamIsTheAnswerHoweverItIsCut) {
  const std::string text = "So so.\n</think>\n\n" + std::string(kCalls);
  const Json expected = known(whole(kTools, answer_events({text}))["output"]);
  EXPECT_EQ(expected.size(), 4u);
  EXPECT_EQ(expected[2], spelled_json(R"({"type":"function_call","status":"completed","name":"find",
                                  "arguments":"{\"n\": 1, \"of\": \"e\\n\"}"})"));
  for (std::size_t n = 1; n <= text.size(); ++n) {
    for (const std::size_t first : {n, n / 2}) {
      std::vector<std::string> pieces = {text.substr(0, first)};
      for (std::size_t at = first; at < text.size(); at += n) pieces.push_back(text.substr(at, n));
      const auto cut = answer_events(pieces);
      EXPECT_EQ(known(whole(kTools, cut)["output"]), expected) << n;
      EXPECT_EQ(known(output_of(streamed(kTools, cut))), expected) << n;
    }
  }
}

TEST_F(ResponsesFormatTest, CallsHaveIdsOfTheirOwn) {
  const Json output = whole(kTools, answer_events({"</think>", std::string(kCalls)}))["output"];
  std::set<std::string> ids;
  for (const Json& item : output) ids.insert(item["id"].get<std::string>());
  ids.insert(output[1]["call_id"].get<std::string>());
  ids.insert(output[2]["call_id"].get<std::string>());
  EXPECT_EQ(ids.size(), 5u);
  EXPECT_TRUE(output[1]["id"].get<std::string>().starts_with("fc_"));
}

TEST_F(ResponsesFormatTest, SaysHowItEnded) {
  GenerationEvent at_length;
  at_length.finish = FinishReason::kLength;
  for (const std::string text :
       {"Half a sen", "A<tool_call>{\"name\": \"find\", \"arguments\": {\"n\": 1, \"of\": \"al"}) {
    const auto cut = answer_events({"</think>", text}, at_length);
    const Json answer = whole(kTools, cut);
    EXPECT_EQ(answer["status"], "incomplete");
    EXPECT_EQ(answer["incomplete_details"], spelled_json(R"({"reason":"max_output_tokens"})"));
    EXPECT_EQ(answer["output"].back()["status"], "incomplete");
    const auto events = streamed(kTools, cut);
    EXPECT_EQ(events.back()["type"], "response.incomplete");
    EXPECT_EQ(known(output_of(events)), known(answer["output"]));
  }
  // Whatever ended it, nobody shall run half a call.
  const Json broken =
      whole(kTools, answer_events({"</think><tool_call>{\"name\": \"find\", \"arguments\": {\"n\": x"}));
  EXPECT_EQ(broken["status"], "completed");
  if (broken["output"].back()["type"] == "function_call" &&
      !Json::accept(broken["output"].back()["arguments"].get<std::string>())) {
    EXPECT_EQ(broken["output"].back()["status"], "incomplete");
  }
}

TEST_F(ResponsesFormatTest, AnAnswerMayBeEmpty) {
  const auto cut = answer_events({""});
  EXPECT_EQ(whole(R"("top_p":1)", cut)["output"], Json::array());
  EXPECT_EQ(streamed(R"("top_p":1)", cut).size(), 3u);
}

TEST_F(ResponsesFormatTest, AFailureIsAResponse) {
  for (const bool is_begun : {false, true}) {
    const auto made = format(R"("top_p":1)");
    const auto all = answer_events({"a</think>b", "c"});
    std::string text = is_begun ? made->stream_event(0, all[0], all[0].usage) : "";
    text += made->failure_event({.status = 503, .message = "stage b went away", .type = "unavailable_error"});
    const auto events = testing::named_events(text);
    EXPECT_EQ(events.front()["type"], "response.created");
    EXPECT_EQ(events.back()["type"], "response.failed");
    EXPECT_EQ(events.back()["sequence_number"], events.size() - 1);
    EXPECT_EQ(events.back()["response"]["status"], "failed");
    EXPECT_EQ(events.back()["response"]["error"],
              spelled_json(R"({"code":"server_error","message":"stage b went away"})"));
  }
}

}  // namespace
}  // namespace commissure
