#include "text/detokenizer.h"

#include "text/utf8.h"

namespace commissure {

std::string Detokenizer::push(TokenId token) {
  std::string bytes = tokenizer_.token_bytes(token, /*show_control=*/false);
  if (at_start_ && !bytes.empty()) {
    at_start_ = false;
    if (tokenizer_.strips_leading_space() && bytes.front() == ' ') bytes.erase(0, 1);
  }
  held_ += bytes;
  // Only the end of the text can be an unfinished code point; what is broken before it never heals.
  std::size_t whole = held_.size();
  for (std::size_t n_tail = 1; n_tail <= 3 && n_tail <= held_.size(); ++n_tail) {
    const CodePoint tail = decode_code_point(held_, held_.size() - n_tail);
    if (!tail.is_cut) continue;
    whole = held_.size() - n_tail;
    break;
  }
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
