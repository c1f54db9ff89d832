#include "engine/text_stream.h"

#include <utility>

namespace commissure {

TextStream::TextStream(const Tokenizer& tokenizer, std::vector<std::string> stops, bool include_stop,
                       std::vector<TokenId> shown)
    : detokenizer_(tokenizer, /*continues_text=*/true, std::move(shown)),
      matcher_(std::move(stops)),
      include_stop_(include_stop) {}

TextStream::Output TextStream::push(TokenId token, std::optional<ScoredToken> score) {
  held_.push_back({{token, detokenizer_.bytes_of(token), std::move(score)}, n_detokenized_, {}});
  Output output;
  take_piece(detokenizer_.push(token), output);
  release_tokens(output.matched.has_value(), output);
  return output;
}

TextStream::Output TextStream::finish() {
  Output output;
  take_piece(detokenizer_.finish(), output);
  if (!output.matched) {
    const std::string rest = matcher_.finish();
    n_sent_ += rest.size();
    output.text += rest;
  }
  release_tokens(/*all=*/true, output);
  return output;
}

void TextStream::take_piece(std::string_view piece, Output& output) {
  n_detokenized_ += piece.size();
  if (!piece.empty()) {
    for (auto held = held_.rbegin(); held != held_.rend() && !held->end; ++held) held->end = n_detokenized_;
  }
  StopMatcher::Output safe = matcher_.push(piece);
  n_sent_ += safe.text.size();
  output.text += safe.text;
  if (!safe.matched) return;
  if (include_stop_) {
    n_sent_ += safe.matched->size();
    output.text += *safe.matched;
  }
  output.matched = std::move(safe.matched);
}

/// Tokens whose text is out; at the end (`all`) also the one that a stop string cut, and those without text in between.
void TextStream::release_tokens(bool all, Output& output) {
  const bool cut = all && n_sent_ < n_detokenized_;
  while (!held_.empty()) {
    HeldToken& first = held_.front();
    const bool out = first.end && *first.end <= n_sent_;
    if (!out && !all) return;
    if (cut && first.begin >= n_sent_) return;
    output.tokens.push_back(std::move(first.token));
    held_.pop_front();
  }
}

}  // namespace commissure
