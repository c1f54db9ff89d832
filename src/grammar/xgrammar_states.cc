// One of XGrammar's own sources, and with it what no header of XGrammar shows. It is compiled as a part of the library.
#include <cpp/grammar_matcher.cc>

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
};

}  // namespace

std::size_t n_followed_bytes(const xgrammar::GrammarMatcher& matcher) { return Followed::n_bytes(*matcher.ImplPtr()); }

}  // namespace commissure
