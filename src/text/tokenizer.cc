#include "text/tokenizer.h"

#include "text/detokenizer.h"

namespace commissure {

std::string Tokenizer::decode(const std::vector<TokenId>& tokens) const {
  Detokenizer detokenizer(*this, /*continues_text=*/false);
  std::string text;
  for (const TokenId token : tokens) text += detokenizer.push(token);
  return text + detokenizer.finish();
}

}  // namespace commissure
