#include "api/answer_format.h"

#include <utility>

#include "api/answer_reader.h"
#include "api/openai.h"

namespace commissure {

ChunkFrame::ChunkFrame(std::string_view id_prefix, std::string_view object, const AnswerShape& shape)
    : id_(random_id(id_prefix)),
      created_(unix_now()),
      model_(shape.model),
      fingerprint_(shape.system_fingerprint.empty() ? Json(nullptr) : Json(shape.system_fingerprint)) {
  head_ = dump_json(envelope(object));
  head_.pop_back();  // the brace that event() sets after the choices
}

Json ChunkFrame::envelope(std::string_view object) const {
  return {
      {"id", id_}, {"object", object}, {"created", created_}, {"model", model_}, {"system_fingerprint", fingerprint_}};
}

std::string ChunkFrame::event(std::string_view choices, const Usage* usage, bool null_usage,
                              std::string_view more) const {
  std::string text;
  text.reserve(head_.size() + choices.size() + 64);
  text.append("data: ").append(head_).append(",\"choices\":[").append(choices).append("]");
  if (usage != nullptr) {
    text.append(",\"usage\":").append(dump_json(usage_json(*usage)));
  } else if (null_usage) {
    text.append(",\"usage\":null");
  }
  return text.append(more).append("}\n\n");
}

namespace {

class ChatFormat final : public AnswerFormat {
 public:
  ChatFormat(AnswerShape shape, int n_choices, const std::shared_ptr<const AnswerPlan>& plan)
      : shape_(std::move(shape)), frame_("chatcmpl-", "chat.completion.chunk", shape_) {
    for (int i = 0; i < n_choices; ++i) choices_.push_back({.reader = AnswerReader(plan)});
  }

  std::string stream_event(int choice, const GenerationEvent& event, const Usage& usage) override {
    std::string out;
    Choice& state = choices_[to_size(choice)];
    // With the first token, not before: clients take this chunk for the time to first token.
    if (!std::exchange(state.role_sent, true)) {
      const Json value = choice_chunk(choice, {{"role", "assistant"}, {"content", ""}}, nullptr, nullptr);
      const bool has_scores = shape_.prompt_logprobs >= 0 && choice == 0;
      out += framed(value, usage, has_scores ? ",\"prompt_logprobs\":" + dump_json(scores_of(event)) : "");
    }
    const bool has_logprobs = shape_.logprobs && !event.tokens.empty();
    Json logprobs = has_logprobs ? chat_logprobs(*shape_.tokenizer, event.tokens) : Json(nullptr);
    for (Json& delta : deltas_of(state.reader.read(event), has_logprobs)) {
      out += framed(choice_chunk(choice, std::move(delta), std::exchange(logprobs, nullptr), nullptr), usage);
    }
    if (event.finish) {
      Json value = choice_chunk(choice, Json::object(), nullptr, finish_of(state, event));
      if (!event.trace.empty()) value["trace"] = trace_json(event.trace);
      out += framed(value, usage);
    }
    return out;
  }

  std::string stream_end(const Usage& usage) override {
    const Usage all = with_thoughts(usage);
    return (shape_.include_usage ? frame_.event("", &all, false) : "") + "data: [DONE]\n\n";
  }

  void collect(int choice, const GenerationEvent& event) override {
    Choice& state = choices_[to_size(choice)];
    state.answer.append(state.reader.read(event));
    if (shape_.prompt_logprobs >= 0 && choice == 0 && prompt_scores_.is_null()) prompt_scores_ = scores_of(event);
    if (shape_.logprobs) {
      Json logprobs = chat_logprobs(*shape_.tokenizer, event.tokens);
      for (Json& entry : logprobs["content"]) state.content.push_back(std::move(entry));
    }
    if (event.finish) state.finish = finish_of(state, event);
    if (!event.trace.empty()) state.trace = trace_json(event.trace);
  }

