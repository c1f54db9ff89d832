#include "answer/answer_parser.h"

#include <algorithm>
#include <utility>

#include "answer/harmony_reader.h"
#include "answer/spaces.h"

namespace commissure {

namespace {

/// Text behind a mark that is read again when no call came of it: more would make work grow faster than the text.
constexpr std::size_t kMaxReread = 1024;
/// Text is read in pieces of this size at most, since each mark is looked for in the whole of a piece.
constexpr std::size_t kMaxPiece = 4096;

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

AnswerParser::AnswerParser(std::shared_ptr<const AnswerPlan> plan)
    : plan_(std::move(plan)),
      harmony_(plan_->syntax.has_channels ? std::make_unique<HarmonyReader>(plan_) : nullptr),
      calls_(*plan_) {
  if (harmony_ != nullptr) return;
  read(plan_->prefix);
  raw_.clear();  // the model did not write it
  n_mark_bytes_ = 0;
  if (reader_ != nullptr) reader_->forget_prompt();
}

AnswerParser::~AnswerParser() = default;

bool AnswerParser::is_thinking() const {
  return harmony_ != nullptr ? harmony_->is_thinking() : state_ == State::kThinking;
}

bool AnswerParser::has_whole_calls() const {
  return harmony_ != nullptr ? harmony_->has_whole_calls() : calls_.are_whole();
}

AnswerDelta AnswerParser::push(std::string_view text) {
  if (harmony_ != nullptr) return harmony_->push(text);
  while (!text.empty()) {
    read(text.substr(0, kMaxPiece));
    text.remove_prefix(std::min(text.size(), kMaxPiece));
  }
  return std::exchange(delta_, {});
}

AnswerDelta AnswerParser::finish() {
  if (harmony_ != nullptr) return harmony_->finish();
  while (state_ == State::kCall) {
    close_call();
    read(std::exchange(rest_, {}));
  }
  if (is_begun_thought()) held_.clear();
  const std::string rest = plan_->without_control(std::exchange(held_, {}));
  state_ == State::kThinking ? add_reasoning(rest) : add_content(rest);
  if (state_ == State::kContent && (has_text_ || !drops_leading_spaces_) && calls_.n_calls() == 0)
    delta_.content += spaces_;
  spaces_.clear();
  return std::exchange(delta_, {});
}

/// Whether what is held can be nothing else, since it begins with a control token.
bool AnswerParser::is_begun_thought() const {
  return state_ == State::kContent && may_begin_thought_ && plan_->syntax.think_open.starts_with(held_) &&
         std::ranges::any_of(plan_->control_marks, [&](const std::string& mark) { return held_.starts_with(mark); });
}

void AnswerParser::read(std::string_view text) {
  std::string all = std::exchange(held_, {}) + std::string(text);
  std::size_t used = 0;
  while (used < all.size()) {
    const State before = state_;
    const std::string_view rest = std::string_view(all).substr(used);
    const std::size_t n = state_ == State::kContent    ? read_content(rest)
                          : state_ == State::kThinking ? read_thought(rest)
                                                       : read_call(rest);
    used += n;
    if (!rest_.empty()) {
      const std::string again = std::exchange(rest_, {});
      const std::size_t n_here = std::min(used, again.size());  // the others came with an earlier piece
      all.insert(0, again, 0, again.size() - n_here);
      used -= n_here;
    } else if (n == 0 && state_ == before) {
      break;
    }
  }
  held_ = all.substr(used);
}

/// Whether what is not the text may begin so: a thought, a call, or a control token.
bool AnswerParser::begins_mark(std::string_view text) const {
  const auto may_be = [&](std::string_view mark) {
    return !mark.empty() && (text.starts_with(mark) || mark.starts_with(text));
  };
  return may_be(plan_->syntax.think_open) || may_be(unclosed_) ||
         std::ranges::any_of(plan_->syntax.calls, may_be, &CallMark::open) ||
         std::ranges::any_of(plan_->control_marks, may_be);
}

/// Each read_ gives the bytes it used; 0 in the same state: the rest may be the beginning of a mark.
std::size_t AnswerParser::read_content(std::string_view text) {
  const AnswerSyntax& syntax = plan_->syntax;
  const std::size_t first = std::min(text.find_first_not_of(kSpaces), text.size());
  const std::string_view rest = text.substr(first);
  if (plan_->is_held && (has_text_ || !begins_mark(rest))) {
    add_content(text);
    return text.size();
  }
  const bool may_be_bare =
      may_begin_thought_ && calls_.n_calls() == 0 && syntax.is_bare_json_call && !syntax.calls.empty();
  if (may_be_bare && rest.starts_with('{')) {
    open_call(bare_call_, text.substr(0, first));
    return first;
  }
  const bool may_think = may_begin_thought_ && !syntax.think_open.empty();
  const bool thinks = may_think && rest.starts_with(syntax.think_open);  // a thought comes before all text
  std::size_t found = thinks ? first : std::string_view::npos;
  const CallMark* call = nullptr;
  for (const CallMark& mark : syntax.calls) {
    const std::size_t at = text.find(mark.open);
    if (at >= found) continue;
    found = at;
    call = &mark;
  }
  if (const std::size_t n = skip_control(text.substr(0, found), found == std::string_view::npos); n > 0) return n;
  if (call != nullptr) {
    add_content(text.substr(0, found));
    open_call(*call, call->open);
    return found + call->open.size();
  }
  if (thinks) {
    spaces_.clear();
    has_text_ = false;
    state_ = State::kThinking;
    return found + syntax.think_open.size();
  }
  std::size_t n_held = may_think && overlap(rest, syntax.think_open) == rest.size() ? rest.size() : 0;
  for (const CallMark& mark : syntax.calls) n_held = std::max(n_held, overlap(text, mark.open));
  for (const std::string& mark : plan_->control_marks) n_held = std::max(n_held, overlap(text, mark));
  n_held = std::max(n_held, overlap(text, unclosed_));
  add_content(text.substr(0, text.size() - n_held));
  return text.size() - n_held;
}

/// Leaves out the first control token in the text, or the mark that an unclosed call still wants; returns the bytes up
/// to and with it. 0: there is none, or it may be the beginning of a longer mark, where the text is the last that came.
std::size_t AnswerParser::skip_control(std::string_view text, bool is_last) {
  std::size_t found = std::string_view::npos;
  std::size_t length = 0;
  const auto look_for = [&](const std::string& mark) {
    const std::size_t at = mark.empty() ? std::string_view::npos : text.find(mark);
    if (at >= found) return;
    found = at;
    length = mark.size();
  };
  look_for(unclosed_);
  std::ranges::for_each(plan_->control_marks, look_for);
  if (found == std::string_view::npos) return 0;
  const std::string_view begun = text.substr(found);
  const auto may_become = [&](std::string_view mark) { return mark.size() > begun.size() && mark.starts_with(begun); };
  const bool may_think = may_begin_thought_ && text.find_first_not_of(kSpaces) == found;
  const bool is_open = is_last && ((may_think && may_become(plan_->syntax.think_open)) ||
                                   std::ranges::any_of(plan_->syntax.calls,
                                                       [&](const CallMark& mark) { return may_become(mark.open); }));
  if (is_open) return 0;
  add_content(text.substr(0, found));
  if (text.substr(found, length) == unclosed_) unclosed_.clear();
  return found + length;
}

std::size_t AnswerParser::read_thought(std::string_view text) {
  const std::string& close = plan_->syntax.think_close;
  const std::size_t found = text.find(close);
  const std::size_t n = found != std::string_view::npos ? found : text.size() - overlap(text, close);
  add_reasoning(text.substr(0, n));
  if (found == std::string_view::npos) return n;
  spaces_.clear();
  has_text_ = false;
  drops_leading_spaces_ = true;
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
  n_mark_bytes_ = raw.size();
  no_calls_.clear();
  is_call_ = false;
  unclosed_ = mark.close;
  reader_ = make_call_reader(plan_->syntax, mark, plan_->functions, *this);
  state_ = State::kCall;
}

/// What a reader took and left is read again, and behind a mark that no call followed all of it.
void AnswerParser::close_call() {
  rest_ = reader_->rest();
  if (!is_call_ || reader_->is_closed()) unclosed_.clear();
  reader_.reset();
  state_ = State::kContent;
  if (is_call_) {
    spaces_.clear();
    has_text_ = false;
    drops_leading_spaces_ = true;
    return;
  }
  may_begin_thought_ = false;  // looked at once, and no call
  raw_.resize(raw_.size() - std::min(raw_.size(), rest_.size()));
  const std::size_t n_text = raw_.size() > kMaxReread ? raw_.size() : n_mark_bytes_;
  rest_.insert(0, raw_, n_text);
  raw_.resize(n_text);
  add_content(plan_->without_control(std::exchange(raw_, {})));
}

bool AnswerParser::begin(const std::string& name) {
  if (!calls_.knows(name)) return false;
  add_content(plan_->without_control(std::exchange(no_calls_, {})));
  is_call_ = true;
  raw_.clear();
  n_mark_bytes_ = 0;
  spaces_.clear();
  calls_.begin(name, delta_);
  return true;
}

void AnswerParser::no_call(std::string_view text) {
  if (is_call_) {
    add_content(plan_->without_control(text));
  } else {
    no_calls_ += text;
  }
}

void AnswerParser::add_content(std::string_view text) {
  const std::size_t end = text.find_last_not_of(kSpaces) + 1;  // 0: nothing but spaces
  if (end > 0) {
    if (!has_text_ && drops_leading_spaces_) {
      spaces_.clear();
      text.remove_prefix(text.find_first_not_of(kSpaces));
    }
    const std::size_t n = text.find_last_not_of(kSpaces) + 1;
    delta_.content += std::exchange(spaces_, {});
    delta_.content += text.substr(0, n);
    text.remove_prefix(n);
    has_text_ = true;
    may_begin_thought_ = false;
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
