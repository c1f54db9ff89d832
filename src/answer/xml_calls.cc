#include <algorithm>
#include <optional>
#include <utility>

#include "answer/call_reader.h"
#include "answer/spaces.h"

namespace commissure {

namespace {

constexpr std::string_view kFunction = "<function=", kParameter = "<parameter=";
constexpr std::string_view kEndFunction = "</function>", kEndParameter = "</parameter>";

/// Without one line break at either end.
std::string_view without_breaks(std::string_view text) {
  if (text.starts_with('\n')) text.remove_prefix(1);
  if (text.ends_with('\n')) text.remove_suffix(1);
  return text;
}

/// The schema of a function's parameter; null: none is given.
const Json* schema_of(const Json& tools, std::string_view function, std::string_view parameter) {
  for (const Json& tool : tools) {
    const Json* inner = find_member(tool, "function");
    const Json* name = inner == nullptr ? nullptr : find_member(*inner, "name");
    if (name == nullptr || *name != function) continue;
    const Json* parameters = find_member(*inner, "parameters");
    const Json* properties = parameters == nullptr ? nullptr : find_member(*parameters, "properties");
    return properties == nullptr ? nullptr : find_member(*properties, parameter);
  }
  return nullptr;
}

/// The value as JSON: a text where the schema takes texts, or says nothing of types; else what was written, where that
/// is JSON.
std::string value_json(const Json* schema, std::string_view text) {
  const std::string_view bare = trimmed(text);
  const auto takes = [&](const Json& type) { return type == "string" || (type == "null" && bare == "null"); };
  bool is_text = true;
  if (schema != nullptr) {
    const Json* type = find_member(*schema, "type");
    if (type == nullptr) {
      is_text = std::ranges::none_of(std::initializer_list<const char*>{"$ref", "anyOf", "oneOf", "allOf", "enum"},
                                     [&](const char* key) { return schema->contains(key); });
    } else if (type->is_array()) {
      is_text =
          std::ranges::find(*type, "string") != type->end() && !(bare == "null" && std::ranges::any_of(*type, takes));
    } else {
      is_text = *type == "string";
    }
  }
  return !is_text && parse_json(bare) ? std::string(bare) : json_string(text);
}

/// <function=NAME> <parameter=KEY> VALUE </parameter> ... </function>. A parameter leaves when it is whole, since only
/// its end tells whether a line break belongs to the value.
class XmlCalls final : public CallReader {
 public:
  XmlCalls(const CallMark& mark, const Json& tools, CallSink& sink) : mark_(mark), tools_(tools), sink_(sink) {}

  std::size_t push(std::string_view text) override {
    const std::size_t before = held_.size();
    held_ += text;
    while (step()) {
    }
    if (!done_) return text.size();
    if (used_ < before) {  // it turned out only now that earlier text belongs to no call
      rest_ = held_.substr(used_, before - used_);
      used_ = before;
    }
    return used_ - before;
  }

  bool is_done() const override { return done_; }

  std::string rest() override { return done_ ? std::exchange(rest_, {}) : std::string(); }

 private:
  /// The text up to `mark` where it stands in what is held, which then goes on behind it. Each byte is searched once.
  std::optional<std::string_view> take_until(std::string_view mark) {
    const std::size_t found = held_.find(mark, std::max(searched_, used_));
    if (found == std::string::npos) {
      searched_ = held_.size() - std::min(held_.size(), mark.size() - 1);
      return std::nullopt;
    }
    const std::string_view text = std::string_view(held_).substr(used_, found - used_);
    used_ = found + mark.size();
    searched_ = used_;
    return text;
  }

  /// The first of the marks that stands, or might stand, behind spaces; nothing while that is open.
  std::optional<std::string_view> next_mark(std::initializer_list<std::string_view> marks) {
    const std::size_t start = held_.find_first_not_of(kSpaces, used_);
    used_ = std::min(start, held_.size());
    if (used_ == held_.size()) return std::nullopt;
    const std::string_view rest = std::string_view(held_).substr(start);
    for (const std::string_view mark : marks) {
      if (rest.starts_with(mark)) {
        used_ = start + mark.size();
        searched_ = used_;
        return mark;
      }
      if (mark.starts_with(rest)) return std::nullopt;
    }
    return "";
  }

  bool step() {
    if (done_) return false;
    if (passes_over_) return end_at_close();
    if (is_in_value_) return take_value();
    if (is_in_key_) return take_key();
    if (is_in_name_) return take_name();
    const auto mark = begun_ ? next_mark({kParameter, kEndFunction}) : next_mark({kFunction, mark_.close, mark_.open});
    if (!mark) return false;
    if (*mark == kFunction) {
      is_in_name_ = true;
    } else if (*mark == kParameter) {
      is_in_key_ = true;
    } else if (*mark == kEndFunction) {
      sink_.arguments("}");
      sink_.end();
      begun_ = false;
      n_values_ = 0;
      ++n_whole_;
    } else if (*mark == mark_.close) {
      done_ = true;
    } else if (mark->empty()) {
      done_ = !begun_ && n_whole_ > 0;  // text behind a call
      passes_over_ = !done_;
    }
    return true;
  }

  bool take_name() {
    const auto name = take_until(">");
    if (!name) return false;
    is_in_name_ = false;
    name_ = trimmed(*name);
    begun_ = sink_.begin(name_);
    passes_over_ = !begun_;
    if (begun_) sink_.arguments("{");
    return true;
  }

  bool take_key() {
    const auto key = take_until(">");
    if (!key) return false;
    is_in_key_ = false;
    is_in_value_ = true;
    key_ = trimmed(*key);
    return true;
  }

  bool take_value() {
    const auto found = take_until(kEndParameter);
    if (!found) return false;
    is_in_value_ = false;
    const std::string_view value = without_breaks(*found);
    std::string text = n_values_++ > 0 ? ", " : "";
    text += json_string(key_) + ": ";
    sink_.arguments(text + value_json(schema_of(tools_, name_, key_), value));
    return true;
  }

  bool end_at_close() {
    if (!take_until(mark_.close)) return false;
    done_ = true;
    return true;
  }

  const CallMark mark_;
  const Json& tools_;
  CallSink& sink_;
  std::string held_;          // all text so far
  std::size_t used_ = 0;      // of it
  std::size_t searched_ = 0;  // of it, for the next mark
  std::string name_, key_;
  int n_values_ = 0;
  int n_whole_ = 0;     // calls so far
  bool begun_ = false;  // the sink knows of the current call
  bool is_in_name_ = false, is_in_key_ = false, is_in_value_ = false;
  bool passes_over_ = false;  // what is no call
  bool done_ = false;
  std::string rest_;
};

}  // namespace

std::unique_ptr<CallReader> make_xml_calls(const CallMark& mark, const Json& tools, CallSink& sink) {
  return std::make_unique<XmlCalls>(mark, tools, sink);
}

}  // namespace commissure
