#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "text/tokenizer.h"

// "sanitize": control tokens that somebody wrote into a request stay plain text, while those of the chat template
// count. The request's strings are marked before they are rendered, and the rendered text tells by the marks what no
// control token may cover. Beside whole spellings and their beginnings, a string that begins with the rest of one, or
// is a part of one, is marked, in case the template's own text has what comes before it; so is none that a `role` or
// `type` is, which templates compare and build their own tokens with.
namespace commissure {

/// A prompt as text, and where in it a control token's spelling is plain text (EncodeOptions::plain_at).
struct ChatPrompt {
  std::string text;
  std::vector<std::size_t> plain_at = {};
};

/// A noncharacter of Unicode, as UTF-8, that no string of `value` holds and that is not `taken`; "" where all 32 are.
std::string unused_mark(const Json& value, std::string_view taken = "");

/// What strings of a request may spell and shall not mean.
struct Spellings {
  const Tokenizer* tokenizer = nullptr;  ///< all of its control tokens; null: none
  std::string_view image = {};           ///< the mark of an image (ImageMarks::mark); "" where there is none

  /// As Tokenizer::control_places and continues_control.
  std::vector<std::size_t> places(std::string_view text) const;
  bool continues(std::string_view text) const;
};

/// `value` with `mark` behind the first character of everything of `spellings` that its strings and its members' names
/// spell, begin to spell at their end, or go on with at their beginning. Work and length are linear in those of
/// `value`.
Json with_marks(const Json& value, const Spellings& spellings, std::string_view mark);
inline Json with_marks(const Json& value, const Tokenizer& tokenizer, std::string_view mark) {
  return with_marks(value, Spellings{&tokenizer}, mark);
}

/// The text without its marks, and where they were.
ChatPrompt without_marks(std::string_view text, std::string_view mark);

}  // namespace commissure
