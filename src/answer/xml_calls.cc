#include <algorithm>
#include <optional>
#include <utility>

#include "answer/call_reader.h"
#include "answer/json_value.h"
#include "answer/spaces.h"

namespace commissure {

namespace {

constexpr std::string_view kFunction = "<function=", kParameter = "<parameter=", kNextParameter = "\n<parameter=";
constexpr std::string_view kEndFunction = "</function>", kEndParameter = "</parameter>";

/// The arguments' own bracket is around it.
constexpr int kMaxValueDepth = static_cast<int>(JsonValue::kMaxDepth) - 1;

/// Without one line break at either end.
std::string_view without_breaks(std::string_view text) {
  if (text.starts_with('\n')) text.remove_prefix(1);
  if (text.ends_with('\n')) text.remove_suffix(1);
  return text;
}

/// true, false, null or None, in whatever case; empty: none of them.
std::string_view literal(std::string_view text) {
  constexpr std::size_t kLongest = 5;
  if (text.size() > kLongest) return "";
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  for (const std::string_view word : {"true", "false", "null"}) {
    if (lower == word) return word;
  }
  return lower == "none" ? "null" : "";
}

std::string value_json(ParameterKind kind, std::string_view text) {
  const std::string_view bare = trimmed(text);
  if (kind == ParameterKind::kText) return json_string(text);
  if (kind == ParameterKind::kTextOrNull) return bare == "null" ? "null" : json_string(text);
  if (const std::string_view word = literal(bare); !word.empty()) return std::string(word);
  for (const bool takes_single_quotes : {false, true}) {
    const auto json = as_json(bare, takes_single_quotes);
    if (json && parse_json(*json, kMaxValueDepth)) return *json;
  }
  return json_string(text);
}

/// <function=NAME> <parameter=KEY> VALUE </parameter> ... </function>. A parameter leaves when it is whole, since only
/// its end tells whether a line break belongs to the value.
class XmlCalls final : public CallReader {
 public:
  XmlCalls(const CallMark& mark, const std::vector<AnswerFunction>& functions, CallSink& sink)
      : mark_(mark), functions_(functions), sink_(sink), at_(mark.open == kFunction ? At::kName : At::kMark) {}

  std::size_t push(std::string_view text) override {
    const std::size_t before = held_.size();
    held_ += text;
    while (!is_done_ && step()) {
    }
    if (!is_done_) return text.size();
    if (used_ < before) {  // it turned out only now that earlier text belongs to no call
      rest_ = held_.substr(used_, before - used_);
      used_ = before;
    }
    return used_ - before;
  }

  bool is_done() const override { return is_done_; }
  bool is_closed() const override { return is_closed_; }
  std::string rest() override {
    if (is_done_) return std::exchange(rest_, {});
    if (at_ == At::kPassing) return held_.substr(passed_from_);
    if (begun_ || !has_begun_) return "";  // in front of the first call it is the parser who has kept it
    return held_.substr(at_ == At::kName ? used_ - kFunction.size() : used_);
  }

 private:
  enum class At { kMark, kName, kKey, kValue, kPassing };

  /// The mark that stands first in what is held and not used yet; nothing while there is none. Each byte is searched
  /// once. What is used is then all in front of it.
  std::optional<std::string_view> find_mark(std::initializer_list<std::string_view> marks) {
    std::size_t found = std::string::npos, longest = 0;
    std::string_view first;
    for (const std::string_view mark : marks) {
      longest = std::max(longest, mark.size());
      const std::size_t at = held_.find(mark, std::max(searched_, used_));
      if (at >= found) continue;
      found = at;
      first = mark;
    }
    if (found == std::string::npos) {
      searched_ = held_.size() - std::min(held_.size(), longest - 1);
      return std::nullopt;
    }
    found_ = std::string_view(held_).substr(used_, found - used_);
    use_to(found);
    return first;
  }

  void use_to(std::size_t end) { searched_ = used_ = end; }

  /// The one of the marks that stands behind spaces, which then is used; nothing while that is open.
  std::optional<std::string_view> next_mark(std::initializer_list<std::string_view> marks) {
    const std::size_t start = held_.find_first_not_of(kSpaces, used_);
    used_ = std::min(start, held_.size());
    if (used_ == held_.size()) return std::nullopt;
    const std::string_view rest = std::string_view(held_).substr(start);
    for (const std::string_view mark : marks) {
      if (rest.starts_with(mark)) {
        use_to(start + mark.size());
        return mark;
      }
      if (mark.starts_with(rest)) return std::nullopt;
    }
    return "";
  }

