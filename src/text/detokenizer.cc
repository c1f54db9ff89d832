#include "text/detokenizer.h"

#include <algorithm>

#include "text/utf8.h"

namespace commissure {

std::string Detokenizer::bytes_of(TokenId token) const {
  return tokenizer_.token_bytes(token, /*show_control=*/std::ranges::find(shown_, token) != shown_.end());
}

std::string Detokenizer::push(TokenId token) {
  std::string bytes = bytes_of(token);
  if (at_start_ && !bytes.empty()) {
    at_start_ = false;
    if (tokenizer_.strips_leading_space() && bytes.front() == ' ') bytes.erase(0, 1);
  }
  held_ += bytes;
  const std::size_t whole = finished_utf8(held_);
  std::string text = replace_invalid_utf8(std::string_view(held_).substr(0, whole));
  held_.erase(0, whole);
  return text;
}

std::string Detokenizer::finish() {
  std::string text = replace_invalid_utf8(held_);
  held_.clear();
  return text;
}

}  // namespace commissure
