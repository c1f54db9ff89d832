#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "core/result.h"
#include "text/regex.h"

namespace commissure {

/// A text and where its pieces end.
struct Pieces {
  std::string text;
  std::vector<std::uint32_t> ends;  ///< ascending; the last is the text's length; empty for an empty text
};

/// Splits text into the pieces that a tokenizer's model sees one by one.
/// Threading: const functions from any thread.
class PreTokenizer {
 public:
  /// What becomes of the parts that a pattern matches.
  enum class Behaviour { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };
  struct Split {
    Regex pattern;
    Behaviour behaviour = Behaviour::kIsolated;
    bool is_inverted = false;  ///< the pattern describes the pieces, not what stands between them
  };
  /// A space before each piece that has none.
  struct PrefixSpace {};
  /// Spaces become `replacement`, which also begins each piece.
  struct Metaspace {
    enum class Prepend { kNever, kFirst, kAlways };
    std::string replacement;
    Prepend prepend = Prepend::kAlways;
    bool splits = true;
  };
  using Step = std::variant<Split, PrefixSpace, Metaspace>;

  /// The pre-tokenizer that GGUF's key tokenizer.ggml.pre names.
  /// Errors: kUnimplemented, the name is not known here; the message has it.
  static Result<PreTokenizer> named(std::string_view name);

  /// Appends a step, one of Step's alternatives.
  template <typename Alternative>
  void add(Alternative step) {
    steps_.emplace_back(std::move(step));
  }

  /// Splits a text into pieces, step after step.
  ///   is_start  `text` stands at the beginning of the whole text, not behind a special token
  Pieces run(std::string text, bool is_start) const;

 private:
  std::vector<Step> steps_;
};

}  // namespace commissure
