#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "text/piece_model.h"

namespace commissure {

/// Byte-pair encoding by ranked merges, over bytes or over characters.
/// Source: Sennrich et al., arXiv:1508.07909.
class BpeModel : public PieceModel {
 public:
  struct Options {
    bool byte_level = true;           ///< symbols are bytes in GPT-2's spelling; else characters
    bool ignore_merges = false;       ///< a piece that is a token itself is taken whole
    bool newline_runs_whole = false;  ///< a piece of newlines that is a token itself is taken whole
    bool byte_fallback = false;       ///< characters without a token become "<0xXX>" tokens
    bool fuse_unknown = false;        ///< neighbouring unknown characters share one unknown token
    std::optional<TokenId> unknown;
  };

  ///   vocabulary  outlives the model
  BpeModel(const TokenTable& vocabulary, const Options& options, std::size_t n_merges);

  /// Adds the merge that ranks next.
  /// Errors: kInvalidArgument, the vocabulary lacks a part or the whole.
  Status add_merge(std::string_view left, std::string_view right);

  /// A piece that is a token itself is looked up first where the options say so; the rest is merged by rank.
  void encode(std::string_view piece, MergeScratch& scratch, std::vector<TokenId>& tokens) const override;

 private:
  MergedPair find_merge(std::int32_t left, std::int32_t right) const;
  std::optional<TokenId> find_whole(std::string_view piece) const;
  void add_byte_symbols(std::string_view segment, MergeScratch& scratch) const;
  void add_character_symbols(std::string_view segment, MergeScratch& scratch) const;
  void add_fallback(std::string_view segment, std::size_t begin, std::size_t n_bytes, MergeScratch& scratch) const;
  void encode_segment(std::string_view segment, MergeScratch& scratch, std::vector<TokenId>& tokens) const;

  const TokenTable& vocabulary_;
  const Options options_;
  std::optional<PairFilter> filter_;  // characters only: bytes come in short pieces already
  std::array<std::int32_t, 256> byte_tokens_;

  struct Merge {
    std::uint64_t pair = ~std::uint64_t{0};  // left id, right id
    MergedPair merged;
  };
  std::vector<Merge> merges_;  // open addressing, a power of two, at most half full
  std::uint32_t n_merges_ = 0;
};

}  // namespace commissure
