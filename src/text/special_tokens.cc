#include "text/special_tokens.h"

#include <algorithm>

#include "text/unicode.h"
#include "text/utf8.h"

namespace commissure {

namespace {

constexpr std::size_t kLongestSpelling = 64;  // of those whose rest is recognised; as many bytes
constexpr std::size_t kMostTails = 1 << 16;   // and so many different ones

/// Whether a word character touches [begin, end) from outside.
bool is_inside_word(std::string_view text, std::size_t begin, std::size_t end) {
  const CodePoint after = decode_code_point(text, end);
  if (after.is_valid && is_word_character(after.value)) return true;
  if (begin == 0) return false;
  std::size_t before = begin - 1;
  while (before > 0 && (static_cast<unsigned char>(text[before]) & 0xC0u) == 0x80u) --before;
  const CodePoint previous = decode_code_point(text, before);
  return previous.is_valid && is_word_character(previous.value);
}

std::size_t skip_space_left(std::string_view text, std::size_t from, std::size_t begin) {
  while (begin > from) {
    std::size_t start = begin - 1;
    while (start > from && (static_cast<unsigned char>(text[start]) & 0xC0u) == 0x80u) --start;
    const CodePoint point = decode_code_point(text, start);
    if (!point.is_valid || !is_white_space(point.value)) break;
    begin = start;
  }
  return begin;
}

std::size_t skip_space_right(std::string_view text, std::size_t end) {
  for (;;) {
    const CodePoint point = decode_code_point(text, end);
    if (!point.is_valid || !is_white_space(point.value)) return end;
    end += point.n_bytes;
  }
}

}  // namespace

SpecialTokens::SpecialTokens() { std::fill(std::begin(roots_), std::end(roots_), -1); }

std::int32_t SpecialTokens::child(std::int32_t node, unsigned char byte) const {
  std::int32_t candidate = nodes_[node].first_child;
  while (candidate >= 0 && nodes_[candidate].byte != byte) {
    candidate = nodes_[candidate].next_sibling;
  }
  return candidate;
}

void SpecialTokens::add(std::string_view text, const SpecialToken& special) {
  if (text.empty()) return;
  const auto first = static_cast<unsigned char>(text[0]);
  if (roots_[first] < 0) {
    roots_[first] = static_cast<std::int32_t>(nodes_.size());
    nodes_.push_back({-1, -1, -1, first});
  }
  std::int32_t node = roots_[first];
  for (const char c : text.substr(1)) {
    const auto byte = static_cast<unsigned char>(c);
    std::int32_t next = child(node, byte);
    if (next < 0) {
      next = static_cast<std::int32_t>(nodes_.size());
      nodes_.push_back({-1, nodes_[node].first_child, -1, byte});
      nodes_[node].first_child = next;
    }
    node = next;
  }
  std::int32_t& slot = nodes_[node].special;
  if (slot >= 0) return;
  slot = static_cast<std::int32_t>(specials_.size());
  specials_.push_back(special);
  if (!special.is_control || text.size() > kLongestSpelling) return;
  for (std::size_t begin = 1; begin < text.size() && tails_.size() < kMostTails; ++begin) {
    if ((static_cast<unsigned char>(text[begin]) & 0xC0u) != 0x80u) tails_.emplace(text.substr(begin));
  }
}

std::int32_t SpecialTokens::longest_at(std::string_view text, std::size_t begin, std::size_t control_end,
                                       std::size_t& end) const {
  std::int32_t best = -1;
  std::int32_t node = roots_[static_cast<unsigned char>(text[begin])];
  for (std::size_t position = begin + 1; node >= 0; ++position) {
    const std::int32_t special = nodes_[node].special;
    if (special >= 0 && (position <= control_end || !specials_[special].is_control)) {
      best = special;
      end = position;
    }
    if (position >= text.size()) break;
    node = child(node, static_cast<unsigned char>(text[position]));
  }
  return best;
}

bool SpecialTokens::begins_control(std::string_view text, std::size_t begin) const {
  std::int32_t node = roots_[static_cast<unsigned char>(text[begin])];
  for (std::size_t position = begin + 1; node >= 0; ++position) {
    const std::int32_t special = nodes_[node].special;
    if (special >= 0 && specials_[special].is_control) return true;
    if (position >= text.size()) return nodes_[node].first_child >= 0;
    node = child(node, static_cast<unsigned char>(text[position]));
  }
  return false;
}

bool SpecialTokens::continues_control(std::string_view text) const {
  for (std::size_t n = 1; n <= std::min(text.size(), kLongestSpelling); ++n) {
    const auto tail = tails_.lower_bound(text.substr(0, n));
    if (tail == tails_.end() || !tail->starts_with(text.substr(0, n))) return false;
    if (tail->size() == n) return true;
  }
  return !text.empty();
}

std::vector<std::size_t> SpecialTokens::control_places(std::string_view text) const {
  std::vector<std::size_t> places;
  for (std::size_t begin = 0; begin < text.size(); ++begin) {
    if (begins_control(text, begin)) places.push_back(begin);
  }
  return places;
}

std::optional<SpecialTokens::Match> SpecialTokens::find(std::string_view text, std::size_t from, bool with_control,
                                                        std::span<const std::size_t> plain_at) const {
  for (std::size_t begin = from; begin < text.size(); ++begin) {
    if (roots_[static_cast<unsigned char>(text[begin])] < 0) continue;
    std::size_t end = begin;
    const auto plain = std::ranges::lower_bound(plain_at, begin);
    const std::size_t control_end = !with_control ? 0 : plain == plain_at.end() ? text.size() : *plain;
    const std::int32_t found = longest_at(text, begin, control_end, end);
    if (found < 0) continue;
    const SpecialToken& special = specials_[found];
    if (special.single_word && is_inside_word(text, begin, end)) continue;
    Match match{begin, end, special.token};
    if (special.strips_left) match.begin = skip_space_left(text, from, begin);
    if (special.strips_right) match.end = skip_space_right(text, end);
    return match;
  }
  return std::nullopt;
}

}  // namespace commissure
