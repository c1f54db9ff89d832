#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace commissure {

/// Finds stop strings in streamed text without ever letting a part of one out. Each byte of text costs a bounded number
/// of steps per stop string, on average over the text, however the strings and the text repeat themselves.
/// Source: Knuth, Morris, Pratt, "Fast pattern matching in strings", 1977.
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

  /// Bytes compared so far, which is what the work is.
  std::uint64_t n_compared() const { return n_compared_; }

 private:
  struct Pattern {
    std::string text;
    std::vector<std::uint32_t> shorter;  // per length: the longest shorter beginning that ends there too
    std::size_t n_matched = 0;           // of `text`, at the end of what came so far
  };

  static Pattern make_pattern(std::string text);
  bool advance(Pattern& pattern, char byte);

  std::vector<Pattern> patterns_;
  std::string held_;
  bool matched_ = false;
  std::uint64_t n_compared_ = 0;
};

}  // namespace commissure
