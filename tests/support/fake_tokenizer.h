#pragma once

#include <optional>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace commissure {

/// A tokenizer for tests: tokens 0..255 are bytes, 256 is EOS, 257 a control token without text.
class FakeTokenizer : public Tokenizer {
 public:
  static constexpr int kEos = 256;
  static constexpr int kControl = 257;
  static constexpr int kTokens = 258;

  std::vector<TokenId> encode(std::string_view text, const EncodeOptions&) const override {
    std::vector<TokenId> tokens;
    for (const char c : text) tokens.emplace_back(static_cast<unsigned char>(c));
    return tokens;
  }
  std::vector<std::size_t> control_places(std::string_view) const override { return {}; }
  bool continues_control(std::string_view) const override { return false; }
  int n_tokens() const override { return kTokens; }
  std::string token_bytes(TokenId token, bool show_control) const override {
    if (is_control(token)) return show_control ? std::string(token_text(token)) : "";
    return std::string(1, static_cast<char>(token.value));
  }
  std::string_view token_text(TokenId token) const override { return token.value == kEos ? "<eos>" : "<x>"; }
  bool is_control(TokenId token) const override { return token.value >= kEos; }
  std::optional<TokenId> bos() const override { return std::nullopt; }
  std::optional<TokenId> eos() const override { return TokenId(kEos); }
  const std::vector<TokenId>& end_tokens() const override { return ends_; }
  bool strips_leading_space() const override { return false; }

 private:
  std::vector<TokenId> ends_{TokenId(kEos)};
};

}  // namespace commissure
