#pragma once

#include <string>
#include <string_view>

#include "core/result.h"

namespace commissure {

/// Whether a code point has the property White_Space, which is what `\s` means in the tokenizers' regular expressions.
bool is_white_space(char32_t value);

/// Whether a code point is a letter, mark, number or connector, which is what `\w` means.
bool is_word_character(char32_t value);

/// Whether a code point is a combining mark.
bool is_mark(char32_t value);

/// Appends the lower case of `value`, as Unicode's full mapping has it.
void append_lowercase(std::string& text, char32_t value);

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };

/// The text in a Unicode normal form; sequences of invalid UTF-8 stay as they are.
/// Errors: kResourceExhausted, there is no memory.
Result<std::string> normalise(std::string_view text, NormalForm form);

}  // namespace commissure
