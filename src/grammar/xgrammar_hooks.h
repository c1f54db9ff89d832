#pragma once

#include <optional>
#include <string>

namespace commissure {

/// While it lives, this thread's calls of XGrammar keep the first thing that it would ignore and go on, for
/// its owner to refuse. Threading: one thread; one at a time.
class XGrammarWarnings {
 public:
  XGrammarWarnings();
  ~XGrammarWarnings();
  XGrammarWarnings(const XGrammarWarnings&) = delete;
  XGrammarWarnings& operator=(const XGrammarWarnings&) = delete;

  const std::optional<std::string>& first() const { return first_; }
  void note(const std::string& message) {
    if (!first_) first_ = message;
  }

 private:
  std::optional<std::string> first_;
};

/// What XGrammar said last on this thread before it threw.
const std::string& last_xgrammar_error();

}  // namespace commissure
