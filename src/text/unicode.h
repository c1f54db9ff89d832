#pragma once

#include <string>
#include <string_view>

#include "core/result.h"

namespace commissure {

/// The White_Space property, which is `\s` of the tokenizers' regular expressions.
bool is_white_space(char32_t value);

/// A letter, mark, number or connector: `\w`.
bool is_word_character(char32_t value);

/// A combining mark.
bool is_mark(char32_t value);

/// Appends the lower case of `value`, as Unicode's full mapping has it.
void append_lowercase(std::string& text, char32_t value);

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };

/// Unicode normalisation; sequences of invalid UTF-8 stay as they are.
/// Errors: kResourceExhausted, no memory.
Result<std::string> normalise(std::string_view text, NormalForm form);

}  // namespace commissure
