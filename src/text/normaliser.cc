#include "text/normaliser.h"

#include <utility>

#include "text/utf8.h"

namespace commissure {

namespace {

std::string strip(std::string_view text, const Normaliser::Strip& sides) {
  std::size_t begin = 0, end = text.size();
  for (CodePoint point = decode_code_point(text, begin); sides.left && point.is_valid && is_white_space(point.value);
       point = decode_code_point(text, begin)) {
    begin += point.n_bytes;
  }
  while (sides.right && end > begin) {
    std::size_t last = end - 1;
    while (last > begin && (static_cast<unsigned char>(text[last]) & 0xC0u) == 0x80u) --last;
    const CodePoint point = decode_code_point(text, last);
    if (!point.is_valid || !is_white_space(point.value)) break;
    end = last;
  }
  return std::string(text.substr(begin, end - begin));
}

// No tokenizer's rules make a text much longer (a letter's compatibility form has at most 18); rules that would let it
// grow without end lose what is beyond.
constexpr std::size_t kMostGrowth = 20;
constexpr std::size_t kMostAdded = 4096;

std::string replace_matches(std::string_view text, const Normaliser::ReplaceRegex& rule) {
  if (valid_utf8_prefix(text) != text.size()) return std::string(text);  // the engine wants valid text
  std::string result;
  const std::size_t most = kMostGrowth * text.size() + kMostAdded;
  rule.from.split(text, [&](std::size_t begin, std::size_t end, bool is_match) {
    const std::string_view part = is_match ? std::string_view(rule.to) : text.substr(begin, end - begin);
    if (result.size() + part.size() <= most) result += part;
  });
  return result;
}

/// Maps every valid code point; invalid bytes stay.
template <typename Map>
std::string map_code_points(std::string_view text, const Map& map) {
  std::string result;
  for (std::size_t position = 0; position < text.size();) {
    const CodePoint point = decode_code_point(text, position);
    const std::size_t n_bytes = point.n_bytes;
    if (point.is_valid) {
      map(point.value, result);
    } else {
      result += text.substr(position, n_bytes);
    }
    position += n_bytes;
  }
  return result;
}

std::string apply(const Normaliser::Step& step, std::string text) {
  if (const auto* prepend = std::get_if<Normaliser::Prepend>(&step)) {
    return text.empty() ? text : prepend->text + text;
  }
  if (const auto* replace = std::get_if<Normaliser::Replace>(&step)) {
    return replace_all(text, replace->from, replace->to);
  }
  if (const auto* replace = std::get_if<Normaliser::ReplaceRegex>(&step)) return replace_matches(text, *replace);
  if (const auto* sides = std::get_if<Normaliser::Strip>(&step)) return strip(text, *sides);
  if (std::holds_alternative<Normaliser::Lowercase>(step)) {
    return map_code_points(text, [](char32_t c, std::string& out) { append_lowercase(out, c); });
  }
  if (std::holds_alternative<Normaliser::StripAccents>(step)) {
    return map_code_points(text, [](char32_t c, std::string& out) {
      if (!is_mark(c)) append_code_point(out, c);
    });
  }
  return normalise(text, std::get<NormalForm>(step)).value_or(text);
}

}  // namespace

std::string Normaliser::run(std::string text) const {
  const std::size_t most = kMostGrowth * text.size() + kMostAdded;
  for (const Step& step : steps_) {
    text = apply(step, std::move(text));
    if (text.size() > most) text.resize(valid_utf8_prefix(std::string_view(text).substr(0, most)));
  }
  return text;
}

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string result;
  if (from.empty()) return std::string(text);
  result.reserve(text.size() + text.size() / 4);
  for (;;) {
    const std::size_t found = text.find(from);
    result += text.substr(0, found);
    if (found == std::string_view::npos) return result;
    result += to;
    text.remove_prefix(found + from.size());
  }
}

}  // namespace commissure
