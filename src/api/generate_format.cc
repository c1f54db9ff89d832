#include "api/answer_format.h"
#include "api/openai.h"

namespace commissure {

namespace {

/// TGI's answers: {"generated_text", "details"}, streamed as {"token", "generated_text", "details"}.
class GenerateFormat final : public AnswerFormat {
 public:
  GenerateFormat(std::string model, std::string echo, std::uint64_t seed)
      : model_(std::move(model)), text_(std::move(echo)), seed_(seed) {}

  std::string stream_event(int, const GenerationEvent& event, const Usage& usage) override {
    collect(0, event);
    if (event.text.empty() && event.tokens.empty() && !event.finish) return {};
    Json token = nullptr;
    if (!event.tokens.empty()) {  // text may have waited for several tokens: the last one completed it
      const GeneratedToken& last = event.tokens.back();
      token = {{"id", last.token.value}, {"text", event.text}, {"special", last.bytes.empty()}};
    } else {
      token = {{"id", nullptr}, {"text", event.text}, {"special", false}};
    }
    return sse_data({{"token", std::move(token)},
                     {"generated_text", event.finish ? Json(text_) : Json(nullptr)},
                     {"details", event.finish ? details(usage) : Json(nullptr)}});
  }

  std::string stream_end(const Usage&) override { return {}; }

  void collect(int, const GenerationEvent& event) override {
    text_ += event.text;
    if (!event.finish) return;
    if (!event.trace.empty()) trace_ = trace_json(event.trace);
    finish_ = event.stop_string                      ? "stop_sequence"
              : *event.finish == FinishReason::kStop ? "eos_token"
                                                     : openai_finish(*event.finish);
  }

  Json whole(const Usage& usage) override {
    return {{"model", model_}, {"generated_text", text_}, {"details", details(usage)}, {"usage", usage_json(usage)}};
  }

 private:
  Json details(const Usage& usage) const {
    Json details = {{"finish_reason", finish_},
                    {"generated_tokens", usage.completion_tokens},
                    {"prompt_tokens", usage.prompt_tokens},
                    {"seed", seed_}};
    if (!trace_.is_null()) details["trace"] = trace_;
    return details;
  }

  const std::string model_;
  std::string text_;
  const std::uint64_t seed_;
  std::string finish_;
  Json trace_;
};

}  // namespace

std::unique_ptr<AnswerFormat> make_generate_format(std::string model, std::string echo, std::uint64_t seed) {
  return std::make_unique<GenerateFormat>(std::move(model), std::move(echo), seed);
}

}  // namespace commissure
