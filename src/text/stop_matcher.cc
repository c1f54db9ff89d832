#include "text/stop_matcher.h"

#include <algorithm>
#include <utility>

namespace commissure {

StopMatcher::StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {
  std::erase_if(stops_, [](const std::string& stop) { return stop.empty(); });
}

StopMatcher::Output StopMatcher::push(std::string_view text) {
  if (matched_) return {};
  held_ += text;
  // The stop that begins first ends the text; of two at one place the longer is named.
  std::size_t first = std::string::npos;
  const std::string* matched = nullptr;
  for (const std::string& stop : stops_) {
    const std::size_t at = held_.find(stop);
    if (at == std::string::npos) continue;
    if (at < first || (at == first && stop.size() > matched->size())) {
      first = at;
      matched = &stop;
    }
  }
  if (matched != nullptr) {
    matched_ = true;
    held_.resize(first);
    return {std::exchange(held_, {}), *matched};
  }
  std::size_t n_kept = 0;
  for (const std::string& stop : stops_) {
    for (std::size_t n = std::min(stop.size() - 1, held_.size()); n > n_kept; --n) {
      if (std::string_view(held_).ends_with(std::string_view(stop).substr(0, n))) n_kept = n;
    }
  }
  Output output{held_.substr(0, held_.size() - n_kept), std::nullopt};
  held_.erase(0, held_.size() - n_kept);
  return output;
}

std::string StopMatcher::finish() { return std::exchange(held_, {}); }

}  // namespace commissure
