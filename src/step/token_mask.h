#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "core/ids.h"
#include "core/index.h"

namespace commissure {

/// The tokens that one draw may choose from, one bit each. Without a bit it says nothing: every token may be drawn.
class TokenMask {
 public:
  static constexpr int kBits = 32;  ///< in a word
  /// Vocabularies beyond this are no model's.
  static constexpr std::size_t kMaxWords = (std::size_t{1} << 22) / kBits;

  TokenMask() = default;
  /// Bit t % 32 of word t / 32 is token t. Zeros at the end are dropped, so that equal sets are equal masks.
  explicit TokenMask(std::vector<std::uint32_t> words) : words_(std::move(words)) {
    while (!words_.empty() && words_.back() == 0) words_.pop_back();
  }

  bool empty() const { return words_.empty(); }
  bool has(std::int32_t token) const {
    const std::size_t word = to_size(token) / kBits;
    return word < words_.size() && (words_[word] >> (to_size(token) % kBits) & 1) != 0;
  }
  std::size_t n_tokens() const {
    std::size_t n = 0;
    for (const std::uint32_t word : words_) n += static_cast<std::size_t>(std::popcount(word));
    return n;
  }
  const std::vector<std::uint32_t>& words() const { return words_; }
  /// Calls `take` with each token, ascending.
  template <typename Take>
  void each(Take take) const {
    for (std::size_t i = 0; i < words_.size(); ++i) {
      for (std::uint32_t left = words_[i]; left != 0; left &= left - 1) {
        take(TokenId(static_cast<std::int32_t>(i * kBits) + std::countr_zero(left)));
      }
    }
  }

  /// Bytes that the largest mask of a vocabulary may take on the wire.
  static std::size_t most_bytes(int n_vocabulary) { return (to_size(n_vocabulary) / kBits + 1) * 4 + 16; }

  bool operator==(const TokenMask&) const = default;

 private:
  std::vector<std::uint32_t> words_;
};

}  // namespace commissure
