#pragma once

#include <string>
#include <utility>
#include <vector>

#include "text/tokenizer.h"

namespace commissure {

/// Turns a stream of token ids into pieces of whole code points: bytes of an unfinished one are held back.
/// Threading: one thread at a time.
class Detokenizer {
 public:
  /// `continues_text`: the tokens follow other text (a prompt), so a leading space is text.
  /// `shown`: control tokens that are text, too.
  explicit Detokenizer(const Tokenizer& tokenizer, bool continues_text = true, std::vector<TokenId> shown = {})
      : tokenizer_(tokenizer), shown_(std::move(shown)), at_start_(!continues_text) {}

  /// The bytes that a token adds to the text.
  std::string bytes_of(TokenId token) const;

  /// The text that became complete with this token; may be empty.
  std::string push(TokenId token);
  /// What is left at the end; an unfinished code point becomes U+FFFD.
  std::string finish();

 private:
  const Tokenizer& tokenizer_;
  const std::vector<TokenId> shown_;
  bool at_start_;
  std::string held_;
};

}  // namespace commissure
