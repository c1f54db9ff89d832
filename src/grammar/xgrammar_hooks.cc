#include "grammar/xgrammar_hooks.h"

#include <cpp/lark_converter.h>
#include <cpp/support/logging.h>
#include <cpp/support/utils.h>

namespace commissure {

namespace {

thread_local XGrammarWarnings* current_warnings = nullptr;

}  // namespace

XGrammarWarnings::XGrammarWarnings() { current_warnings = this; }
XGrammarWarnings::~XGrammarWarnings() { current_warnings = nullptr; }

}  // namespace commissure

// What XGrammar calls and the build leaves out, or leaves to its user (XGRAMMAR_LOG_CUSTOMIZE).
namespace xgrammar {

void LogFatalImpl(const std::string& file, int lineno, const std::string& message) {
  throw LogFatalError(file, lineno, message);
}

void LogMessageImpl(const std::string&, int, int level, const std::string& message) {
  if (level == XGRAMMAR_LOG_LEVEL_WARNING && commissure::current_warnings != nullptr) {
    commissure::current_warnings->note(message);
  }
}

Grammar LarkToGrammar(const std::string&, const std::optional<TokenizerInfo>&, const std::vector<NamedGrammar>&) {
  XGRAMMAR_LOG(FATAL) << "Lark grammars are not built in";
  return Grammar(NullObj());
}

Result<Grammar, StructuralTagError> StructuralTagToGrammar(const std::string&, const std::optional<TokenizerInfo>&) {
  XGRAMMAR_LOG(FATAL) << "structural tags are not built in";
  return ResultErr<StructuralTagError>(InvalidStructuralTagError("not built in"));
}

}  // namespace xgrammar
