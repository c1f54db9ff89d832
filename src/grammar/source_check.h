#pragma once

#include <cstdint>
#include <string_view>

#include "core/result.h"

namespace commissure {

/// What repetitions of one expression or grammar may unfold into.
inline constexpr std::uint64_t kMaxUnfolded = 50'000;

/// Refuses what the compiler would take and llama.cpp's notation does not have, naming the line: rules with options,
/// macros, lookaheads, and a zero byte, where it would stop reading. Errors: kInvalidArgument.
Status check_ebnf(std::string_view text);

/// How literals and comments of a text are spelled.
enum class Notation { kRegex, kEbnf };

/// The parts that the text's repetitions unfold into, at most `most`. Errors: kResourceExhausted, there are more, or
/// groups or quantifiers are nested too deep.
Result<std::uint64_t> unfolded_parts(std::string_view text, Notation notation, std::uint64_t most,
                                     std::string_view what);

}  // namespace commissure
