// One of XGrammar's own sources, and with it what no header of XGrammar shows. It is compiled as a part of the library.
#include <cpp/grammar_matcher.cc>

#include <vector>

#include "grammar/xgrammar_states.h"

namespace commissure {

namespace {

/// The rows lie one behind the other.
template <typename Rows>
std::size_t n_bytes_of(const Rows& rows) {
  if (rows.size() == 0) return 0;
  const auto first = rows[0], last = rows[rows.size() - 1];
  return static_cast<std::size_t>(last.data + last.data_len - first.data) * sizeof(*first.data);
}

struct Followed : xgrammar::GrammarMatcher::Impl {
  static std::size_t n_bytes(const xgrammar::GrammarMatcher::Impl& matcher) {
    return n_bytes_of(matcher.*(&Followed::scanable_state_history_)) +
           n_bytes_of(matcher.*(&Followed::rule_id_to_completable_states_));
  }

  static std::vector<xgrammar::ParserState> missing(const xgrammar::GrammarMatcher::Impl& matcher,
                                                    const xgrammar::CompiledGrammar::Impl& grammar) {
    const auto& rows = matcher.*(&Followed::scanable_state_history_);
    std::vector<xgrammar::ParserState> all;
    if (rows.size() == 0) return all;
    const std::lock_guard lock(grammar.adaptive_token_mask_cache_mutex);
    for (const auto& state : rows[rows.size() - 1]) {
      if (grammar.adaptive_token_mask_cache.count(state) == 0) all.push_back(state);
    }
    return all;
  }
};

}  // namespace

std::size_t n_followed_bytes(const xgrammar::GrammarMatcher& matcher) { return Followed::n_bytes(*matcher.ImplPtr()); }

std::size_t n_missing_masks(const xgrammar::GrammarMatcher& matcher, const xgrammar::CompiledGrammar& grammar) {
  return Followed::missing(*matcher.ImplPtr(), *grammar.ImplPtr()).size();
}

void make_missing_masks(const xgrammar::GrammarMatcher& matcher, xgrammar::CompiledGrammar& grammar,
                        const std::function<bool()>& goes_on) {
  for (const auto& state : Followed::missing(*matcher.ImplPtr(), *grammar.ImplPtr())) {
    if (!goes_on()) return;
    grammar.ImplPtr()->GetAdaptiveTokenMask(state);
  }
}

}  // namespace commissure
