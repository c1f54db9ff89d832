#include <utility>

#include "answer/call_reader.h"
#include "answer/json_value.h"
#include "answer/spaces.h"

namespace commissure {

namespace {

/// Calls as JSON, byte by byte, so that arguments leave as they come: a parser of whole values would hold them back.
class JsonCalls final : public ByteReader {
 public:
  JsonCalls(const CallMark& mark, CallSink& sink) : ByteReader(mark), sink_(sink) {}

 private:
  enum class At { kStart, kBareName, kKey, kInKey, kColon, kValueStart, kValue, kNext, kAfter, kSeparator, kPassing };
  enum class Role { kName, kArguments, kOther };

  bool take(char c) override {
    if (is_new() && in_element_ && !begun_) element_ += c;
    switch (at_) {
      case At::kBareName: return take_bare_name(c);
      case At::kInKey: return take_in_key(c);
      case At::kValue: return take_in_value(c);
      case At::kSeparator: return take_separator(c);
      case At::kPassing: return take_passing(c);
      default: break;
    }
    if (at_ == At::kAfter && mark().form == CallForm::kTagged && (c != '{' || may_be_closing())) return take_behind(c);
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
      in_element_ = true;
      element_ = c;
      return go(At::kKey);
    }
    if (mark().form != CallForm::kJsonList) return fail();
    if (c == '[' && !in_list_) return in_list_ = true;
    if (c == ']' && in_list_) return end_list();
    if (in_list_) return fail();
    at_ = At::kBareName;
    return false;
  }

  /// NAME, perhaps [CALL_ID] or [ARGS] behind it, then the arguments.
  bool take_bare_name(char c) {
    if (c != '{') {
      const bool is_name = value_.find('[') == std::string::npos;
      if (is_name && is_name_byte(c) && !value_.empty() && is_space(value_.back())) return fail();
      if (is_name && c != '[' && !is_name_byte(c) && !is_space(c)) return fail();
      value_ += c;
      return value_.size() <= kMaxNameBytes || fail();
    }
    const std::string name(trimmed(value_.substr(0, value_.find('['))));
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
    if (mark().open.empty() && !begun_ && !is_known) return fail();  // an answer that is JSON, no call
    begin_value(key_ == "name" ? Role::kName : is_arguments ? Role::kArguments : Role::kOther, c);
    return false;
  }

  void begin_value(Role role, char first) {
    role_ = role;
    is_container_ = first == '{' || first == '[';
    json_ = JsonValue();
    value_.clear();
    at_ = At::kValue;
  }

  bool take_in_value(char c) {
    std::string json;
    const JsonValue::Took took = json_.take(c, json);
    if (took == JsonValue::Took::kFault) return fail();
    if (role_ == Role::kArguments && is_container_) {
      give(json);
    } else if (role_ != Role::kOther) {
      value_ += json;
    }
    if (took == JsonValue::Took::kMore) return true;
    return end_value() && took == JsonValue::Took::kLast;
  }

  /// Whether it may stand there.
  bool end_value() {
    at_ = At::kNext;
    if (role_ == Role::kName && !begun_ && !is_unknown_) {
      const auto name = parse_json(value_);
      if (!name || !name->is_string()) return fail();
      is_unknown_ = !begin_call(name->get<std::string>());
      if (is_unknown_ && is_bare_answer()) return fail();
    } else if (role_ == Role::kArguments && !is_container_ && !give_text()) {
      return fail();
    }
    if (!is_bare_) return true;
    complete_call();
    return end_list();
  }

  /// Arguments that are JSON within JSON, or that are none: whether they are any of these.
  bool give_text() {
    if (value_ == "null") return true;
    const auto text = parse_json(value_);
    if (!text || !text->is_string()) return false;
    const auto inner = as_json(text->get_ref<const std::string&>());
    if (!inner) return trimmed(text->get_ref<const std::string&>()).empty();
    if (inner->front() == '{' || inner->front() == '[') give(*inner);
    return has_arguments_ || *inner == "null";
  }

