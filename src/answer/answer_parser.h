#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "answer/answer_delta.h"
#include "answer/answer_plan.h"
#include "answer/call_list.h"
#include "answer/call_reader.h"

namespace commissure {

class HarmonyReader;

/// Tells thoughts, text and tool calls of one answer apart, as its text comes: however it is cut, the parts are the
/// same. What stands behind a call's mark and is no call of one of the plan's tools is content. Work is linear in the
/// text. Threading: one thread at a time.
class AnswerParser final : private CallSink {
 public:
  explicit AnswerParser(std::shared_ptr<const AnswerPlan> plan);
  ~AnswerParser() override;
  AnswerParser(const AnswerParser&) = delete;
  AnswerParser& operator=(const AnswerParser&) = delete;

  AnswerDelta push(std::string_view text);
  /// The answer is over.
  AnswerDelta finish();

  bool is_thinking() const;
  /// Whether there are calls, and none of them is cut off or broken, those aside that are left out.
  bool has_whole_calls() const;

 private:
  enum class State { kContent, kThinking, kCall };

  bool begin(const std::string& name) override;
  void arguments(std::string_view text) override { calls_.arguments(text, delta_); }
  void end() override { calls_.end(); }
  void no_call(std::string_view text) override;

  void read(std::string_view text);
  bool begins_mark(std::string_view text) const;
  std::size_t read_content(std::string_view text);
  std::size_t skip_control(std::string_view text, bool is_last);
  bool is_begun_thought() const;
  std::size_t read_thought(std::string_view text);
  std::size_t read_call(std::string_view text);
  void open_call(const CallMark& mark, std::string_view raw);
  void close_call();
  void add_content(std::string_view text);
  void add_reasoning(std::string_view text);

  const std::shared_ptr<const AnswerPlan> plan_;
  const std::unique_ptr<HarmonyReader> harmony_;  // does all the work where answers are messages; null: they are not
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
  CallList calls_;
  AnswerDelta delta_;
};

}  // namespace commissure
