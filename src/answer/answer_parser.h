#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "answer/answer_delta.h"
#include "answer/answer_syntax.h"
#include "answer/call_reader.h"
#include "core/json.h"

namespace commissure {

/// What of an answer's text is told apart.
struct AnswerPlan {
  AnswerSyntax syntax = {};      ///< without calls or thoughts: these stay text
  Json tools = Json::array();    ///< as in the request
  std::string begun = {};        ///< what the prompt's end has of the answer: a thought's or a call's beginning
  bool is_one_call = false;      ///< further calls are left out
  bool hides_reasoning = false;  ///< thoughts are read, and left out
  std::function<std::string()> new_id = {};  ///< for each call
};

/// Tells thoughts, text and tool calls of one answer apart, as its text comes: however it is cut, the parts are the
/// same. Marks never leave. Work is linear in the text. Threading: one thread at a time.
class AnswerParser final : private CallSink {
 public:
  explicit AnswerParser(std::shared_ptr<const AnswerPlan> plan);

  AnswerDelta push(std::string_view text);
  /// The answer is over. Text behind the mark of a call that never became one is content.
  AnswerDelta finish();

  bool is_thinking() const { return state_ == State::kThinking; }
  int n_calls() const { return n_calls_; }

 private:
  enum class State { kContent, kThinking, kCall };

  void begin(std::string name) override;
  void arguments(std::string_view text) override;
  void end() override {}

  void read(std::string_view text);
  std::size_t read_content(std::string_view text);
  std::size_t read_thought(std::string_view text);
  std::size_t read_call(std::string_view text);
  void open_call(const CallMark& mark, std::string_view raw);
  void close_call();
  void add_content(std::string_view text);
  void add_reasoning(std::string_view text);
  bool is_kept() const { return !plan_->is_one_call || n_calls_ <= 1; }

  const std::shared_ptr<const AnswerPlan> plan_;
  const CallMark bare_call_{CallForm::kJsonObject, ""};
  State state_ = State::kContent;
  std::string held_;       // text that may be a mark's beginning
  std::string spaces_;     // behind the content or thought so far: a mark that follows swallows them
  bool has_text_ = false;  // the current part has something but spaces
  bool is_fresh_ = true;   // no content yet: a thought may begin
  bool trims_ = false;     // a part ended, so spaces that follow are no content
  std::unique_ptr<CallReader> reader_;
  std::string raw_;       // the mark and what follows, until the call begins
  bool is_call_ = false;  // it has
  int n_calls_ = 0;
  AnswerDelta delta_;
};

}  // namespace commissure
