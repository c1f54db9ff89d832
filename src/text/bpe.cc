#include "text/bpe.h"

#include <algorithm>
#include <bit>
#include <string>

#include "text/byte_level.h"
#include "text/utf8.h"

namespace commissure {

namespace {

constexpr std::size_t kMaxMerges = std::size_t{1} << 25;

std::uint64_t pair_key(std::int32_t left, std::int32_t right) {
  return (std::uint64_t{static_cast<std::uint32_t>(left)} << 32) | static_cast<std::uint32_t>(right);
}

std::size_t slot_hash(std::uint64_t key) {
  key *= 0x9E3779B97F4A7C15u;
  return key ^ (key >> 29);
}

}  // namespace

BpeModel::BpeModel(const TokenTable& vocabulary, const Options& options, std::size_t n_merges)
    : vocabulary_(vocabulary), options_(options), merges_(std::bit_ceil(2 * std::min(n_merges, kMaxMerges) + 2)) {
  if (!options.byte_level) filter_.emplace(vocabulary);
  for (int byte = 0; byte < 256; ++byte) {
    std::string spelling;
    append_code_point(spelling, byte_level_character(static_cast<unsigned char>(byte)));
    const std::optional<TokenId> token =
        options.byte_level ? vocabulary.find(spelling) : vocabulary.find_byte(static_cast<unsigned char>(byte));
    byte_tokens_[byte] = token ? token->value : -1;
  }
}

Status BpeModel::add_merge(std::string_view left, std::string_view right) {
  const std::optional<TokenId> left_token = vocabulary_.find(left), right_token = vocabulary_.find(right);
  const std::optional<TokenId> merged = vocabulary_.find(std::string(left) + std::string(right));
  if (!left_token || !right_token || !merged) {
    return Error(Code::kInvalidArgument, "merge ", n_merges_, " (\"", replace_invalid_utf8(left), "\" \"",
                 replace_invalid_utf8(right), "\") names a token that the vocabulary lacks; convert the model again");
  }
  if (2 * (std::size_t{n_merges_} + 1) > merges_.size()) {
    return Error(Code::kInvalidArgument, "the tokenizer has more than ", kMaxMerges, " merges");
  }
  const std::uint64_t key = pair_key(left_token->value, right_token->value);
  const std::size_t mask = merges_.size() - 1;
  std::size_t slot = slot_hash(key) & mask;
  while (merges_[slot].merged.token >= 0 && merges_[slot].pair != key) slot = (slot + 1) & mask;
  // A pair listed twice keeps its first rank.
  if (merges_[slot].merged.token < 0) merges_[slot] = {key, {n_merges_, merged->value}};
  ++n_merges_;
  return {};
}

MergedPair BpeModel::find_merge(std::int32_t left, std::int32_t right) const {
  if (left < 0 || right < 0) return {};
  const std::uint64_t key = pair_key(left, right);
  const std::size_t mask = merges_.size() - 1;
  std::size_t slot = slot_hash(key) & mask;
  while (merges_[slot].merged.token >= 0 && merges_[slot].pair != key) slot = (slot + 1) & mask;
  return merges_[slot].merged;
}

std::optional<TokenId> BpeModel::find_whole(std::string_view piece) const {
  if (options_.byte_level) return vocabulary_.find(spell_bytes(piece.substr(0, vocabulary_.max_token_bytes() + 1)));
  return vocabulary_.find(piece);
}

void BpeModel::encode(std::string_view piece, MergeScratch& scratch, std::vector<TokenId>& tokens) const {
  const bool may_be_whole = options_.ignore_merges ||
                            (options_.newline_runs_whole && piece.find_first_not_of('\n') == std::string_view::npos);
  if (may_be_whole) {
    if (const std::optional<TokenId> whole = find_whole(piece)) {
      tokens.push_back(*whole);
      return;
    }
  }
  for (std::size_t begin = 0; begin < piece.size();) {
    const std::size_t end = filter_ && !options_.fuse_unknown ? filter_->segment_end(piece, begin) : piece.size();
    encode_segment(piece.substr(begin, end - begin), scratch, tokens);
    begin = end;
  }
}

void BpeModel::add_byte_symbols(std::string_view segment, MergeScratch& scratch) const {
  for (std::size_t i = 0; i < segment.size(); ++i) {
    scratch.symbols.push_back({static_cast<std::uint32_t>(i), 1, byte_tokens_[static_cast<unsigned char>(segment[i])]});
  }
}

void BpeModel::add_fallback(std::string_view segment, std::size_t begin, std::size_t n_bytes,
                            MergeScratch& scratch) const {
  const std::string_view bytes = segment.substr(begin, n_bytes);
  const bool has_bytes = options_.byte_fallback && std::all_of(bytes.begin(), bytes.end(), [this](char c) {
                           return byte_tokens_[static_cast<unsigned char>(c)] >= 0;
                         });
  if (has_bytes) {
    for (std::size_t i = 0; i < n_bytes; ++i) {
      scratch.symbols.push_back(
          {static_cast<std::uint32_t>(begin + i), 1, byte_tokens_[static_cast<unsigned char>(bytes[i])]});
    }
    return;
  }
  const std::int32_t unknown = options_.unknown ? options_.unknown->value : -1;
  if (options_.fuse_unknown && unknown >= 0 && !scratch.symbols.empty() && scratch.symbols.back().token == unknown) {
    scratch.symbols.back().n_bytes += static_cast<std::uint32_t>(n_bytes);
  } else {
    scratch.symbols.push_back({static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(n_bytes), unknown});
  }
}

void BpeModel::add_character_symbols(std::string_view segment, MergeScratch& scratch) const {
  for (std::size_t position = 0; position < segment.size();) {
    const CodePoint point = decode_code_point(segment, position);
    const std::size_t n_bytes = point.is_valid ? point.n_bytes : 1;
    const std::optional<TokenId> token = vocabulary_.find(segment.substr(position, n_bytes));
    if (token) {
      scratch.symbols.push_back(
          {static_cast<std::uint32_t>(position), static_cast<std::uint32_t>(n_bytes), token->value});
    } else {
      add_fallback(segment, position, n_bytes, scratch);
    }
    position += n_bytes;
  }
}

void BpeModel::encode_segment(std::string_view segment, MergeScratch& scratch, std::vector<TokenId>& tokens) const {
  scratch.symbols.clear();
  if (options_.byte_level) {
    add_byte_symbols(segment, scratch);
  } else {
    add_character_symbols(segment, scratch);
  }
  merge_symbols(scratch,
                [this](const Symbol& left, const Symbol& right) { return find_merge(left.token, right.token); });
  for (const Symbol& symbol : scratch.symbols) {
    if (symbol.n_bytes > 0 && symbol.token >= 0) tokens.push_back(TokenId(symbol.token));
  }
}

}  // namespace commissure
