#pragma once

#include <array>
#include <optional>
#include <string_view>
#include <vector>

#include "text/piece_model.h"

namespace commissure {

/// SentencePiece's byte-pair encoding by scores. Of all neighbours, the two whose joined text is the token with the
/// highest score are merged first; characters that are part of no token are written as byte tokens.
/// Source: Kudo & Richardson, arXiv:1808.06226.
class SpmModel : public PieceModel {
 public:
  ///   vocabulary  outlives the model
  ///   scores      [n_tokens], higher merges first
  SpmModel(const TokenTable& vocabulary, const std::vector<float>& scores, std::optional<TokenId> unknown);

  void encode(std::string_view piece, MergeScratch& scratch, std::vector<TokenId>& tokens) const override;

 private:
  void encode_segment(std::string_view segment, MergeScratch& scratch, std::vector<TokenId>& tokens) const;

  const TokenTable& vocabulary_;
  PairFilter filter_;
  std::vector<std::uint32_t> priorities_;  // [n_tokens], lower merges earlier
  std::array<std::int32_t, 256> byte_tokens_;
};

}  // namespace commissure
