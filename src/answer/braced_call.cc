#include <utility>

#include "answer/call_reader.h"
#include "answer/json_value.h"
#include "answer/spaces.h"

namespace commissure {

namespace {

constexpr std::string_view kCall = "call:";

/// A value without quotes: JSON where it is some, else a text.
std::string bare_value(std::string_view text) {
  const std::string_view value = trimmed(text);
  return as_json(value).value_or(json_string(value));
}

/// call:NAME{key:<quote>text<quote>,key:1,key:{...},key:[...]}, turned into JSON as it comes. Gemma sorts the keys and
/// spells them without quotes.
class BracedCall final : public ByteReader {
 public:
  BracedCall(const CallMark& mark, std::string quote, CallSink& sink)
      : ByteReader(mark), quote_(std::move(quote)), sink_(sink) {}

 private:
  enum class At { kHead, kKey, kValue, kBare, kText, kQuoted, kNext, kBehind, kPassing };

  bool take(char c) override {
    if (at_ == At::kBehind) return take_behind(c);
    const bool is_quoted = at_ == At::kText || at_ == At::kQuoted;
    // The marks are no part of the call, wherever they stand.
    if (ends_with(mark().close) || (!is_quoted && ends_with(mark().open)) || at_ == At::kPassing)
      return take_passing(c);
    switch (at_) {
      case At::kHead: return take_head(c);
      case At::kKey: return take_key(c);
      case At::kValue: return take_value(c);
      case At::kBare: return take_bare(c);
      case At::kText: return take_text(c);
      case At::kQuoted: return take_quoted(c);
      default: return take_next(c);
    }
  }

  bool go(At at) {
    at_ = at;
    word_.clear();
    return true;
  }

  bool take_head(char c) {
    if (c != '{') {
      const bool is_apart = !word_.empty() && is_space(word_.back()) && !trimmed(word_).empty();
      if (is_apart && !is_space(c) && trimmed(word_) != kCall) return stop();
      if (!is_space(c) && !is_name_byte(c) && c != ':') return stop();
      word_ += c;
      return word_.size() <= kMaxNameBytes || stop();
    }
    std::string_view name = trimmed(word_);
    if (name.starts_with(kCall)) name = trimmed(name.substr(kCall.size()));
    begun_ = sink_.begin(std::string(name));
    return begun_ ? open(c) : stop();
  }

  bool open(char c) {
    if (brackets_.size() == JsonValue::kMaxDepth) return pass_over();
    brackets_ += c;
    is_first_ = true;
    write(std::string_view(&c, 1));
    return go(c == '{' ? At::kKey : At::kValue);
  }

  bool close(char c) {
    if (brackets_.empty() || brackets_.back() != (c == '}' ? '{' : '[')) return pass_over();
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
    if (c == '}') return trimmed(word_).empty() ? close(c) : pass_over();
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
    write(as_json(word_).value_or(json_string(inner)));
    return go(At::kNext);
  }

  bool take_next(char c) {
    if (is_space(c)) return true;
    if (c == '}' || c == ']') return close(c);
    if (c != ',') return pass_over();
    return go(brackets_.back() == '{' ? At::kKey : At::kValue);
  }

  /// The byte has no place here: the call is broken.
  bool pass_over() {
    flush();
    begun_ = false;
    go(At::kPassing);
    return false;
  }

  void write(std::string_view json) { out_ += json; }

  void flush() override {
    if (begun_ && !out_.empty()) sink_.arguments(std::exchange(out_, {}));
  }

  const std::string quote_;
  CallSink& sink_;
  At at_ = At::kHead;
  std::string word_;      // the name, key or value that is being read
  std::string brackets_;  // open ones
  bool is_first_ = true;  // nothing stands in the innermost of them yet
  bool begun_ = false;
  bool escaped_ = false;  // the next byte of a text in JSON's quotes is
  std::string out_;       // JSON for the sink
};

}  // namespace

std::unique_ptr<CallReader> make_braced_call(const CallMark& mark, std::string quote, CallSink& sink) {
  return std::make_unique<BracedCall>(mark, std::move(quote), sink);
}

}  // namespace commissure
