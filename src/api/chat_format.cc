#include "api/answer_format.h"

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

std::string ChunkFrame::event(std::string_view choices, const Usage* usage, bool null_usage) const {
  std::string text;
  text.reserve(head_.size() + choices.size() + 64);
  text.append("data: ").append(head_).append(",\"choices\":[").append(choices).append("]");
  if (usage != nullptr) {
    text.append(",\"usage\":").append(dump_json(usage_json(*usage)));
  } else if (null_usage) {
    text.append(",\"usage\":null");
  }
  return text.append("}\n\n");
}

namespace {

class ChatFormat final : public AnswerFormat {
 public:
  explicit ChatFormat(AnswerShape shape)
      : shape_(std::move(shape)), frame_("chatcmpl-", "chat.completion.chunk", shape_) {}

  std::string stream_event(int choice, const GenerationEvent& event, const Usage& usage) override {
    std::string out;
    if (!role_sent_) {  // with the first token, not before: clients take this chunk for the time to first token
      role_sent_ = true;
      out += chunk(choice, {{"role", "assistant"}, {"content", ""}}, nullptr, nullptr, usage);
    }
    const bool has_logprobs = shape_.logprobs && !event.tokens.empty();
    if (!event.text.empty() || has_logprobs) {
      const Json logprobs = has_logprobs ? chat_logprobs(*shape_.tokenizer, event.tokens) : Json(nullptr);
      out += chunk(choice, {{"content", event.text}}, logprobs, nullptr, usage);
    }
    if (event.finish) {
      const Json trace = event.trace.empty() ? Json(nullptr) : trace_json(event.trace);
      out += chunk(choice, Json::object(), nullptr, openai_finish(*event.finish), usage, trace);
    }
    return out;
  }

  std::string stream_end(const Usage& usage) override {
    return (shape_.include_usage ? frame_.event("", &usage, false) : "") + "data: [DONE]\n\n";
  }

  void collect(int, const GenerationEvent& event) override {
    text_ += event.text;
    if (shape_.logprobs) {
      Json logprobs = chat_logprobs(*shape_.tokenizer, event.tokens);
      for (Json& entry : logprobs["content"]) content_.push_back(std::move(entry));
    }
    if (event.finish) finish_ = openai_finish(*event.finish);
    if (!event.trace.empty()) trace_ = trace_json(event.trace);
  }

  Json whole(const Usage& usage) override {
    Json answer = frame_.envelope("chat.completion");
    const Json message = {{"role", "assistant"}, {"content", text_}, {"refusal", nullptr}};
    const Json logprobs = shape_.logprobs ? Json{{"content", content_}, {"refusal", nullptr}} : Json(nullptr);
    answer["choices"] =
        Json::array({{{"index", 0}, {"message", message}, {"logprobs", logprobs}, {"finish_reason", finish_}}});
    if (!trace_.is_null()) answer["choices"][0]["trace"] = std::move(trace_);
    answer["usage"] = usage_json(usage);
    return answer;
  }

 private:
  std::string chunk(int choice, Json delta, Json logprobs, Json finish, const Usage& usage,
                    const Json& trace = nullptr) const {
    Json value = {{"index", choice},
                  {"delta", std::move(delta)},
                  {"logprobs", std::move(logprobs)},
                  {"finish_reason", std::move(finish)}};
    if (!trace.is_null()) value["trace"] = trace;
    return frame_.event(dump_json(value), shape_.continuous_usage ? &usage : nullptr, shape_.include_usage);
  }

  const AnswerShape shape_;
  const ChunkFrame frame_;
  bool role_sent_ = false;
  std::string text_;
  Json content_ = Json::array();
  std::string finish_;
  Json trace_;
};

}  // namespace

std::unique_ptr<AnswerFormat> make_chat_format(AnswerShape shape) {
  return std::make_unique<ChatFormat>(std::move(shape));
}

}  // namespace commissure
