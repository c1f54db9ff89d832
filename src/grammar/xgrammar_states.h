#pragma once

#include <cstddef>

namespace xgrammar {
class GrammarMatcher;
}

namespace commissure {

/// Bytes that a matcher remembers of the text that it has followed: of a grammar that can be read in many ways, more
/// with every letter. XGrammar has no bound for it.
std::size_t n_followed_bytes(const xgrammar::GrammarMatcher& matcher);

}  // namespace commissure
