#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "text/regex.h"
#include "text/unicode.h"

namespace commissure {

/// The steps by which a tokenizer changes a text before the text is split into pieces.
/// Threading: const functions from any thread.
class Normaliser {
 public:
  struct Prepend {
    std::string text;  ///< put before text that is not empty
  };
  struct Replace {
    std::string from, to;  ///< every occurrence
  };
  struct ReplaceRegex {
    Regex from;
    std::string to;
  };
  struct Strip {
    bool left, right;
  };
  struct Lowercase {};
  struct StripAccents {};
  using Step = std::variant<Prepend, Replace, ReplaceRegex, Strip, Lowercase, StripAccents, NormalForm>;

  /// Appends a step, one of Step's alternatives.
  template <typename Alternative>
  void add(Alternative step) {
    steps_.emplace_back(std::move(step));
  }
  bool empty() const { return steps_.empty(); }

  /// The text after all steps, in order. Steps that make a text many times as long are cut off, so that no model's file
  /// can ask for endless memory.
  std::string run(std::string text) const;

 private:
  std::vector<Step> steps_;
};

/// `text` with every `from` replaced by `to`.
std::string replace_all(std::string_view text, std::string_view from, std::string_view to);

}  // namespace commissure