  bool step() {
    switch (at_) {
      case At::kMark: return begun_ ? take_mark() : has_begun_ ? take_behind() : take_first();
      case At::kName: return take_name();
      case At::kKey: return take_key();
      case At::kValue: return take_value();
      case At::kPassing: return take_passing();
    }
    return false;
  }

  bool go(At at) {
    at_ = at;
    return true;
  }

  bool stop(bool is_closed = false) {
    is_closed_ = is_closed;
    return is_done_ = true;
  }

  bool pass_over(std::size_t from) {
    passed_from_ = from;
    return go(At::kPassing);
  }

  bool take_first() {
    const auto mark = next_mark({kFunction});
    return mark && (mark->empty() ? stop() : go(At::kName));
  }

  /// Within a call.
  bool take_mark() {
    const auto mark = next_mark({kParameter, kEndFunction, mark_.close});
    if (!mark) return false;
    if (*mark == kParameter) return go(At::kKey);
    if (mark->empty()) return pass_over(used_);
    sink_.arguments("}");
    sink_.end();
    begun_ = false;
    return *mark == kEndFunction || stop(/*is_closed=*/true);
  }

  bool take_behind() {
    const auto mark = next_mark({kFunction, mark_.close, kEndFunction, kEndParameter, "}", "]"});
    if (!mark) return false;
    if (*mark == kFunction) return go(At::kName);
    return mark->empty() || *mark == mark_.close ? stop(/*is_closed=*/!mark->empty()) : true;
  }

  bool take_name() {
    const std::size_t first = std::min(held_.find_first_not_of(kSpaces, used_), held_.size());
    std::size_t last = first;
    while (last < held_.size() && is_name_byte(held_[last])) ++last;
    const std::size_t end = std::min(held_.find_first_not_of(kSpaces, last), held_.size());
    if (end == held_.size() && end - used_ <= kMaxNameBytes) return false;
    const bool is_ended = end - used_ <= kMaxNameBytes && held_[end] == '>';
    const std::string name = held_.substr(first, last - first);
    begun_ = is_ended && sink_.begin(name);
    if (!begun_) {
      if (has_begun_) used_ -= kFunction.size();
      return stop();
    }
    has_begun_ = true;
    function_ = &*std::ranges::find(functions_, name, &AnswerFunction::name);
    n_values_ = 0;
    use_to(end + 1);
    sink_.arguments("{");
    return go(At::kMark);
  }

  bool take_key() {
    const std::size_t start = used_;
    const auto mark = find_mark({">", "\n", mark_.close});
    if (!mark) return false;
    if (mark != ">") return pass_over(start);
    key_ = trimmed(found_);
    use_to(used_ + mark->size());
    return go(At::kValue);
  }

  bool take_value() {
    const auto mark = find_mark({kEndParameter, kNextParameter, kEndFunction, mark_.close});
    if (!mark) return false;
    std::string text = n_values_++ > 0 ? ", " : "";
    text += json_string(key_) + ": ";
    sink_.arguments(text + value_json(function_->kind_of(key_), without_breaks(found_)));
    if (mark == kEndParameter) use_to(used_ + mark->size());
    return go(At::kMark);
  }

  /// What a broken call has left; only a mark that closes it tells that it was no text.
  bool take_passing() {
    const auto mark = find_mark({mark_.close, kEndFunction, mark_.open});
    if (!mark) return false;
    if (mark == mark_.open) {
      use_to(passed_from_);
      return stop();
    }
    use_to(used_ + mark->size());
    begun_ = false;
    return mark == kEndFunction ? go(At::kMark) : stop(/*is_closed=*/true);
  }

  const CallMark mark_;
  const std::vector<AnswerFunction>& functions_;
  CallSink& sink_;
  At at_;
  std::string held_;             // all text so far
  std::size_t used_ = 0;         // of it
  std::size_t searched_ = 0;     // of it, for the next mark
  std::size_t passed_from_ = 0;  // where the current broken call's rest begins
  std::string_view found_;       // in front of the mark that was found
  const AnswerFunction* function_ = nullptr;
  std::string key_;
  int n_values_ = 0;
  bool begun_ = false;      // the sink knows of the current call
  bool has_begun_ = false;  // or of one before it
  bool is_done_ = false;
  bool is_closed_ = false;
  std::string rest_;
};

}  // namespace

std::unique_ptr<CallReader> make_xml_calls(const CallMark& mark, const std::vector<AnswerFunction>& functions,
                                           CallSink& sink) {
  return std::make_unique<XmlCalls>(mark, functions, sink);
}

}  // namespace commissure
