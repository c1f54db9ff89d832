#include "api/answer_reader.h"

#include <utility>

namespace commissure {

AnswerReader::AnswerReader(std::shared_ptr<const AnswerPlan> plan) {
  if (plan != nullptr) parser_ = std::make_unique<AnswerParser>(std::move(plan));
}

/// A token counts as a thought's where the thought was going on before or after it.
AnswerDelta AnswerReader::read(const GenerationEvent& event) {
  if (parser_ == nullptr) return {.content = event.text};
  const bool was_thinking = parser_->is_thinking();
  AnswerDelta delta = parser_->push(event.text);
  if (was_thinking || parser_->is_thinking()) n_thought_tokens_ += event.usage.completion_tokens - n_tokens_;
  n_tokens_ = event.usage.completion_tokens;
  if (event.finish) delta.append(parser_->finish());
  return delta;
}

bool AnswerReader::ends_in_calls(const GenerationEvent& last) const {
  return parser_ != nullptr && parser_->has_whole_calls() && last.finish == FinishReason::kStop;
}

}  // namespace commissure
