#pragma once

#include <cstddef>
#include <list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/guarded.h"
#include "text/tokenizer.h"

namespace commissure {

/// What requests ask of a whole vocabulary. A walk over 262,144 tokens takes tens of milliseconds, so each answer is
/// kept: the longest token and what is kept on purpose for good, other lists of tokens until kMaxLists were asked for.
/// Threading: any thread; several may walk at once for the same answer.
class VocabularyFacts {
 public:
  static constexpr std::size_t kMaxLists = 16;

  /// Bytes of the longest token, at least 1.
  std::size_t longest_token_bytes(const Tokenizer& tokenizer);
  /// Ids, ascending, of the tokens that have one of `texts` in them; the first `n_most` + 1 where there are more.
  std::vector<TokenId> tokens_with(const Tokenizer& tokenizer, const std::vector<std::string>& texts,
                                   std::size_t n_most);

  /// Finds out what tokens_with gives, and keeps it for good. For the lists of the server itself, not of requests.
  void keep_tokens_with(const Tokenizer& tokenizer, const std::vector<std::string>& texts, std::size_t n_most);

  /// Walks over a vocabulary so far.
  int n_walks() const;

 private:
  struct List {
    std::vector<std::string> texts;
    std::size_t n_most = 0;
    std::vector<TokenId> tokens;
    bool is_kept = false;
    bool answers(const std::vector<std::string>& asked, std::size_t n_asked) const {
      return n_most == n_asked && texts == asked;
    }
  };
  struct State {
    const Tokenizer* tokenizer = nullptr;  // of whom all this is
    std::optional<std::size_t> longest;
    std::list<List> lists;  // asked for last: first
    int n_walks = 0;
  };
  static State& of(State& state, const Tokenizer& tokenizer);

  Guarded<State> state_;
};

}  // namespace commissure
