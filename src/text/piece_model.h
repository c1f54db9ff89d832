#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "core/ids.h"
#include "text/merge.h"
#include "text/token_table.h"

namespace commissure {

/// The part of a tokenizer that turns one piece of text into tokens.
/// Threading: const functions from any thread.
class PieceModel {
 public:
  virtual ~PieceModel() = default;

  /// Appends the tokens of `piece` to `tokens`.
  virtual void encode(std::string_view piece, MergeScratch& scratch, std::vector<TokenId>& tokens) const = 0;
};

/// Finds places where a text can be cut without changing its tokens: between two characters that stand beside each
/// other in no token, so that no merge can ever join them. The pairs of characters are kept in a Bloom filter, whose
/// false answers only make a segment longer. A long prompt thus falls into words, and merging stays linear in its
/// length.
class PairFilter {
 public:
  explicit PairFilter(const TokenTable& vocabulary);

  /// The end of the segment of `text` that begins at `begin`.
  std::size_t segment_end(std::string_view text, std::size_t begin) const;

 private:
  bool may_join(char32_t left, char32_t right) const;
  void insert(char32_t left, char32_t right);

  std::vector<std::uint64_t> bits_;
};

}  // namespace commissure
