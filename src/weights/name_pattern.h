#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace commissure {

/// A pattern of module names as rank_pattern and alpha_pattern of PEFT have them: it fits a name that it matches from a
/// segment's first character ("layers.0.self_attn.q_proj" has four) to the name's end. Of regular expressions it knows
/// what such patterns are made of: `.`, `\.`, `\d`, `[0-9]`, `*`, `+`, `?`, `^`, `$` at the end, and `|` between whole
/// patterns.
/// Source: get_pattern_key of peft 0.21.
class NamePattern {
 public:
  /// Errors: kUnimplemented, it has other parts of regular expressions; kInvalidArgument, it is too long.
  static Result<NamePattern> parse(std::string_view text);

  bool fits(std::string_view name) const;
  /// Whether a part of it may be repeated, so that looking for it takes longer.
  bool has_repeats() const;

  static constexpr std::size_t kMaxBytes = 512;

 private:
  enum class Kind { kCharacter, kAny, kDigit };
  struct Part {
    Kind kind = Kind::kCharacter;
    char character = 0;
    bool may_lack = false, may_repeat = false;
    bool takes(char c) const;
  };
  struct Choice {
    bool from_start = false;  ///< of the name
    std::vector<Part> parts;
  };
  static Result<Choice> parse_choice(std::string_view text);
  static bool fits(const Choice& choice, std::string_view name);

  std::vector<Choice> choices_;
};

}  // namespace commissure
