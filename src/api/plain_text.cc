#include "api/plain_text.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <optional>

#include "core/index.h"
#include "jinja/value/python_text.h"
#include "text/utf8.h"

namespace commissure {

namespace {

/// Where its first character stands that is no space, when a control token's spelling goes on there. Spaces are what
/// templates trim.
std::optional<std::size_t> continued_at(std::string_view text, const Spellings& spellings) {
  const std::string_view rest = jinja::strip(text, jinja::Side::kBoth);
  if (rest.empty() || !spellings.continues(rest)) return std::nullopt;
  return to_size(rest.data() - text.data());
}

/// Behind the first character, not before it: a template that cuts a text at a spelling must not leave the mark alone
/// in front of its own control token.
std::string marked_text(std::string_view text, const Spellings& spellings, std::string_view mark,
                        bool may_continue = true) {
  std::vector<std::size_t> places = spellings.places(text);
  const auto continued = may_continue ? continued_at(text, spellings) : std::nullopt;
  if (continued && (places.empty() || places.front() > *continued)) places.insert(places.begin(), *continued);
  std::string result;
  std::size_t done = 0;
  for (const std::size_t place : places) {
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

std::vector<std::size_t> Spellings::places(std::string_view text) const {
  std::vector<std::size_t> all = tokenizer != nullptr ? tokenizer->control_places(text) : std::vector<std::size_t>();
  if (image.empty()) return all;
  const auto n_others = static_cast<std::ptrdiff_t>(all.size());
  for (std::size_t at = text.find(image.front()); at != text.npos; at = text.find(image.front(), at + 1)) {
    if (image.starts_with(text.substr(at, image.size()))) all.push_back(at);  // the end of the text may cut it off
  }
  std::inplace_merge(all.begin(), all.begin() + n_others, all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

bool Spellings::continues(std::string_view text) const {
  if (tokenizer != nullptr && tokenizer->continues_control(text)) return true;
  for (std::size_t i = 1; i < image.size(); ++i) {
    const std::string_view rest = image.substr(i);
    if (text.starts_with(rest) || rest.starts_with(text)) return true;
  }
  return false;
}

std::string unused_mark(const Json& value, std::string_view taken) {
  constexpr char32_t kFirst = 0xFDD0;
  constexpr std::string_view kCommon = "\xEF\xB7";  // what their UTF-8 begins with
  const std::string all = dump_json(value).append(taken);
  std::uint32_t seen = 0;
  for (std::size_t at = all.find(kCommon); at != std::string::npos; at = all.find(kCommon, at + 1)) {
    const char32_t found = decode_code_point(all, at).value;
    if (found >= kFirst && found < kFirst + 32) seen |= std::uint32_t{1} << (found - kFirst);
  }
  if (seen == ~std::uint32_t{0}) return "";
  std::string mark;
  append_code_point(mark, kFirst + static_cast<char32_t>(std::countr_one(seen)));
  return mark;
}

Json with_marks(const Json& value, const Spellings& spellings, std::string_view mark) {
  if (value.is_string()) return marked_text(value.get_ref<const std::string&>(), spellings, mark);
  if (value.is_array()) {
    Json result = Json::array();
    for (const Json& entry : value) result.push_back(with_marks(entry, spellings, mark));
    return result;
  }
  if (!value.is_object()) return value;
  Json::object_t members;
  for (const auto& [name, member] : value.items()) {
    const bool is_compared = member.is_string() && (name == "role" || name == "type");
    members.emplace_back(marked_text(name, spellings, mark, false),
                         is_compared ? Json(marked_text(member.get_ref<const std::string&>(), spellings, mark, false))
                                     : with_marks(member, spellings, mark));
  }
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
