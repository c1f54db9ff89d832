#include "text/spm.h"

#include <bit>

#include "text/utf8.h"

namespace commissure {

namespace {

/// Maps a score so that a higher score gives a lower number.
std::uint32_t priority_of(float score) {
  const auto bits = std::bit_cast<std::uint32_t>(score + 0.0f);  // -0 becomes +0
  const std::uint32_t ascending = (bits & 0x80000000u) ? ~bits : bits | 0x80000000u;
  return std::min(~ascending, MergedPair::kNever - 1);
}

}  // namespace

SpmModel::SpmModel(const TokenTable& vocabulary, const std::vector<float>& scores, std::optional<TokenId> unknown)
    : vocabulary_(vocabulary), filter_(vocabulary) {
  priorities_.reserve(scores.size());
  for (const float score : scores) priorities_.push_back(priority_of(score));
  for (int byte = 0; byte < 256; ++byte) {
    std::optional<TokenId> token = vocabulary.find_byte(static_cast<unsigned char>(byte));
    if (!token) token = unknown;
    byte_tokens_[byte] = token ? token->value : -1;
  }
}

void SpmModel::encode(std::string_view piece, MergeScratch& scratch, std::vector<TokenId>& tokens) const {
  for (std::size_t begin = 0; begin < piece.size();) {
    const std::size_t end = filter_.segment_end(piece, begin);
    encode_segment(piece.substr(begin, end - begin), scratch, tokens);
    begin = end;
  }
}

void SpmModel::encode_segment(std::string_view segment, MergeScratch& scratch, std::vector<TokenId>& tokens) const {
  scratch.symbols.clear();
  for (std::size_t position = 0; position < segment.size();) {
    const CodePoint point = decode_code_point(segment, position);
    const std::size_t n_bytes = point.is_valid ? point.n_bytes : 1;
    const std::optional<TokenId> token = vocabulary_.find(segment.substr(position, n_bytes));
    scratch.symbols.push_back(
        {static_cast<std::uint32_t>(position), static_cast<std::uint32_t>(n_bytes), token ? token->value : -1});
    position += n_bytes;
  }
  merge_symbols(scratch, [this, segment](const Symbol& left, const Symbol& right) -> MergedPair {
    const std::optional<TokenId> token = vocabulary_.find(segment.substr(left.begin, left.n_bytes + right.n_bytes));
    if (!token) return {};
    return {priorities_[token->value], token->value};
  });
  for (const Symbol& symbol : scratch.symbols) {
    if (symbol.n_bytes == 0) continue;
    if (symbol.token >= 0) {
      tokens.push_back(TokenId(symbol.token));
      continue;
    }
    for (const char c : segment.substr(symbol.begin, symbol.n_bytes)) {
      const std::int32_t token = byte_tokens_[static_cast<unsigned char>(c)];
      if (token >= 0) tokens.push_back(TokenId(token));
    }
  }
}

}  // namespace commissure