  Json whole(const Usage& usage) override {
    Json answer = frame_.envelope("chat.completion");
    Json list = Json::array();
    for (std::size_t i = 0; i < choices_.size(); ++i) {
      const Choice& choice = choices_[i];
      const AnswerDelta& parts = choice.answer;
      Json message = {{"role", "assistant"}, {"content", parts.content}, {"refusal", nullptr}};
      if (!parts.reasoning.empty()) message["reasoning_content"] = parts.reasoning;
      if (!parts.calls.empty()) {
        if (parts.content.empty()) message["content"] = nullptr;
        message["tool_calls"] = Json::array();
        for (const CallDelta& call : parts.calls) message["tool_calls"].push_back(call_json(call));
      }
      const Json logprobs = shape_.logprobs ? Json{{"content", choice.content}, {"refusal", nullptr}} : Json(nullptr);
      list.push_back({{"index", i}, {"message", message}, {"logprobs", logprobs}, {"finish_reason", choice.finish}});
      if (!choice.trace.is_null()) list.back()["trace"] = choice.trace;
    }
    answer["choices"] = std::move(list);
    if (!prompt_scores_.is_null()) answer["prompt_logprobs"] = std::move(prompt_scores_);
    answer["usage"] = usage_json(with_thoughts(usage));
    return answer;
  }

 private:
  struct Choice {
    AnswerReader reader;
    bool role_sent = false;
    AnswerDelta answer = {};  // of an answer in one piece
    Json content = Json::array();
    std::string finish = {};
    Json trace = {};
  };

  static std::string_view finish_of(const Choice& state, const GenerationEvent& event) {
    return state.reader.ends_in_calls(event) ? "tool_calls" : openai_finish(*event.finish);
  }

  static Json call_json(const CallDelta& call) {
    return {{"id", call.id}, {"type", "function"}, {"function", {{"name", call.name}, {"arguments", call.arguments}}}};
  }

  /// One chunk for each part: clients take a chunk for a thought, for text or for calls.
  static std::vector<Json> deltas_of(const AnswerDelta& delta, bool at_least_one) {
    std::vector<Json> all;
    if (!delta.reasoning.empty()) all.push_back({{"reasoning_content", delta.reasoning}});
    if (!delta.content.empty()) all.push_back({{"content", delta.content}});
    Json calls = Json::array();
    for (const CallDelta& call : delta.calls) {
      Json piece = {{"index", call.index}};
      if (call.id.empty()) {
        piece["function"] = {{"arguments", call.arguments}};
      } else {
        piece.update(call_json(call));
      }
      calls.push_back(std::move(piece));
    }
    if (!calls.empty()) all.push_back({{"tool_calls", std::move(calls)}});
    if (all.empty() && at_least_one) all.push_back({{"content", ""}});
    return all;
  }

  Usage with_thoughts(Usage usage) const {
    for (const Choice& choice : choices_) usage.reasoning_tokens += choice.reader.n_thought_tokens();
    return usage;
  }

  Json scores_of(const GenerationEvent& event) const {
    return prompt_logprobs(*shape_.tokenizer, event.prompt_scores, shape_.prompt_logprobs);
  }

  static Json choice_chunk(int choice, Json delta, Json logprobs, Json finish) {
    return {{"index", choice},
            {"delta", std::move(delta)},
            {"logprobs", std::move(logprobs)},
            {"finish_reason", std::move(finish)}};
  }

  std::string framed(const Json& choice, const Usage& usage, std::string_view more = {}) const {
    const Usage all = with_thoughts(usage);
    return frame_.event(dump_json(choice), shape_.continuous_usage ? &all : nullptr, shape_.include_usage, more);
  }

  const AnswerShape shape_;
  const ChunkFrame frame_;
  std::vector<Choice> choices_;
  Json prompt_scores_;
};

}  // namespace

std::unique_ptr<AnswerFormat> make_chat_format(AnswerShape shape, int n_choices,
                                               std::shared_ptr<const AnswerPlan> plan) {
  return std::make_unique<ChatFormat>(std::move(shape), n_choices, plan);
}

}  // namespace commissure
