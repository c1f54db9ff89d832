#include <algorithm>
#include <utility>

#include "answer/call_reader.h"
#include "answer/spaces.h"

namespace commissure {

namespace {

/// Deepest value that is followed; below it the call is cut off.
constexpr std::size_t kMaxDepth = 128;

/// A value without quotes: JSON where it is some, else a text.
std::string bare_value(std::string_view text) {
  const std::string value(trimmed(text));
  return parse_json(value) ? value : json_string(value);
}

/// call:NAME{key:<quote>text<quote>,key:1,key:{...},key:[...]}, turned into JSON as it comes. Gemma sorts the keys and
/// spells them without quotes.
class BracedCall final : public CallReader {
 public:
  BracedCall(const CallMark& mark, std::string quote, CallSink& sink)
      : mark_(mark), quote_(std::move(quote)), sink_(sink), end_(mark) {}

  std::size_t push(std::string_view text) override {
    std::size_t n = 0;
    while (n < text.size() && at_ != At::kDone) {
      if (take(text[n])) ++n;
    }
    flush();
    return n;
  }

  bool is_done() const override { return at_ == At::kDone; }

  std::string rest() override { return std::exchange(rest_, {}); }

 private:
  enum class At { kHead, kKey, kValue, kBare, kText, kQuoted, kNext, kBehind, kPassing, kDone };

  bool take(char c) {
    if (at_ == At::kBehind) return take_behind(c);
    if (at_ == At::kPassing) return take_passing(c);
    // The mark that closes the call is no part of it, wherever it stands.
    recent_ += c;
    if (recent_.size() > mark_.close.size()) recent_.erase(0, 1);
    if (recent_ == mark_.close) return go(At::kDone);
    switch (at_) {
      case At::kHead: return take_head(c);
      case At::kKey: return take_key(c);
      case At::kValue: return take_value(c);
      case At::kBare: return take_bare(c);
      case At::kText: return take_text(c);
      case At::kQuoted: return take_quoted(c);
      case At::kNext: return take_next(c);
      default: return false;
    }
  }

  bool go(At at) {
    at_ = at;
    word_.clear();
    return true;
  }

  bool take_head(char c) {
    if (c != '{') {
      word_ += c;
      return true;
    }
    std::string name(trimmed(word_));
    if (name.starts_with("call:")) name = std::string(trimmed(std::string_view(name).substr(5)));
    begun_ = sink_.begin(name);
    return begun_ ? open(c) : pass_over(c);
  }

  bool open(char c) {
    if (brackets_.size() == kMaxDepth) return pass_over(c);
    brackets_ += c;
    is_first_ = true;
    write(std::string_view(&c, 1));
    return go(c == '{' ? At::kKey : At::kValue);
  }

  bool close(char c) {
    if (brackets_.empty() || brackets_.back() != (c == '}' ? '{' : '[')) return pass_over(c);
    brackets_.pop_back();
    is_first_ = false;
    write(std::string_view(&c, 1));
    if (!brackets_.empty()) return go(At::kNext);
    flush();
    sink_.end();
    begun_ = false;
    return go(At::kBehind);
  }

  void begin_member() {
    if (!std::exchange(is_first_, false)) write(",");
  }

  bool take_key(char c) {
    if (c == '}') return trimmed(word_).empty() ? close(c) : pass_over(c);
    if (c != ':') {
      word_ += c;
      return true;
    }
    std::string key(trimmed(word_));
    if (key.starts_with(quote_)) key.erase(0, quote_.size());
    if (key.ends_with(quote_)) key.erase(key.size() - quote_.size());
    if (key.size() >= 2 && key.front() == '"' && key.back() == '"') key = key.substr(1, key.size() - 2);
    begin_member();
    write(json_string(key) + ":");
    return go(At::kValue);
  }

  bool take_value(char c) {
    if (word_.empty() && is_space(c)) return true;
    const bool is_element = brackets_.back() == '[';
    if (word_.empty() && (c == '{' || c == '[')) {
      if (is_element) begin_member();
      return open(c);
    }
    if (word_.empty() && c == ']' && is_element) return close(c);
    if (word_.empty() && c == '"') {
      if (is_element) begin_member();
      at_ = At::kQuoted;
    }
    word_ += c;
    if (at_ == At::kQuoted) return true;
    if (word_ == quote_) {
      if (is_element) begin_member();
      return go(At::kText);
    }
    if (quote_.starts_with(word_)) return true;  // perhaps the quote
    word_.pop_back();
    at_ = At::kBare;
    return false;
  }

  bool take_bare(char c) {
    if (c != ',' && c != '}' && c != ']') {
      word_ += c;
      return true;
    }
    if (brackets_.back() == '[') begin_member();
    write(bare_value(word_));
    go(At::kNext);
    return false;
  }

  bool take_text(char c) {
    word_ += c;
    if (!word_.ends_with(quote_)) return true;
    write(json_string(std::string_view(word_).substr(0, word_.size() - quote_.size())));
    return go(At::kNext);
  }

  /// A text in JSON's own quotes, which models write now and then.
  bool take_quoted(char c) {
    word_ += c;
    if (c != '"' || escaped_) {
      escaped_ = c == '\\' && !escaped_;
      return true;
    }
    const std::string_view inner = std::string_view(word_).substr(1, word_.size() - 2);
    write(parse_json(word_) ? word_ : json_string(inner));
    return go(At::kNext);
  }

  bool take_next(char c) {
    if (is_space(c)) return true;
    if (c == '}' || c == ']') return close(c);
    if (c != ',') return pass_over(c);
    return go(brackets_.back() == '{' ? At::kKey : At::kValue);
  }

  bool take_behind(char c) {
    switch (end_.push(c)) {
      case CallEnd::Found::kNothingYet: return true;
      case CallEnd::Found::kClose: return go(At::kDone);
      case CallEnd::Found::kOpen: recent_.clear(); return go(At::kHead);
      case CallEnd::Found::kText: rest_ = end_.take_held(); return go(At::kDone);
    }
    return true;
  }

  /// What is no call, or no more of one, as far as the mark that closes it.
  bool take_passing(char c) {
    recent_ += c;
    if (recent_.size() > mark_.close.size()) recent_.erase(0, 1);
    return recent_ != mark_.close || go(At::kDone);
  }

  /// The byte has no place here.
  bool pass_over(char) {
    flush();
    begun_ = false;
    return go(At::kPassing);
  }

  void write(std::string_view json) { out_ += json; }

  void flush() {
    if (begun_ && !out_.empty()) sink_.arguments(std::exchange(out_, {}));
  }

  const CallMark mark_;
  const std::string quote_;
  CallSink& sink_;
  At at_ = At::kHead;
  std::string word_;      // the name, key or value that is being read
  std::string brackets_;  // open ones
  bool is_first_ = true;  // nothing stands in the innermost of them yet
  bool begun_ = false;
  bool escaped_ = false;  // the next byte of a text in JSON's quotes is
  std::string recent_;    // the last bytes, as long as the mark that closes
  CallEnd end_;
  std::string rest_;
  std::string out_;  // JSON for the sink
};

}  // namespace

std::unique_ptr<CallReader> make_braced_call(const CallMark& mark, std::string quote, CallSink& sink) {
  return std::make_unique<BracedCall>(mark, std::move(quote), sink);
}

}  // namespace commissure
