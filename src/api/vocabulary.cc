#include "api/vocabulary.h"

#include <algorithm>
#include <iterator>

namespace commissure {

VocabularyFacts::State& VocabularyFacts::of(State& state, const Tokenizer& tokenizer) {
  if (std::exchange(state.tokenizer, &tokenizer) == &tokenizer) return state;
  state.longest.reset();
  state.lists.clear();
  return state;
}

std::size_t VocabularyFacts::longest_token_bytes(const Tokenizer& tokenizer) {
  const auto known = state_.with([&](State& state) { return of(state, tokenizer).longest; });
  if (known) return *known;
  std::size_t longest = 1;
  for (int id = 0; id < tokenizer.n_tokens(); ++id) {
    longest = std::max(longest, tokenizer.token_bytes(TokenId(id), true).size());
  }
  state_.with([&](State& state) {
    of(state, tokenizer).longest = longest;
    ++state.n_walks;
  });
  return longest;
}

std::vector<TokenId> VocabularyFacts::tokens_with(const Tokenizer& tokenizer, const std::vector<std::string>& texts,
                                                  std::size_t n_most) {
  const auto known = state_.with([&](State& state) -> std::optional<std::vector<TokenId>> {
    auto& lists = of(state, tokenizer).lists;
    const auto it = std::ranges::find_if(lists, [&](const List& list) { return list.answers(texts, n_most); });
    if (it == lists.end()) return std::nullopt;
    lists.splice(lists.begin(), lists, it);
    return it->tokens;
  });
  if (known) return *known;
  std::vector<TokenId> tokens;
  for (int id = 0; id < tokenizer.n_tokens() && tokens.size() <= n_most; ++id) {
    const std::string bytes = tokenizer.token_bytes(TokenId(id), true);
    const auto holds = [&](const std::string& text) { return bytes.find(text) != std::string::npos; };
    if (std::ranges::any_of(texts, holds)) tokens.emplace_back(id);
  }
  state_.with([&](State& state) {
    auto& lists = of(state, tokenizer).lists;
    lists.push_front({texts, n_most, tokens});
    const auto may_go = [](const List& list) { return !list.is_kept; };
    if (std::ranges::count_if(lists, may_go) > std::ptrdiff_t{kMaxLists}) {
      lists.erase(std::prev(std::find_if(lists.rbegin(), lists.rend(), may_go).base()));
    }
    ++state.n_walks;
  });
  return tokens;
}

void VocabularyFacts::keep_tokens_with(const Tokenizer& tokenizer, const std::vector<std::string>& texts,
                                       std::size_t n_most) {
  tokens_with(tokenizer, texts, n_most);
  state_.with([&](State& state) {
    for (List& list : of(state, tokenizer).lists) list.is_kept |= list.answers(texts, n_most);
  });
}

int VocabularyFacts::n_walks() const {
  return state_.with([](const State& state) { return state.n_walks; });
}

}  // namespace commissure
