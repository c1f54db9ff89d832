#include "answer/answer_plan.h"

#include <algorithm>

namespace commissure {

/// In one pass: what is left on both sides of a control token makes no other one.
std::string AnswerPlan::without_control(std::string_view text) const {
  std::string kept;
  while (!text.empty()) {
    std::size_t n_control = 0;
    for (const std::string& mark : control_marks) {
      if (text.starts_with(mark)) n_control = std::max(n_control, mark.size());
    }
    if (n_control == 0) kept += text.front();
    text.remove_prefix(std::max<std::size_t>(n_control, 1));
  }
  return kept;
}

}  // namespace commissure
