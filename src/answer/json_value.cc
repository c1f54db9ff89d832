#include "answer/json_value.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "answer/spaces.h"
#include "core/json.h"

namespace commissure {

namespace {

constexpr std::string_view kNoCharacter = "\\ufffd";

bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_word_byte(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '+' || c == '-' || c == '.';
}

bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

/// Of "\uXXXX".
unsigned code_unit(std::string_view escape) {
  unsigned unit = 0;
  std::from_chars(escape.data() + 2, escape.data() + escape.size(), unit, 16);
  return unit;
}

}  // namespace

JsonValue::Took JsonValue::take(char c, std::string& json) {
  if (quote_ != '\0') return take_in_text(c, json);
  if (!word_.empty()) {
    if (is_word_byte(c)) {
      word_ += c;
      return Took::kMore;
    }
    if (!end_word(json)) return Took::kFault;
    if (open_.empty()) return Took::kBehind;
  }
  if (is_space(c)) {
    json += c;
    return Took::kMore;
  }
  switch (wants_) {
    case Wants::kFirstElement:
      if (c == ']') return close(c, json);
      [[fallthrough]];
    case Wants::kValue: return begin_value(c, json);
    case Wants::kFirstKey:
      if (c == '}') return close(c, json);
      [[fallthrough]];
    case Wants::kKey: is_key_ = true; return c == '"' || c == '\'' ? begin_value(c, json) : Took::kFault;
    case Wants::kColon:
      if (c != ':') return Took::kFault;
      wants_ = Wants::kValue;
      break;
    case Wants::kNext:
      if (c != ',') return close(c, json);
      wants_ = open_.back() == '{' ? Wants::kKey : Wants::kValue;
      break;
  }
  json += c;
  return Took::kMore;
}

JsonValue::Took JsonValue::begin_value(char c, std::string& json) {
  if (c == '"' || (c == '\'' && takes_single_quotes_)) {
    quote_ = c;
    json += '"';
    return Took::kMore;
  }
  if (c == '{' || c == '[') {
    if (open_.size() == kMaxDepth) return Took::kFault;
    open_ += c;
    wants_ = c == '{' ? Wants::kFirstKey : Wants::kFirstElement;
    json += c;
    return Took::kMore;
  }
  if (!is_word_byte(c)) return Took::kFault;
  word_ = c;
  return Took::kMore;
}

JsonValue::Took JsonValue::close(char c, std::string& json) {
  if (open_.empty() || c != (open_.back() == '{' ? '}' : ']')) return Took::kFault;
  open_.pop_back();
  json += c;
  return end_value();
}

JsonValue::Took JsonValue::end_value() {
  wants_ = Wants::kNext;
  return open_.empty() ? Took::kLast : Took::kMore;
}

bool JsonValue::end_word(std::string& json) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kWords = {
      {{"true", "true"}, {"false", "false"}, {"null", "null"}, {"True", "true"}, {"False", "false"}, {"None", "null"}}};
  const std::string word = std::exchange(word_, {});
  wants_ = Wants::kNext;
  if (is_digit(word[0]) || word[0] == '-') {
    json += word;
    return Json::accept(word);
  }
  const auto found = std::ranges::find(kWords, word, &std::pair<std::string_view, std::string_view>::first);
  if (found == kWords.end()) return false;
  json += found->second;
  return true;
}

JsonValue::Took JsonValue::take_in_text(char c, std::string& json) {
  if (!escape_.empty()) return take_escape(c, json);
  if (c == '\\') {
    escape_ = c;
    return Took::kMore;
  }
  end_half(json);
  if (c == quote_) {
    quote_ = '\0';
    json += '"';
    if (!std::exchange(is_key_, false)) return end_value();
    wants_ = Wants::kColon;
    return Took::kMore;
  }
  if (c == '"') {  // between single quotes
    json += "\\\"";
  } else if (static_cast<unsigned char>(c) < 0x20) {
    const std::string quoted = json_string(std::string_view(&c, 1));
    json += quoted.substr(1, quoted.size() - 2);
  } else {
    json += c;
  }
  return Took::kMore;
}

JsonValue::Took JsonValue::take_escape(char c, std::string& json) {
  escape_ += c;
  if (escape_.size() == 2 && c != 'u') {
    end_half(json);
    const bool is_quote = c == '\'' && quote_ == '\'';
    if (!is_quote && std::string_view("\"\\/bfnrt").find(c) == std::string_view::npos) return Took::kFault;
    json += is_quote ? "'" : escape_;
    escape_.clear();
    return Took::kMore;
  }
  if (escape_.size() > 2 && !is_hex(c)) return Took::kFault;
  if (escape_.size() < 6) return Took::kMore;
  const std::string escape = std::exchange(escape_, {});
  const unsigned unit = code_unit(escape);
  if (unit >= 0xdc00 && unit < 0xe000) {
    json += high_half_.empty() ? std::string(kNoCharacter) : std::exchange(high_half_, {}) + escape;
    return Took::kMore;
  }
  end_half(json);
  (unit >= 0xd800 && unit < 0xdc00 ? high_half_ : json) += escape;
  return Took::kMore;
}

/// The other half of a surrogate pair did not come.
void JsonValue::end_half(std::string& json) {
  if (!std::exchange(high_half_, {}).empty()) json += kNoCharacter;
}

std::optional<std::string> as_json(std::string_view text, bool takes_single_quotes) {
  text = trimmed(text);
  JsonValue value(takes_single_quotes);
  std::string json;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto took = value.take(text[i], json);
    if (took == JsonValue::Took::kMore) continue;
    if (took == JsonValue::Took::kLast && i + 1 == text.size()) return json;
    return std::nullopt;
  }
  if (text.empty() || value.take(' ', json) != JsonValue::Took::kBehind) return std::nullopt;  // a word's end
  return json;
}

std::string json_string(std::string_view text) { return dump_json(Json(std::string(text))); }

}  // namespace commissure
