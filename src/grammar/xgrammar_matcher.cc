#include "grammar/xgrammar_matcher.h"

#include <utility>

#include "core/index.h"
#include "grammar/xgrammar_hooks.h"
#include "grammar/xgrammar_states.h"

namespace commissure {

namespace {

/// XGrammar makes them in one call, which nothing can end.
constexpr std::size_t kMaxMissingMasks = 200;

Error takes_memory(std::string_view what, std::size_t most) {
  return Error(Code::kResourceExhausted, "the grammar takes too much memory: ", what, " over ", most, " bytes");
}

class XGrammarMatcher final : public GrammarMatcher {
 public:
  XGrammarMatcher(const xgrammar::CompiledGrammar& grammar, std::shared_ptr<const Utf8Tokens> utf8, int n_rows,
                  std::size_t followed_bytes)
      : grammar_(grammar),
        vocabulary_(grammar.GetTokenizerInfo()),
        utf8_(std::move(utf8)),
        followed_bytes_(followed_bytes),
        matcher_(grammar),
        words_(to_size(xgrammar::GetBitmaskSize(n_rows))) {}

  Result<TokenMask> mask() override {
    return caught([&]() -> Result<TokenMask> {
      if (n_followed_bytes(matcher_) > followed_bytes_) {
        return takes_memory("the ways to read the answer take", followed_bytes_);
      }
      if (const std::size_t n = n_missing_masks(matcher_, grammar_); n > kMaxMissingMasks) {
        return Error(Code::kResourceExhausted, "the grammar takes too much work: ", n,
                     " places where the answer may be are new to it at once, at most ", kMaxMissingMasks);
      }
      std::int64_t n_words = std::int64_t{count_of(words_)};
      DLTensor tensor{};
      tensor.data = words_.data();
      tensor.device = {kDLCPU, 0};
      tensor.ndim = 1;
      tensor.dtype = xgrammar::GetBitmaskDLType();
      tensor.shape = &n_words;
      matcher_.FillNextTokenBitmask(&tensor);
      utf8_->keep(state_, words_);
      TokenMask mask(words_);
      if (mask.empty()) return Error(Code::kInvalidArgument, "the grammar allows no token of the vocabulary here");
      if (++n_masks_ % kMasksPerCount == 0 && grammar_.MemorySizeBytes() > kMaxCompiledBytes) {
        return takes_memory("its masks have", kMaxCompiledBytes);
      }
      return mask;
    });
  }

  Status accept(TokenId token) override {
    return caught([&]() -> Status {
      const std::vector<std::string>& texts = vocabulary_.GetDecodedVocab();
      const int behind = has_index(texts, token.value) ? Utf8State::next(state_, texts[to_size(token.value)]) : state_;
      if (behind == Utf8State::kBroken || !matcher_.AcceptToken(token.value)) {
        return Error(Code::kInvalidArgument, "the grammar does not allow token ", token.value, " here");
      }
      state_ = behind;
      return {};
    });
  }

  Status accept_text(const std::string& text) override {
    return caught([&]() -> Status {
      const int behind = Utf8State::next(state_, text);
      if (behind == Utf8State::kBroken || !matcher_.AcceptString(text)) {
        return Error(Code::kInvalidArgument, "the grammar does not allow what the prompt has begun");
      }
      state_ = behind;
      return {};
    });
  }

  bool may_end() const override { return matcher_.IsCompleted(); }

 private:
  const xgrammar::CompiledGrammar grammar_;
  const xgrammar::TokenizerInfo vocabulary_;
  const std::shared_ptr<const Utf8Tokens> utf8_;  // of the vocabulary, which all grammars and answers share
  const std::size_t followed_bytes_;
  xgrammar::GrammarMatcher matcher_;
  std::vector<std::uint32_t> words_;
  int state_ = Utf8State::kStart;  // of the text so far
  int n_masks_ = 0;
};

}  // namespace

std::unique_ptr<GrammarMatcher> match_grammar(const xgrammar::CompiledGrammar& grammar,
                                              std::shared_ptr<const Utf8Tokens> utf8, int n_rows,
                                              std::size_t followed_bytes) {
  return std::make_unique<XGrammarMatcher>(grammar, std::move(utf8), n_rows, followed_bytes);
}

}  // namespace commissure
