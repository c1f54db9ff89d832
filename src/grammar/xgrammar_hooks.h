#pragma once

#include <cpp/support/logging.h>

#include <exception>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>

#include "core/result.h"

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

/// Runs `use`, which calls XGrammar: what it throws becomes an error.
template <typename Use>
auto caught(Use&& use) -> decltype(use()) {
  try {
    return use();
  } catch (const std::bad_alloc&) {
    throw;  // the caller's to deal with, as everywhere
  } catch (const xgrammar::LogFatalError& error) {
    return Error(Code::kInvalidArgument, error.std::runtime_error::what());  // its own what() has time and file too
  } catch (const std::exception& error) {
    return Error(Code::kInvalidArgument, error.what());
  }
}

}  // namespace commissure
