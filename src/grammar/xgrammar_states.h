#pragma once

#include <cstddef>
#include <functional>

namespace xgrammar {
class CompiledGrammar;
class GrammarMatcher;
}  // namespace xgrammar

namespace commissure {

/// Bytes that a matcher remembers of the text that it has followed: of a grammar that can be read in many ways, more
/// with every letter. XGrammar has no bound for it.
std::size_t n_followed_bytes(const xgrammar::GrammarMatcher& matcher);

/// Places where the answer may be, by the ways to read it, of which no mask was made yet: the next mask of the answer
/// makes all of these first, each in milliseconds.
///   grammar  the one that it follows
std::size_t n_missing_masks(const xgrammar::GrammarMatcher& matcher, const xgrammar::CompiledGrammar& grammar);

/// Makes them one by one, for as long as `goes_on` says so before each.
void make_missing_masks(const xgrammar::GrammarMatcher& matcher, xgrammar::CompiledGrammar& grammar,
                        const std::function<bool()>& goes_on);

}  // namespace commissure
