#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "engine/generation.h"
#include "text/detokenizer.h"
#include "text/stop_matcher.h"
#include "text/tokenizer.h"

namespace commissure {

/// Turns generated tokens into the text that may be sent, and keeps each token back until its text is out. Tokens are
/// measured by where their text begins and ends, so log-probabilities stay aligned with whole code points and with stop
/// strings. Threading: one thread at a time.
class TextStream {
 public:
  /// `shown`: control tokens that are text, too.
  TextStream(const Tokenizer& tokenizer, std::vector<std::string> stops, bool include_stop,
             std::vector<TokenId> shown = {});

  /// What became safe to send, appended to an event.
  struct Output {
    std::string text;
    std::vector<GeneratedToken> tokens;
    std::optional<std::string> matched;  ///< the stop string that ended the text
  };

  Output push(TokenId token, std::optional<ScoredToken> score);
  /// The text still held back, when generation ended for another reason than a stop string.
  Output finish();

 private:
  struct HeldToken {
    GeneratedToken token;
    std::size_t begin = 0;           // offset of its text in everything detokenized
    std::optional<std::size_t> end;  // unknown until its last code point is whole
  };

  void take_piece(std::string_view piece, Output& output);
  void release_tokens(bool all, Output& output);

  Detokenizer detokenizer_;
  StopMatcher matcher_;
  const bool include_stop_;
  std::deque<HeldToken> held_;
  std::size_t n_detokenized_ = 0;  // bytes out of the detokenizer
  std::size_t n_sent_ = 0;         // bytes out of the stop matcher
};

}  // namespace commissure
