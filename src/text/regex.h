#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string_view>

#include "core/result.h"

namespace commissure {

/// One Unicode regular expression that splits text (PCRE2, compiled to machine code where it can be).
/// `\s` means White_Space, as in the tokenizers' own engines; PCRE2's also holds U+180E.
/// Threading: const functions from any thread.
class Regex {
 public:
  /// Compiles a pattern. Errors: kInvalidArgument, the pattern is wrong; the message is the engine's.
  static Result<Regex> compile(std::string_view pattern);

  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;
  ~Regex();

  /// Calls `visit(begin, end, is_match)` for every match and every gap between matches, in order, so that the
  /// parts cover `text`. Empty matches are skipped. A match that exceeds the engine's limits makes the rest
  /// of the text one gap: hostile patterns cost time, never more.
  ///   text  valid UTF-8
  template <typename Visit>
  void split(std::string_view text, Visit&& visit) const {
    std::size_t done = 0, from = 0, begin = 0, end = 0;
    while (from < text.size() && find(text, from, begin, end)) {
      if (begin == end) {  // an empty match: look again one code point on
        for (from = begin + 1; from < text.size() && (static_cast<unsigned char>(text[from]) & 0xC0u) == 0x80u;) {
          ++from;
        }
        continue;
      }
      if (begin > done) visit(done, begin, false);
      visit(begin, end, true);
      done = from = end;
    }
    if (done < text.size()) visit(done, text.size(), false);
  }

 private:
  struct Compiled;
  explicit Regex(std::unique_ptr<Compiled> compiled);
  bool find(std::string_view text, std::size_t from, std::size_t& begin, std::size_t& end) const;

  std::unique_ptr<Compiled> compiled_;
};

}  // namespace commissure
