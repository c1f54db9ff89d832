#pragma once

#include <memory>

#include "answer/answer_parser.h"
#include "engine/generation.h"

namespace commissure {

/// Tells the parts of one choice's answer apart as the engine's events come, whatever API they go out through.
/// Threading: one thread at a time.
class AnswerReader {
 public:
  /// `plan` may be null: all text is content.
  explicit AnswerReader(std::shared_ptr<const AnswerPlan> plan);

  /// What the event adds.
  AnswerDelta read(const GenerationEvent& event);

  /// Tokens of thoughts so far.
  int n_thought_tokens() const { return n_thought_tokens_; }
  /// Whether the answer, which `last` ends, wants its calls to be made.
  bool ends_in_calls(const GenerationEvent& last) const;

 private:
  std::unique_ptr<AnswerParser> parser_;  // null: all text is content
  int n_tokens_ = 0;
  int n_thought_tokens_ = 0;
};

}  // namespace commissure
