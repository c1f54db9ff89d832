#include "text/stop_matcher.h"

#include <algorithm>
#include <utility>

namespace commissure {

StopMatcher::StopMatcher(std::vector<std::string> stops) {
  for (std::string& stop : stops) {
    if (!stop.empty()) patterns_.push_back(make_pattern(std::move(stop)));
  }
}

StopMatcher::Pattern StopMatcher::make_pattern(std::string text) {
  std::vector<std::uint32_t> shorter(text.size() + 1, 0);
  for (std::size_t i = 1, n = 0; i < text.size(); ++i) {
    while (n > 0 && text[i] != text[n]) n = shorter[n];
    if (text[i] == text[n]) ++n;
    shorter[i + 1] = static_cast<std::uint32_t>(n);
  }
  return {std::move(text), std::move(shorter)};
}

/// Whether the whole pattern ends with this byte. Each step back undoes an earlier step forward, which is why the steps
/// are bounded by the text's length.
bool StopMatcher::advance(Pattern& pattern, char byte) {
  std::size_t& n = pattern.n_matched;
  ++n_compared_;
  while (n > 0 && pattern.text[n] != byte) {
    n = pattern.shorter[n];
    ++n_compared_;
  }
  if (pattern.text[n] == byte) ++n;
  return n == pattern.text.size();
}

StopMatcher::Output StopMatcher::push(std::string_view text) {
  if (matched_) return {};
  // The stop that begins first ends the text; of two at one place the longer is named.
  std::size_t first = std::string::npos;
  const Pattern* matched = nullptr;
  std::size_t n_kept = 0;
  for (Pattern& pattern : patterns_) {
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (!advance(pattern, text[i])) continue;
      const std::size_t at = held_.size() + i + 1 - pattern.text.size();
      if (at < first || (at == first && pattern.text.size() > matched->text.size())) {
        first = at;
        matched = &pattern;
      }
      break;  // its later places begin later
    }
    n_kept = std::max(n_kept, pattern.n_matched);
  }
  held_ += text;
  if (matched != nullptr) {
    matched_ = true;
    held_.resize(first);
    return {std::exchange(held_, {}), matched->text};
  }
  Output output{held_.substr(0, held_.size() - n_kept), std::nullopt};
  held_.erase(0, held_.size() - n_kept);
  return output;
}

std::string StopMatcher::finish() { return std::exchange(held_, {}); }

}  // namespace commissure
