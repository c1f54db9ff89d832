#include "answer/answer_parser.h"

#include <algorithm>
#include <utility>

namespace commissure {

namespace {

constexpr std::string_view kSpaces = " \n\r\t";

/// Bytes at the end of `text` that are the beginning of `mark`.
std::size_t overlap(std::string_view text, std::string_view mark) {
  for (std::size_t n = std::min(text.size(), mark.empty() ? 0 : mark.size() - 1); n > 0; --n) {
    if (text.ends_with(mark.substr(0, n))) return n;
  }
  return 0;
}

}  // namespace

void AnswerDelta::append(AnswerDelta next) {
  reasoning += next.reasoning;
  content += next.content;
  for (CallDelta& call : next.calls) {
    if (!calls.empty() && calls.back().index == call.index) {
      calls.back().arguments += call.arguments;
    } else {
      calls.push_back(std::move(call));
    }
  }
}

AnswerParser::AnswerParser(std::shared_ptr<const AnswerPlan> plan) : plan_(std::move(plan)) { read(plan_->begun); }

AnswerDelta AnswerParser::push(std::string_view text) {
  read(text);
  return std::exchange(delta_, {});
}

AnswerDelta AnswerParser::finish() {
  if (state_ == State::kCall) {
    reader_->finish();
    close_call();
  }
  const std::string rest = std::exchange(held_, {});
  state_ == State::kThinking ? add_reasoning(rest) : add_content(rest);
  if (state_ == State::kContent && n_calls_ == 0) delta_.content += spaces_;
  spaces_.clear();
  return std::exchange(delta_, {});
}

void AnswerParser::read(std::string_view text) {
  const std::string all = std::exchange(held_, {}) + std::string(text);
  std::string_view rest = all;
  while (!rest.empty()) {
    const State before = state_;
    const std::size_t n = state_ == State::kContent    ? read_content(rest)
                          : state_ == State::kThinking ? read_thought(rest)
                                                       : read_call(rest);
    if (n == 0 && state_ == before) break;
    rest.remove_prefix(n);
  }
  held_ = rest;
}

/// Each read_ gives the bytes it used; 0 in the same state: the rest may be the beginning of a mark.
std::size_t AnswerParser::read_content(std::string_view text) {
  const AnswerSyntax& syntax = plan_->syntax;
  const bool may_think = is_fresh_ && !syntax.think_open.empty();
  const std::size_t first = std::min(text.find_first_not_of(kSpaces), text.size());
  const bool may_be_bare = is_fresh_ && n_calls_ == 0 && syntax.is_bare_json_call && !syntax.calls.empty();
  if (may_be_bare && first < text.size() && text[first] == '{') {
    open_call(bare_call_, text.substr(0, first));
    return first;
  }
  std::size_t found = may_think ? text.find(syntax.think_open) : std::string_view::npos;
  if (found != first) found = std::string_view::npos;  // a thought comes before all text
  const CallMark* call = nullptr;
  for (const CallMark& mark : syntax.calls) {
    const std::size_t at = text.find(mark.open);
    if (at >= found) continue;
    found = at;
    call = &mark;
  }
  if (found != std::string_view::npos) {
    if (call != nullptr) {
      add_content(text.substr(0, found));
      open_call(*call, call->open);
      return found + call->open.size();
    }
    spaces_.clear();
    has_text_ = false;
    state_ = State::kThinking;
    return found + syntax.think_open.size();
  }
  std::size_t n_held = may_think ? overlap(text, syntax.think_open) : 0;
  for (const CallMark& mark : syntax.calls) n_held = std::max(n_held, overlap(text, mark.open));
  add_content(text.substr(0, text.size() - n_held));
  return text.size() - n_held;
}

std::size_t AnswerParser::read_thought(std::string_view text) {
  const std::string& close = plan_->syntax.think_close;
  const std::size_t found = text.find(close);
  const std::size_t n = found != std::string_view::npos ? found : text.size() - overlap(text, close);
  add_reasoning(text.substr(0, n));
  if (found == std::string_view::npos) return n;
  spaces_.clear();
  has_text_ = false;
  trims_ = true;
  state_ = State::kContent;
  return found + close.size();
}

std::size_t AnswerParser::read_call(std::string_view text) {
  const std::size_t n = reader_->push(text);
  if (!is_call_) raw_ += text.substr(0, n);
  if (reader_->is_done()) close_call();
  return n;
}

void AnswerParser::open_call(const CallMark& mark, std::string_view raw) {
  raw_ = raw;
  is_call_ = false;
  reader_ = make_call_reader(plan_->syntax, mark, plan_->tools, *this);
  state_ = State::kCall;
}

void AnswerParser::close_call() {
  reader_.reset();
  state_ = State::kContent;
  if (is_call_) {
    spaces_.clear();
    has_text_ = false;
    trims_ = true;
    return;
  }
  is_fresh_ = false;  // looked at once, and no call
  add_content(std::exchange(raw_, {}));
}

void AnswerParser::begin(std::string name) {
  is_call_ = true;
  raw_.clear();
  spaces_.clear();
  ++n_calls_;
  if (!is_kept()) return;
  delta_.calls.push_back({.index = n_calls_ - 1, .id = plan_->new_id(), .name = std::move(name)});
}

void AnswerParser::arguments(std::string_view text) {
  if (!is_kept()) return;
  if (delta_.calls.empty() || delta_.calls.back().index != n_calls_ - 1)
    delta_.calls.push_back({.index = n_calls_ - 1});
  delta_.calls.back().arguments += text;
}

void AnswerParser::add_content(std::string_view text) {
  const std::size_t end = text.find_last_not_of(kSpaces) + 1;  // 0: nothing but spaces
  if (end > 0) {
    if (!has_text_ && trims_) {
      spaces_.clear();
      text.remove_prefix(text.find_first_not_of(kSpaces));
    }
    const std::size_t n = text.find_last_not_of(kSpaces) + 1;
    delta_.content += std::exchange(spaces_, {});
    delta_.content += text.substr(0, n);
    text.remove_prefix(n);
    has_text_ = true;
    is_fresh_ = false;
  }
  spaces_ += text;
}

void AnswerParser::add_reasoning(std::string_view text) {
  if (!has_text_) text.remove_prefix(std::min(text.find_first_not_of(kSpaces), text.size()));
  if (text.empty()) return;
  const std::size_t n = text.find_last_not_of(kSpaces) + 1;
  if (n > 0) {
    if (!plan_->hides_reasoning) {
      delta_.reasoning += spaces_;
      delta_.reasoning += text.substr(0, n);
    }
    spaces_.clear();
    has_text_ = true;
  }
  spaces_ += text.substr(n);
}

}  // namespace commissure
