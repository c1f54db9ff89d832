#pragma once

#include <string>
#include <string_view>

#include "answer/answer_delta.h"
#include "answer/answer_plan.h"

namespace commissure {

/// The calls of one answer: numbers and names them as their pieces come, and knows whether all of them are whole.
/// Threading: one thread at a time.
class CallList {
 public:
  /// `plan` outlives the list.
  explicit CallList(const AnswerPlan& plan) : plan_(plan) {}

  /// Whether the plan has such a function.
  bool knows(std::string_view name) const;
  /// A call of a function that is known. What it adds to the answer goes to `delta`, here and below.
  void begin(const std::string& name, AnswerDelta& delta);
  /// A piece of the last call's arguments, JSON text.
  void arguments(std::string_view json, AnswerDelta& delta);
  /// The last call is whole.
  void end() { is_open_ = false; }

  int n_calls() const { return n_calls_; }
  /// Whether there are calls, and none of them is cut off or broken, those aside that are left out.
  bool are_whole() const { return n_calls_ > 0 && !is_open_ && !has_broken_; }

 private:
  bool keeps_call() const { return !plan_.is_one_call || n_calls_ <= 1; }

  const AnswerPlan& plan_;
  bool is_open_ = false;     // whether the last call that counts has not come to its end
  bool has_broken_ = false;  // whether one before it never did
  int n_calls_ = 0;
};

}  // namespace commissure
