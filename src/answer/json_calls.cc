#include <algorithm>
#include <utility>

#include "answer/call_reader.h"
#include "answer/spaces.h"

namespace commissure {

namespace {

/// Longest name that is looked for in front of arguments.
constexpr std::size_t kMaxBareName = 256;

/// Calls as JSON, byte by byte, so that arguments leave as they come: a parser of whole values would hold them back.
class JsonCalls final : public CallReader {
 public:
  JsonCalls(const CallMark& mark, CallSink& sink) : mark_(mark), sink_(sink), end_(mark) {}

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
  enum class At { kStart, kBareName, kKey, kInKey, kColon, kValueStart, kValue, kNext, kAfter, kClosing, kDone };
  enum class Role { kName, kArguments, kOther };

  /// Whether the byte was used up; else it is looked at again in the new state.
  bool take(char c) {
    switch (at_) {
      case At::kBareName: return take_bare_name(c);
      case At::kInKey: return take_in_key(c);
      case At::kValue: return take_in_value(c);
      case At::kClosing: return take_closing(c);
      case At::kDone: return false;
      default: break;
    }
    if (at_ == At::kAfter && mark_.form == CallForm::kTagged) return take_behind(c);
    if (is_space(c)) return true;
    switch (at_) {
      case At::kStart: return take_start(c);
      case At::kKey: return take_key(c);
      case At::kColon: return c == ':' ? go(At::kValueStart) : fail();
      case At::kValueStart: return take_value_start(c);
      case At::kNext: return c == ',' ? go(At::kKey) : c == '}' ? close_object() : fail();
      default: return take_after(c);
    }
  }

  bool go(At at) {
    at_ = at;
    return true;
  }

  bool take_start(char c) {
    if (c == '{') {
      n_open_ = 1;
      return go(At::kKey);
    }
    if (mark_.form != CallForm::kJsonList) return fail();
    if (c == '[' && !in_list_) return in_list_ = true;
    if (c == ']' && in_list_) return go(At::kDone);
    if (in_list_) return fail();
    at_ = At::kBareName;
    return false;
  }

  /// NAME, perhaps [CALL_ID] or [ARGS] behind it, then the arguments.
  bool take_bare_name(char c) {
    if (c != '{') {
      value_ += c;
      return value_.size() <= kMaxBareName || fail();
    }
    std::string name = value_.substr(0, value_.find('['));
    value_.clear();
    while (!name.empty() && is_space(name.back())) name.pop_back();
    if (!begin_call(name)) return fail();
    is_bare_ = true;
    begin_value(Role::kArguments, c);
    return false;
  }

  bool take_key(char c) {
    if (c == ',') return true;
    if (c == '}') return close_object();
    if (c != '"') return fail();
    key_.clear();
    return go(At::kInKey);
  }

  bool take_in_key(char c) {
    if (c == '"' && !escaped_) return go(At::kColon);
    escaped_ = c == '\\' && !escaped_;
    key_ += c;
    return true;
  }

  bool take_value_start(char c) {
    if (key_ == "function" && c == '{') {  // {"type": "function", "function": {...}}
      ++n_open_;
      return go(At::kKey);
    }
    const bool is_arguments = (key_ == "arguments" || key_ == "parameters") && !has_arguments_;
    const bool is_known = is_arguments || key_ == "name" || key_ == "type" || key_ == "id" || key_ == "function";
    if (mark_.open.empty() && !begun_ && !is_known) return fail();  // an answer that is JSON, no call
    begin_value(key_ == "name" ? Role::kName : is_arguments ? Role::kArguments : Role::kOther, c);
    return false;
  }

  void begin_value(Role role, char first) {
    role_ = role;
    is_container_ = first == '{' || first == '[';
    is_text_ = first == '"';
    nesting_ = 0;
    in_text_ = escaped_ = false;
    value_.clear();
    at_ = At::kValue;
  }

  bool take_in_value(char c) {
    if (!is_container_ && !is_text_ && (c == ',' || c == '}' || c == ']' || is_space(c))) {
      end_value();
      return false;
    }
    if (role_ == Role::kArguments && is_container_) {
      give(std::string_view(&c, 1));
    } else {
      value_ += c;
    }
    if (in_text_) {
      in_text_ = c != '"' || escaped_;
      escaped_ = c == '\\' && !escaped_;
      if (!in_text_ && nesting_ == 0) end_value();
      return true;
    }
    if (c == '"') in_text_ = true;
    if (c == '{' || c == '[') ++nesting_;
    if ((c == '}' || c == ']') && --nesting_ == 0) end_value();
    return true;
  }

