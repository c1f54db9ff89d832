#include "grammar/utf8_tokens.h"

#include "core/index.h"

namespace commissure {

namespace {

constexpr std::size_t kBits = 32;

/// What may follow: bytes of a range, and the state behind them. Source: Unicode 15, table 3-7.
struct Follow {
  unsigned char first, last;
  int next;
};
constexpr int kOneMore = 1, kTwoMore = 2, kThreeMore = 3, kBehindE0 = 4, kBehindEd = 5, kBehindF0 = 6, kBehindF4 = 7;
constexpr std::array<Follow, Utf8State::kCount> kWithin = {{{0x00, 0x7f, Utf8State::kStart},
                                                            {0x80, 0xbf, Utf8State::kStart},
                                                            {0x80, 0xbf, kOneMore},
                                                            {0x80, 0xbf, kTwoMore},
                                                            {0xa0, 0xbf, kOneMore},
                                                            {0x80, 0x9f, kOneMore},
                                                            {0x90, 0xbf, kTwoMore},
                                                            {0x80, 0x8f, kTwoMore}}};

int lead(unsigned char byte) {
  if (byte >= 0xc2 && byte <= 0xdf) return kOneMore;
  if (byte == 0xe0) return kBehindE0;
  if (byte == 0xed) return kBehindEd;
  if (byte >= 0xe1 && byte <= 0xef) return kTwoMore;
  if (byte == 0xf0) return kBehindF0;
  if (byte >= 0xf1 && byte <= 0xf3) return kThreeMore;
  return byte == 0xf4 ? kBehindF4 : Utf8State::kBroken;
}

}  // namespace

int Utf8State::next(int state, unsigned char byte) {
  if (state == kBroken) return kBroken;
  const Follow& follow = kWithin[to_size(state)];
  if (byte >= follow.first && byte <= follow.last) return follow.next;
  return state == kStart ? lead(byte) : kBroken;
}

int Utf8State::next(int state, std::string_view text) {
  for (std::size_t i = 0; i < text.size() && state != kBroken; ++i) {
    state = next(state, static_cast<unsigned char>(text[i]));
  }
  return state;
}

Utf8Tokens::Utf8Tokens(const std::vector<std::string>& texts) {
  for (int state = 0; state < Utf8State::kCount; ++state) {
    std::vector<std::uint32_t>& words = allowed_[to_size(state)];
    words.resize((texts.size() + kBits - 1) / kBits);
    for (std::size_t token = 0; token < texts.size(); ++token) {
      if (Utf8State::next(state, texts[token]) == Utf8State::kBroken) continue;
      words[token / kBits] |= std::uint32_t{1} << (token % kBits);
    }
  }
}

void Utf8Tokens::keep(int state, std::vector<std::uint32_t>& words) const {
  const std::vector<std::uint32_t>& allowed = allowed_[to_size(state)];
  for (std::size_t i = 0; i < words.size(); ++i) words[i] &= i < allowed.size() ? allowed[i] : 0;
}

}  // namespace commissure
