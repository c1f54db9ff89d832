#pragma once

#include <string>

#include "text/tokenizer.h"

namespace commissure {

/// Turns a stream of token ids into pieces of whole code points: bytes of an unfinished one are held back.
/// Threading: one thread at a time.
class Detokenizer {
 public:
  /// `continues_text`: the tokens follow other text (a prompt), so a leading space is text.
  Detokenizer(const Tokenizer& tokenizer, bool continues_text = true)
      : tokenizer_(tokenizer), at_start_(!continues_text) {}

  /// The text that became complete with this token; may be empty.
  std::string push(TokenId token);
  /// What is left at the end; an unfinished code point becomes U+FFFD.
  std::string finish();

 private:
  const Tokenizer& tokenizer_;
  bool at_start_;
  std::string held_;
};

}  // namespace commissure
