#include "api/plain_text.h"

#include <algorithm>

#include "core/index.h"
#include "text/utf8.h"

namespace commissure {

namespace {

/// Behind the first character, not before it: a template that cuts a text at a spelling must not leave the mark alone
/// in front of its own control token.
std::string marked_text(std::string_view text, const Tokenizer& tokenizer, std::string_view mark) {
  std::string result;
  std::size_t done = 0;
  for (const std::size_t place : tokenizer.control_places(text)) {
    const std::size_t end = place + to_size(decode_code_point(text, place).n_bytes);
    result.append(text.substr(done, end - done)).append(mark);
    done = end;
  }
  return result.append(text.substr(done));
}

std::size_t previous_code_point(std::string_view text) {
  std::size_t begin = text.size();
  while (begin > 0 && (static_cast<unsigned char>(text[--begin]) & 0xC0) == 0x80) {
  }
  return begin;
}

}  // namespace

std::string unused_mark(const Json& value) {
  const std::string all = dump_json(value);
  for (char32_t noncharacter = 0xFDD0; noncharacter <= 0xFDEF; ++noncharacter) {
    std::string mark;
    append_code_point(mark, noncharacter);
    if (all.find(mark) == std::string::npos) return mark;
  }
  return "";
}

Json with_marks(const Json& value, const Tokenizer& tokenizer, std::string_view mark) {
  if (value.is_string()) return marked_text(value.get_ref<const std::string&>(), tokenizer, mark);
  if (value.is_array()) {
    Json result = Json::array();
    for (const Json& entry : value) result.push_back(with_marks(entry, tokenizer, mark));
    return result;
  }
  if (!value.is_object()) return value;
  Json::object_t members;
  for (const auto& [name, member] : value.items())
    members.emplace_back(marked_text(name, tokenizer, mark), with_marks(member, tokenizer, mark));
  return members;
}

ChatPrompt without_marks(std::string_view text, std::string_view mark) {
  ChatPrompt prompt;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(mark, begin), text.size());
    prompt.text.append(text.substr(begin, end - begin));
    if (end == text.size()) break;
    if (!prompt.text.empty()) {  // else the template cut off what the mark stood behind
      const std::size_t place = previous_code_point(prompt.text);
      if (prompt.plain_at.empty() || prompt.plain_at.back() < place) prompt.plain_at.push_back(place);
    }
    begin = end + mark.size();
  }
  return prompt;
}

}  // namespace commissure
