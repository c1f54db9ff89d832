#include "answer/call_list.h"

#include <algorithm>

namespace commissure {

bool CallList::knows(std::string_view name) const {
  return std::ranges::find(plan_.functions, name, &AnswerFunction::name) != plan_.functions.end();
}

void CallList::begin(const std::string& name, AnswerDelta& delta) {
  ++n_calls_;
  has_broken_ = has_broken_ || is_open_;
  is_open_ = keeps_call();
  if (keeps_call()) delta.calls.push_back({.index = n_calls_ - 1, .id = plan_.new_id(), .name = name});
}

void CallList::arguments(std::string_view json, AnswerDelta& delta) {
  if (!keeps_call()) return;
  if (delta.calls.empty() || delta.calls.back().index != n_calls_ - 1) delta.calls.push_back({.index = n_calls_ - 1});
  delta.calls.back().arguments += json;
}

}  // namespace commissure
