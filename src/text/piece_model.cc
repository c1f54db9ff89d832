#include "text/piece_model.h"

#include "text/utf8.h"

namespace commissure {

namespace {

constexpr int kLogBits = 21;  // some 300,000 pairs in the largest vocabularies: 14 % false answers in 256 KiB

std::uint32_t pair_hash(char32_t left, char32_t right) {
  const std::uint64_t key = (std::uint64_t{left} << 32) | right;
  return static_cast<std::uint32_t>((key * 0x9E3779B97F4A7C15u) >> (64 - kLogBits));
}

/// The character at `position`, which is inside `text`; bytes of invalid UTF-8 become characters of their own, above
/// Unicode.
CodePoint character_at(std::string_view text, std::size_t position) {
  const auto first = static_cast<unsigned char>(text[position]);
  if (first < 0x80) return {first, 1, true, false};
  CodePoint point = decode_code_point(text, position);
  if (!point.is_valid && point.n_bytes > 0) {
    point.value = 0x110000u + static_cast<unsigned char>(text[position]);
    point.n_bytes = 1;
  }
  return point;
}

}  // namespace

PairFilter::PairFilter(const TokenTable& vocabulary) : bits_((std::size_t{1} << kLogBits) / 64) {
  for (int id = 0; id < vocabulary.n_tokens(); ++id) {
    const std::string_view text = vocabulary.text(TokenId(id));
    if (text.empty()) continue;
    CodePoint left = character_at(text, 0);
    for (std::size_t position = left.n_bytes; position < text.size();) {
      const CodePoint right = character_at(text, position);
      insert(left.value, right.value);
      left = right;
      position += right.n_bytes;
    }
  }
}

void PairFilter::insert(char32_t left, char32_t right) {
  const std::uint32_t hash = pair_hash(left, right);
  bits_[hash / 64] |= std::uint64_t{1} << (hash % 64);
}

bool PairFilter::may_join(char32_t left, char32_t right) const {
  const std::uint32_t hash = pair_hash(left, right);
  return (bits_[hash / 64] >> (hash % 64)) & 1u;
}

std::size_t PairFilter::segment_end(std::string_view text, std::size_t begin) const {
  CodePoint left = character_at(text, begin);
  std::size_t position = begin + left.n_bytes;
  while (position < text.size()) {
    const CodePoint right = character_at(text, position);
    if (!may_join(left.value, right.value)) break;
    left = right;
    position += right.n_bytes;
  }
  return position;
}

}  // namespace commissure
