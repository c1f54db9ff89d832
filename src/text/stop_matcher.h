#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace commissure {

/// Finds stop strings in streamed text without ever letting a part of one out.
class StopMatcher {
 public:
  /// Empty strings are ignored.
  explicit StopMatcher(std::vector<std::string> stops);

  struct Output {
    std::string text;                    ///< safe to send
    std::optional<std::string> matched;  ///< the stop string that ended the text; nothing follows it
  };

  /// Adds text; holds back what may still become a stop string. After a match everything is swallowed.
  Output push(std::string_view text);
  /// The held-back text at the end of generation.
  std::string finish();

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool matched_ = false;
};

}  // namespace commissure
