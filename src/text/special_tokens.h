#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/ids.h"

namespace commissure {

/// A token whose text is recognised in raw text before everything else.
struct SpecialToken {
  TokenId token;
  bool is_control = false;                         ///< found only where the caller parses control tokens
  bool strips_left = false, strips_right = false;  ///< takes the whitespace on that side with it
  bool single_word = false;                        ///< not found inside a word
};

/// Finds special tokens in text: leftmost, and of several at one place the longest.
/// Threading: const functions from any thread.
class SpecialTokens {
 public:
  SpecialTokens();

  /// Empty texts are ignored; of two tokens with one text the first stays.
  void add(std::string_view text, const SpecialToken& special);

  struct Match {
    std::size_t begin, end;  ///< bytes of the text, with the whitespace it swallows
    TokenId token;
  };
  /// The first match at or after `from`. Finding all matches of a text costs at most its length times the
  /// longest special token.
  ///   plain_at  bytes of the text, ascending, that no control token covers, whatever is written there
  std::optional<Match> find(std::string_view text, std::size_t from, bool with_control,
                            std::span<const std::size_t> plain_at = {}) const;

  /// The bytes of the text, ascending, at which a control token's spelling begins, or one begins that the end of the
  /// text cuts off. Places inside another spelling count too: they matter once the other one is plain text.
  std::vector<std::size_t> control_places(std::string_view text) const;

  /// Whether `text` begins with, or is, the rest of a control token's spelling, so that what stands before it (and
  /// behind it) could complete that. Spellings beyond 64 bytes do not count.
  bool continues_control(std::string_view text) const;

  bool empty() const { return specials_.empty(); }

 private:
  std::int32_t child(std::int32_t node, unsigned char byte) const;
  /// The longest special token at `begin`, and in `end` where it ends; control tokens only up to `control_end`.
  std::int32_t longest_at(std::string_view text, std::size_t begin, std::size_t control_end, std::size_t& end) const;
  bool begins_control(std::string_view text, std::size_t begin) const;

  // A trie in three columns; children of a node form a list through next_.
  struct Node {
    std::int32_t first_child = -1, next_sibling = -1, special = -1;
    unsigned char byte = 0;
  };
  std::vector<Node> nodes_;
  std::int32_t roots_[256];
  std::vector<SpecialToken> specials_;
  std::set<std::string, std::less<>> tails_;  // of control tokens' spellings, without their first bytes
};

}  // namespace commissure
