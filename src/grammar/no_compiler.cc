#include "grammar/grammar.h"

namespace commissure {

std::shared_ptr<GrammarCompiler> GrammarCompiler::create(std::shared_ptr<const Tokenizer>, int, std::vector<TokenId>,
                                                         GrammarBounds) {
  return nullptr;
}

}  // namespace commissure
