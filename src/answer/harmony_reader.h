#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "answer/answer_delta.h"
#include "answer/answer_plan.h"
#include "answer/call_list.h"
#include "answer/harmony_header.h"
#include "answer/json_value.h"

namespace commissure {

class AnswerParser;

/// Tells the messages of one answer in Harmony apart, as its text comes: thoughts are those of the channel "analysis",
/// calls are those to one of the plan's functions, all else is content. Several messages of one kind are paragraphs.
/// What is no header stays text, and so does the header of a call to nobody. Work is linear in the text. Threading: one
/// thread at a time.
class HarmonyReader {
 public:
  explicit HarmonyReader(std::shared_ptr<const AnswerPlan> plan);
  ~HarmonyReader();
  HarmonyReader(const HarmonyReader&) = delete;
  HarmonyReader& operator=(const HarmonyReader&) = delete;

  AnswerDelta push(std::string_view text);
  /// The answer is over.
  AnswerDelta finish();

  bool is_thinking() const { return at_ == At::kThought; }
  bool has_whole_calls() const;

 private:
  enum class At {
    kContent,
    kThought,
    kShownThought,  ///< which stays content, with its marks
    kCall,          ///< in front of its arguments, or within
    kBetween,       ///< behind a message
  };

  void read();
  std::size_t read_next(std::string_view text);
  std::size_t read_mark(std::string_view text);
  std::size_t read_call(std::string_view text);
  std::size_t read_arguments(std::string_view text);
  void open(const HarmonyHeader& header, std::string_view raw);
  bool open_call(const HarmonyHeader& header);
  void close(std::string_view mark);
  void go(At at);

  bool is_control(std::string_view mark) const;
  void add_text(std::string_view text);
  void add_content(std::string_view text);
  void add_thought(std::string_view text);

  const std::shared_ptr<const AnswerPlan> plan_;
  const bool reads_calls_;                 // in a form of Harmony's own
  std::unique_ptr<AnswerParser> content_;  // reads calls of another form in the content; null: there are none
  At at_ = At::kContent;
  bool follows_role_ = true;  // the answer's first header goes on behind the prompt
  std::string held_;          // may be a mark's or a header's beginning
  std::size_t n_prompt_ = 0;  // of it, from the front: the model did not write them
  bool begins_part_ = false;  // a new message, or text behind one
  bool has_content_ = false;  // of earlier messages, too
  bool has_thought_ = false;
  bool follows_call_ = false;   // brackets too many are no text there
  bool has_arguments_ = false;  // the current call's have begun
  JsonValue arguments_;
  std::string unsure_;  // the last bytes of the arguments, of which nothing has left yet
  CallList calls_;
  AnswerDelta delta_;
};

}  // namespace commissure
