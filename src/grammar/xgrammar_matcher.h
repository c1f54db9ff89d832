#pragma once

#include <xgrammar/xgrammar.h>

#include <memory>

#include "grammar/grammar.h"
#include "grammar/utf8_tokens.h"

namespace commissure {

/// Of one compiled grammar with its masks.
inline constexpr std::size_t kMaxCompiledBytes = std::size_t{64} << 20;
/// Masks are counted once in so many, as all of them are looked at.
inline constexpr int kMasksPerCount = 64;

/// Follows an answer by XGrammar.
///   utf8            shared by all who follow one
///   n_rows          ids of the model
///   followed_bytes  as of GrammarBounds
std::unique_ptr<GrammarMatcher> match_grammar(const xgrammar::CompiledGrammar& grammar,
                                              std::shared_ptr<const Utf8Tokens> utf8, int n_rows,
                                              std::size_t followed_bytes);

}  // namespace commissure