  bool close_object() {
    if (--n_open_ > 0) return go(At::kNext);
    if (begun_) {
      complete_call();
    } else if (is_bare_answer()) {
      return fail();
    } else {
      sink_.no_call(element_);
      forget_call();
    }
    return go(At::kAfter);
  }

  bool take_after(char c) {
    if (c == '}' || (c == ']' && !in_list_)) return true;  // one too many
    if (is_over_) return fail();
    if (in_list_) return c == ',' ? go(At::kStart) : c == ']' ? end_list() : fail();
    if (mark().form == CallForm::kJsonObject && (c == ';' || c == ',')) {
      rest_ = c;
      return go(At::kSeparator);
    }
    if (c != '{') return fail();
    at_ = At::kStart;
    return false;
  }

  /// What divides two calls of CallForm::kJsonObject is text unless another one follows.
  bool take_separator(char c) {
    if (is_space(c)) {
      rest_ += c;
      return true;
    }
    if (c != '{') return stop();
    rest_.clear();
    at_ = At::kStart;
    return false;
  }

  bool end_list() {
    in_list_ = false;
    is_over_ = true;
    return go(At::kAfter);
  }

  /// The byte has no place here.
  bool fail() {
    flush();
    const bool is_broken = begun_;
    if (!begun_ && !element_.empty()) {
      element_.pop_back();  // this byte
      sink_.no_call(element_);
    }
    forget_call();
    if (!is_broken || mark().close.empty()) return stop();
    at_ = At::kPassing;
    return false;
  }

  /// No call has come, and nothing but JSON tells the text from one.
  bool is_bare_answer() const { return mark().open.empty() && !has_begun_; }

  bool begin_call(const std::string& name) {
    if (!sink_.begin(name)) return false;
    begun_ = has_begun_ = true;
    in_element_ = false;
    element_.clear();
    out_ = std::exchange(held_, {});
    return true;
  }

  void give(std::string_view arguments) {
    if (!is_unknown_) (begun_ ? out_ : held_) += arguments;
    has_arguments_ = true;
  }

  void flush() override {
    if (begun_ && !out_.empty()) sink_.arguments(std::exchange(out_, {}));
  }

  /// Of an object that names no function yet; in front of the first call it is the parser who has kept it.
  std::string pending() override {
    return has_begun_ && in_element_ ? std::exchange(element_, {}) : ByteReader::pending();
  }

  void forget_prompt() override { element_.clear(); }

  void complete_call() {
    if (!has_arguments_) give("{}");
    flush();
    sink_.end();
    forget_call();
  }

  void forget_call() {
    begun_ = has_arguments_ = is_unknown_ = in_element_ = false;
    held_.clear();
    value_.clear();
    element_.clear();
  }

  CallSink& sink_;
  At at_ = At::kStart;
  Role role_ = Role::kOther;
  bool in_list_ = false;
  bool is_over_ = false;       // no further call may follow
  bool is_bare_ = false;       // NAME[ARGS]{...}
  int n_open_ = 0;             // objects around the current key
  bool is_container_ = false;  // whether the current value is an object or a list
  JsonValue json_;             // the current value
  bool escaped_ = false;
  bool begun_ = false;          // whether the sink knows of the current call
  bool has_begun_ = false;      // or of one before it
  bool is_unknown_ = false;     // whether the current object names no function
  bool has_arguments_ = false;  // whether arguments of the current call came
  std::string key_, value_;     // as written, without and with quotes
  bool in_element_ = false;     // an object whose call has not begun
  std::string element_;         // of it so far, without what stands in the prompt
  std::string held_;            // arguments that came before the name
  std::string out_;             // arguments for the sink
};

}  // namespace

std::unique_ptr<CallReader> make_json_calls(const CallMark& mark, CallSink& sink) {
  return std::make_unique<JsonCalls>(mark, sink);
}

}  // namespace commissure
