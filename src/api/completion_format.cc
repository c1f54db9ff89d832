#include "api/answer_format.h"
#include "api/openai.h"
#include "core/index.h"

namespace commissure {

namespace {

class CompletionFormat final : public AnswerFormat {
 public:
  CompletionFormat(AnswerShape shape, int n_prompts, int n, CompletionEcho echo)
      : shape_(std::move(shape)), n_(n), echo_(std::move(echo)), frame_("cmpl-", "text_completion", shape_) {
    for (int i = 0; i < n_prompts * n; ++i) choices_.emplace_back(*shape_.tokenizer, shape_.tokens_as_ids);
  }

  std::string stream_event(int choice, const GenerationEvent& event, const Usage& usage) override {
    Choice& state = add(choice, event);
    const bool has_logprobs = shape_.logprobs && state.n_new_logprobs > 0;
    if (state.text.empty() && !has_logprobs && !event.finish) return {};
    Json entry = {{"index", choice},
                  {"text", std::exchange(state.text, {})},
                  {"logprobs", has_logprobs ? state.logprobs.take() : Json(nullptr)},
                  {"finish_reason", event.finish ? Json(openai_finish(*event.finish)) : Json(nullptr)}};
    state.n_new_logprobs = 0;
    if (!state.prompt_scores.is_null()) entry["prompt_logprobs"] = std::exchange(state.prompt_scores, nullptr);
    if (!event.trace.empty()) entry["trace"] = trace_json(event.trace);
    return frame_.event(dump_json(entry), shape_.continuous_usage ? &usage : nullptr, shape_.include_usage);
  }

  std::string stream_end(const Usage& usage) override {
    return (shape_.include_usage ? frame_.event("", &usage, false) : "") + "data: [DONE]\n\n";
  }

  void collect(int choice, const GenerationEvent& event) override {
    Choice& state = add(choice, event);
    if (event.finish) state.finish = openai_finish(*event.finish);
    if (!event.trace.empty()) state.trace = trace_json(event.trace);
  }

  Json whole(const Usage& usage) override {
    Json list = Json::array();
    for (std::size_t i = 0; i < choices_.size(); ++i) {
      list.push_back({{"index", i},
                      {"text", choices_[i].text},
                      {"logprobs", shape_.logprobs ? choices_[i].logprobs.take() : Json(nullptr)},
                      {"finish_reason", choices_[i].finish}});
      if (shape_.prompt_logprobs >= 0) list.back()["prompt_logprobs"] = std::move(choices_[i].prompt_scores);
      if (!choices_[i].trace.is_null()) list.back()["trace"] = std::move(choices_[i].trace);
    }
    Json answer = frame_.envelope("text_completion");
    answer["choices"] = std::move(list);
    answer["usage"] = usage_json(usage);
    return answer;
  }

 private:
  struct Choice {
    Choice(const Tokenizer& tokenizer, bool tokens_as_ids) : logprobs(tokenizer, tokens_as_ids) {}
    CompletionLogprobs logprobs;
    std::size_t n_new_logprobs = 0;
    std::string text;
    std::string finish;
    Json trace;
    Json prompt_scores;
    bool begun = false;
  };

  /// The first event brings the prompt's scores.
  void begin(Choice& state, std::size_t prompt, const GenerationEvent& event) const {
    if (shape_.prompt_logprobs >= 0) {
      state.prompt_scores = prompt_logprobs(*shape_.tokenizer, event.prompt_scores, shape_.prompt_logprobs);
    }
    if (echo_.texts.empty()) return;
    state.text = echo_.texts[prompt];
    if (shape_.logprobs)
      state.logprobs.add_prompt(echo_.prompts[prompt], echo_.texts[prompt], event.prompt_scores, echo_.n_top);
    state.n_new_logprobs = echo_.prompts[prompt].size();
  }

  Choice& add(int index, const GenerationEvent& event) {
    const std::size_t i = to_size(index);
    Choice& state = choices_[i];
    if (!std::exchange(state.begun, true)) begin(state, i / to_size(n_), event);
    state.text += event.text;
    if (shape_.logprobs) state.logprobs.add(event.tokens);
    state.n_new_logprobs += event.tokens.size();
    return state;
  }

  const AnswerShape shape_;
  const int n_;  // choices per prompt
  const CompletionEcho echo_;
  const ChunkFrame frame_;
  std::vector<Choice> choices_;
};

}  // namespace

std::unique_ptr<AnswerFormat> make_completion_format(AnswerShape shape, int n_prompts, int n, CompletionEcho echo) {
  return std::make_unique<CompletionFormat>(std::move(shape), n_prompts, n, std::move(echo));
}

}  // namespace commissure
