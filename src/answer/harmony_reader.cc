#include "answer/harmony_reader.h"

#include <algorithm>
#include <utility>

#include "answer/answer_parser.h"
#include "answer/spaces.h"

namespace commissure {

namespace {

using Match = HarmonyHeader::Match;

constexpr std::string_view kMarkBegin = "<|";  // of every mark
constexpr std::string_view kParagraph = "\n\n";

bool ends_message(std::string_view mark) {
  return mark == kHarmonyEnd || mark == kHarmonyReturn || mark == kHarmonyCall;
}

bool is_harmony_call(const CallMark& mark) { return mark.form == CallForm::kChannel; }

}  // namespace

HarmonyReader::HarmonyReader(std::shared_ptr<const AnswerPlan> plan)
    : plan_(std::move(plan)),
      reads_calls_(std::ranges::any_of(plan_->syntax.calls, is_harmony_call)),
      held_(plan_->prefix),
      calls_(*plan_) {
  if (!reads_calls_ && !plan_->syntax.calls.empty()) {
    auto inner = std::make_shared<AnswerPlan>(*plan_);
    inner->syntax.has_channels = false;
    inner->syntax.think_open = inner->syntax.think_close = "";
    held_.resize(read_harmony_header(plan_->prefix, follows_role_).n_bytes);
    inner->prefix = plan_->prefix.substr(held_.size());
    content_ = std::make_unique<AnswerParser>(std::move(inner));
  }
  read();
  n_prompt_ = held_.size();
}

HarmonyReader::~HarmonyReader() = default;

AnswerDelta HarmonyReader::push(std::string_view text) {
  held_ += text;
  read();
  return std::exchange(delta_, {});
}

AnswerDelta HarmonyReader::finish() {
  const bool is_begun_header = std::ranges::any_of(
      kHarmonyMarks, [&](std::string_view mark) { return held_.starts_with(mark) && is_control(mark); });
  const std::string rest = std::exchange(held_, {}).substr(n_prompt_);
  if (!is_begun_header && !rest.empty()) {
    if (at_ == At::kCall) go(At::kContent);
    add_text(plan_->without_control(rest));
  }
  if (content_ != nullptr) delta_.append(content_->finish());
  return std::exchange(delta_, {});
}

bool HarmonyReader::has_whole_calls() const {
  return content_ != nullptr ? content_->has_whole_calls() : calls_.are_whole();
}

void HarmonyReader::read() {
  std::size_t used = 0;
  while (used < held_.size()) {
    const At before = at_;
    const std::size_t n = read_next(std::string_view(held_).substr(used));
    used += n;
    if (n == 0 && at_ == before) break;
  }
  held_.erase(0, used);
}

/// Each read_ gives the bytes it used; 0 at the same place: what follows may be the beginning of a mark or header.
std::size_t HarmonyReader::read_next(std::string_view text) {
  if (follows_role_) {
    const HarmonyHeader header = read_harmony_header(text, follows_role_);
    if (header.match == Match::kBegun) return 0;
    follows_role_ = false;
    if (header.match == Match::kWhole) {
      open(header, text.substr(0, header.n_bytes));
      return header.n_bytes;
    }
    if (n_prompt_ > 0) return std::exchange(n_prompt_, {});
  }
  if (at_ == At::kCall) return read_call(text);
  if (plan_->is_held && at_ == At::kContent) {
    add_text(text);
    return text.size();
  }
  const std::size_t mark = text.find(kMarkBegin);
  if (mark == 0) return read_mark(text);
  const std::size_t n = mark == std::string_view::npos ? text.size() - (text.ends_with('<') ? 1 : 0) : mark;
  add_text(text.substr(0, n));
  return n;
}

std::size_t HarmonyReader::read_mark(std::string_view text) {
  bool is_begun = false;
  for (const std::string_view mark : kHarmonyMarks) {
    is_begun = is_begun || mark.starts_with(text);
    if (!text.starts_with(mark)) continue;
    if (ends_message(mark)) {
      close(mark);
      return mark.size();
    }
    const HarmonyHeader header = read_harmony_header(text, /*follows_role=*/false);
    if (header.match == Match::kBegun) return 0;
    if (header.match == Match::kWhole) {
      open(header, text.substr(0, header.n_bytes));
      return header.n_bytes;
    }
    if (at_ == At::kShownThought || !is_control(mark)) add_text(mark);
    return mark.size();
  }
  if (is_begun) return 0;
  add_text(text.substr(0, 1));
  return 1;
}

std::size_t HarmonyReader::read_call(std::string_view text) {
  if (has_arguments_) return read_arguments(text);
  const std::size_t first = std::min(text.find_first_not_of(kSpaces), text.size());
  const std::string_view rest = text.substr(first);
  if (rest.empty()) return first;
  if (rest.front() == '{') {
    has_arguments_ = true;
    return first + read_arguments(rest);
  }
  for (const std::string_view mark : {kHarmonyCall, kHarmonyEnd, kHarmonyReturn}) {
    if (mark.size() > rest.size() && mark.starts_with(rest)) return first;
    if (!rest.starts_with(mark)) continue;
    calls_.arguments("{}", delta_);
    calls_.end();
    go(At::kBetween);
    return first;
  }
  go(At::kContent);  // no arguments
  return first;
}

/// Marks within a text of the arguments are text; anywhere else no byte of theirs has a place in JSON.
std::size_t HarmonyReader::read_arguments(std::string_view text) {
  std::string json;
  std::size_t n = 0;
  auto took = JsonValue::Took::kMore;
  while (n < text.size() && took == JsonValue::Took::kMore) {
    const std::size_t n_before = json.size();
    took = arguments_.take(text[n], json);
    if (json.size() > n_before) unsure_.clear();
    if (took == JsonValue::Took::kFault) break;
    if (json.size() == n_before) unsure_ += text[n];
    ++n;
  }
  if (!json.empty()) calls_.arguments(json, delta_);
  if (took == JsonValue::Took::kLast) {
    calls_.end();
    go(At::kBetween);
    follows_call_ = true;
  } else if (took == JsonValue::Took::kFault) {
    go(At::kContent);
    add_text(std::exchange(unsure_, {}));
  }
  return n;
}

void HarmonyReader::open(const HarmonyHeader& header, std::string_view raw) {
  raw.remove_prefix(std::min(std::exchange(n_prompt_, {}), raw.size()));
  if (open_call(header)) return;
  if (!header.recipient.empty()) {
    go(At::kContent);
    add_text(plan_->without_control(raw));
  } else if (header.channel != "analysis") {
    go(At::kContent);
  } else if (!plan_->syntax.think_open.empty()) {
    go(At::kThought);
  } else {
    go(At::kShownThought);
    add_text(raw);
  }
}

bool HarmonyReader::open_call(const HarmonyHeader& header) {
  if (!reads_calls_ || header.recipient.empty()) return false;
  std::string name = header.recipient;
  if (name.starts_with(kHarmonyFunctions)) name.erase(0, kHarmonyFunctions.size());
  if (!calls_.knows(name)) name = header.recipient;
  if (!calls_.knows(name)) return false;
  calls_.begin(name, delta_);
  has_arguments_ = false;
  arguments_ = JsonValue();
  unsure_.clear();
  go(At::kCall);
  return true;
}

void HarmonyReader::close(std::string_view mark) {
  if (at_ == At::kShownThought) add_text(mark);
  go(At::kBetween);
}

void HarmonyReader::go(At at) {
  at_ = at;
  begins_part_ = at != At::kShownThought;
  follows_call_ = false;
}

bool HarmonyReader::is_control(std::string_view mark) const {
  return std::ranges::find(plan_->control_marks, mark) != plan_->control_marks.end();
}

void HarmonyReader::add_text(std::string_view text) {
  if (at_ == At::kThought) return add_thought(text);
  if (at_ == At::kBetween) {  // spaces are no message
    const auto is_passed = [&](char c) { return is_space(c) || (follows_call_ && (c == '}' || c == ']')); };
    while (!text.empty() && is_passed(text.front())) text.remove_prefix(1);
    if (text.empty()) return;
    go(At::kContent);
  }
  add_content(text);
}

void HarmonyReader::add_content(std::string_view text) {
  if (text.empty()) return;
  std::string added = std::exchange(begins_part_, false) && has_content_ ? std::string(kParagraph) : std::string();
  added += text;
  has_content_ = has_content_ || at_ == At::kContent;
  content_ != nullptr ? delta_.append(content_->push(added)) : void(delta_.content += added);
}

void HarmonyReader::add_thought(std::string_view text) {
  if (text.empty() || plan_->hides_reasoning) return;
  if (std::exchange(begins_part_, false) && has_thought_) delta_.reasoning += kParagraph;
  delta_.reasoning += text;
  has_thought_ = true;
}

}  // namespace commissure
