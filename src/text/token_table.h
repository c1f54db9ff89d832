#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/ids.h"
#include "core/index.h"
#include "core/result.h"

namespace commissure {

/// A token's role, numbered as GGUF's tokenizer.ggml.token_type.
enum class TokenType : std::uint8_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

/// Ids and spellings of all tokens. All spellings lie in one arena; lookups go through one open-addressing
/// table of ids, so that a vocabulary of 262,144 tokens is built in a few milliseconds.
/// Threading: const functions from any thread.
class TokenTable {
 public:
  /// An empty vocabulary with room for `n_tokens` spellings of `n_bytes` together.
  TokenTable(std::size_t n_tokens, std::size_t n_bytes);

  /// Gives the next id to `text`.
  /// Errors: kInvalidArgument, the spelling is taken or the vocabulary too large.
  Status add(std::string_view text, TokenType type = TokenType::kNormal);

  int n_tokens() const { return count_of(types_); }
  bool contains(std::int64_t token) const { return token >= 0 && token < n_tokens(); }
  std::string_view text(TokenId token) const {
    const std::int32_t id = token.value;
    return std::string_view(arena_).substr(offsets_[id], offsets_[id + 1] - offsets_[id]);
  }
  TokenType type(TokenId token) const { return types_[token.value]; }
  void set_type(TokenId token, TokenType type) { types_[token.value] = type; }

  /// The token spelled `text`.
  std::optional<TokenId> find(std::string_view text) const;
  /// The byte token "<0xXX>".
  std::optional<TokenId> find_byte(unsigned char byte) const;
  std::size_t max_token_bytes() const { return max_token_bytes_; }

 private:
  std::size_t slot_of(std::string_view text, std::uint64_t hash) const;

  std::string arena_;
  std::vector<std::uint32_t> offsets_{0};  // [n_tokens + 1]
  std::vector<TokenType> types_;
  struct Slot {
    std::int32_t token = -1;
    std::uint32_t hash = 0;  // spares most comparisons a look into the arena
  };
  std::vector<Slot> slots_;  // a power of two, at most half full
  std::size_t max_token_bytes_ = 0;
  std::uint64_t seed_;  // drawn at random, so that no file can choose spellings that fall on one slot
};

/// A fast non-cryptographic hash of short strings, another one for each seed.
std::uint64_t hash_bytes(std::string_view text, std::uint64_t seed);

}  // namespace commissure
