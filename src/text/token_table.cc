#include "text/token_table.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <random>

#include <fmt/format.h>

namespace commissure {

namespace {

// Larger than any known vocabulary by far; a bound for hostile files.
constexpr std::size_t kMaxTokens = std::size_t{1} << 24;

std::uint64_t load_up_to_8(const char* data, std::size_t n_bytes) {
  std::uint64_t word = 0;
  std::memcpy(&word, data, n_bytes);
  return word;
}

std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  const auto product = static_cast<unsigned __int128>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

}  // namespace

std::uint64_t hash_bytes(std::string_view text, std::uint64_t seed) {
  // Multiply-and-fold over 8-byte words, as in wyhash.
  constexpr std::uint64_t kA = 0xa0761d6478bd642fu, kB = 0xe7037ed1a0b428dbu;
  const std::uint64_t factor = kB ^ (seed & ~std::uint64_t{1});  // odd, so that no word is lost
  std::uint64_t state = mix(kA ^ seed, kB ^ text.size());
  while (text.size() > 8) {
    state = mix(state ^ load_up_to_8(text.data(), 8), factor);
    text.remove_prefix(8);
  }
  return mix(state ^ load_up_to_8(text.data(), text.size()), factor);
}

TokenTable::TokenTable(std::size_t n_tokens, std::size_t n_bytes)
    : seed_((std::uint64_t{std::random_device{}()} << 32) ^ std::random_device{}()) {
  n_tokens = std::min(n_tokens, kMaxTokens);
  arena_.reserve(std::min<std::size_t>(n_bytes, std::numeric_limits<std::uint32_t>::max()));
  offsets_.reserve(n_tokens + 1);
  types_.reserve(n_tokens);
  slots_.resize(std::bit_ceil(2 * std::max<std::size_t>(n_tokens, 1)));
}

std::size_t TokenTable::slot_of(std::string_view text, std::uint64_t hash) const {
  const auto tag = static_cast<std::uint32_t>(hash >> 32);
  const std::size_t mask = slots_.size() - 1;
  std::size_t slot = hash & mask;
  while (slots_[slot].token >= 0 && (slots_[slot].hash != tag || this->text(TokenId(slots_[slot].token)) != text)) {
    slot = (slot + 1) & mask;
  }
  return slot;
}

Status TokenTable::add(std::string_view text, TokenType type) {
  const std::size_t id = types_.size();
  if (2 * (id + 1) > slots_.size() || id >= kMaxTokens ||
      arena_.size() + text.size() > std::numeric_limits<std::uint32_t>::max()) {
    return Error(Code::kInvalidArgument, "the vocabulary is too large at token ", id);
  }
  const std::uint64_t hash = hash_bytes(text, seed_);
  const std::size_t slot = slot_of(text, hash);
  if (slots_[slot].token >= 0) {
    return Error(Code::kInvalidArgument, "tokens ", slots_[slot].token, " and ", id,
                 " of the vocabulary have the same text; convert the model again");
  }
  slots_[slot] = {static_cast<std::int32_t>(id), static_cast<std::uint32_t>(hash >> 32)};
  arena_ += text;
  offsets_.push_back(static_cast<std::uint32_t>(arena_.size()));
  types_.push_back(type);
  max_token_bytes_ = std::max(max_token_bytes_, text.size());
  return {};
}

std::optional<TokenId> TokenTable::find(std::string_view text) const {
  if (text.size() > max_token_bytes_) return std::nullopt;
  const std::int32_t token = slots_[slot_of(text, hash_bytes(text, seed_))].token;
  return token < 0 ? std::nullopt : std::optional(TokenId(token));
}

std::optional<TokenId> TokenTable::find_byte(unsigned char byte) const { return find(fmt::format("<0x{:02X}>", byte)); }

}  // namespace commissure
