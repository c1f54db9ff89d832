#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "answer/answer_delta.h"
#include "answer/answer_function.h"
#include "answer/answer_syntax.h"
#include "answer/call_reader.h"

namespace commissure {

/// What of an answer's text is told apart.
struct AnswerPlan {
  AnswerSyntax syntax = {};                    ///< without calls or thoughts: these stay text
  std::vector<AnswerFunction> functions = {};  ///< that may be called
  std::string prefix = {};  ///< what the prompt's end has of the answer: a thought's or a call's beginning
  std::vector<std::string> control_marks = {};  ///< texts of control tokens, which are never content
  bool is_one_call = false;                     ///< further calls are left out
  bool hides_reasoning = false;                 ///< thoughts are read, and left out
  std::function<std::string()> new_id = {};     ///< for each call
};

/// Tells thoughts, text and tool calls of one answer apart, as its text comes: however it is cut, the parts are the
/// same. What stands behind a call's mark and is no call of one of the plan's tools is content. Work is linear in the
/// text. Threading: one thread at a time.
class AnswerParser final : private CallSink {
 public:
  explicit AnswerParser(std::shared_ptr<const AnswerPlan> plan);

  AnswerDelta push(std::string_view text);
  /// The answer is over.
  AnswerDelta finish();

  bool is_thinking() const { return state_ == State::kThinking; }
  /// Whether there are calls, and none of them is cut off or broken, those aside that are left out.
  bool has_whole_calls() const { return n_calls_ > 0 && !is_call_open_ && !has_broken_call_; }

 private:
  enum class State { kContent, kThinking, kCall };

  bool begin(const std::string& name) override;
  void arguments(std::string_view text) override;
  void end() override { is_call_open_ = false; }
  void no_call(std::string_view text) override;

  void read(std::string_view text);
  std::size_t read_content(std::string_view text);
  std::size_t skip_control(std::string_view text, bool is_last);
  bool is_begun_thought() const;
  std::size_t read_thought(std::string_view text);
  std::size_t read_call(std::string_view text);
  void open_call(const CallMark& mark, std::string_view raw);
  void close_call();
  std::string without_control(std::string_view text) const;
  void add_content(std::string_view text);
  void add_reasoning(std::string_view text);
  bool keeps_call() const { return !plan_->is_one_call || n_calls_ <= 1; }

  const std::shared_ptr<const AnswerPlan> plan_;
  const CallMark bare_call_{CallForm::kJsonObject, ""};
  State state_ = State::kContent;
  std::string held_;                   // text that may be a mark's beginning
  std::string rest_;                   // the last of what a call's reader took, which is to be read again
  std::string spaces_;                 // behind the content or thought so far: a mark that follows swallows them
  bool has_text_ = false;              // whether the current part has something but spaces
  bool may_begin_thought_ = true;      // no content yet
  bool drops_leading_spaces_ = false;  // before the next content, since it follows a thought or a call
  std::unique_ptr<CallReader> reader_;
  std::string raw_;               // the mark and what follows, until a call begins
  std::size_t n_mark_bytes_ = 0;  // of it
  std::string no_calls_;          // of that what is known to be no call
  std::string unclosed_;          // the mark that the last call still wants behind it
  bool is_call_ = false;          // whether a call began behind the current mark
  bool is_call_open_ = false;     // whether the last call that counts has not come to its end
  bool has_broken_call_ = false;  // whether one before it never did
  int n_calls_ = 0;
  AnswerDelta delta_;
};

}  // namespace commissure