  void end_value() {
    at_ = At::kNext;
    if (role_ == Role::kName && !begun_) {
      const auto name = parse_json(value_);
      if (!name || !name->is_string() || !begin_call(name->get<std::string>())) {
        fail();
        return;
      }
    } else if (role_ == Role::kArguments && !is_container_) {
      const auto text = parse_json(value_);
      if (text && text->is_string()) give(text->get_ref<const std::string&>());  // JSON within JSON
    }
    if (!is_bare_) return;
    complete_call();
    at_ = At::kDone;
  }

  bool close_object() {
    if (--n_open_ > 0) return go(At::kNext);
    if (!begun_) {
      fail();
      return true;
    }
    complete_call();
    return go(At::kAfter);
  }

  bool take_after(char c) {
    if (in_list_) return c == ',' ? go(At::kStart) : c == ']' ? go(At::kDone) : fail();
    if (mark_.form == CallForm::kJsonObject && (c == ';' || c == ',')) return go(At::kStart);
    if (c != '{') return fail();
    at_ = At::kStart;
    return false;
  }

  /// Behind a call between marks.
  bool take_behind(char c) {
    if (c == '{') {
      at_ = At::kStart;
      return false;
    }
    switch (end_.push(c)) {
      case CallEnd::Found::kNothingYet: return true;
      case CallEnd::Found::kClose: return go(At::kDone);
      case CallEnd::Found::kOpen: return go(At::kStart);
      case CallEnd::Found::kText: rest_ = end_.take_held(); return go(At::kDone);
    }
    return true;
  }

  /// What is no call is passed over as far as the mark that closes it, or a mark that opens another.
  bool take_closing(char c) {
    tail_ += c;
    const std::size_t longest = std::max(mark_.open.size(), mark_.close.size());
    if (tail_.size() > longest) tail_.erase(0, tail_.size() - longest);
    if (tail_.ends_with(mark_.close)) return go(At::kDone);
    if (!mark_.open.empty() && tail_.ends_with(mark_.open)) return go(At::kStart);
    return true;
  }

  /// The byte has no place here.
  bool fail() {
    flush();
    forget_call();
    tail_.clear();
    at_ = mark_.close.empty() ? At::kDone : At::kClosing;
    return false;
  }

  bool begin_call(const std::string& name) {
    if (!sink_.begin(name)) return false;
    begun_ = true;
    out_ = std::exchange(held_, {});
    return true;
  }

  void give(std::string_view arguments) {
    (begun_ ? out_ : held_) += arguments;
    has_arguments_ = true;
  }

  void flush() {
    if (begun_ && !out_.empty()) sink_.arguments(std::exchange(out_, {}));
  }

  void complete_call() {
    if (!has_arguments_) give("{}");
    flush();
    sink_.end();
    forget_call();
  }

  void forget_call() {
    begun_ = has_arguments_ = false;
    held_.clear();
    value_.clear();
  }

  const CallMark mark_;
  CallSink& sink_;
  At at_ = At::kStart;
  Role role_ = Role::kOther;
  bool in_list_ = false;
  bool is_bare_ = false;       // NAME[ARGS]{...}
  int n_open_ = 0;             // objects around the current key
  int nesting_ = 0;            // within the current value
  bool is_container_ = false;  // whether the current value is an object or a list
  bool is_text_ = false;       // whether it is a string
  bool in_text_ = false;       // whether the next byte belongs to a string
  bool escaped_ = false;
  bool begun_ = false;          // whether the sink knows of the current call
  bool has_arguments_ = false;  // whether arguments of the current call came
  std::string key_, value_;     // as written, without and with quotes
  std::string held_;            // arguments that came before the name
  std::string out_;             // arguments for the sink
  CallEnd end_;
  std::string rest_;
  std::string tail_;  // of what is passed over
};

}  // namespace

std::unique_ptr<CallReader> make_json_calls(const CallMark& mark, CallSink& sink) {
  return std::make_unique<JsonCalls>(mark, sink);
}

}  // namespace commissure
