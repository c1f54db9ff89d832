#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/generation.h"
#include "text/tokenizer.h"

namespace commissure {

/// Follows one answer that is held to a grammar, thoughts before it aside. Its state is a function of the tokens that
/// were accepted, so an answer that is computed again goes on as before.
/// Threading: one thread at a time.
class HeldAnswer {
 public:
  ///   tokenizer  outlives this
  ///   ends       tokens that end an answer
  ///   seconds    that this thread has worked; empty: by the system's clock
  HeldAnswer(const Tokenizer& tokenizer, AnswerGrammar asked, std::vector<TokenId> ends,
             std::function<double()> seconds = {});

  /// To be called once, first. Errors: kInvalidArgument, the prompt's end has begun something else.
  Status begin();
  /// What may be drawn now; empty: anything. Errors: kInvalidArgument, the grammar takes too much work, or allows
  /// nothing.
  Result<TokenMask> mask();
  /// A token that was drawn, not one that ends the answer. Errors: kInternal, it was not allowed; kInvalidArgument, as
  /// of mask().
  Status accept(TokenId token);
  /// Whether nothing but an end may follow.
  bool is_over();

 private:
  enum class State { kBeginning, kThinking, kHeld, kFree };

  Status accept_thought(TokenId token);
  /// Runs `call`, which asks the matcher, and counts its time. Errors: what it gives; the answer took too much of it.
  template <typename Call>
  auto counted(Call call) -> decltype(call());
  bool is_overdrawn() const;
  const Result<TokenMask>& next();

  const Tokenizer* tokenizer_;  // a pointer, so that this can be moved
  AnswerGrammar asked_;
  std::vector<TokenId> ends_;
  State state_;
  std::unique_ptr<GrammarMatcher> matcher_;
  std::optional<Result<TokenMask>> next_;  // of the matcher, as far as it was asked
  std::string tail_;                       // of the thought, where its end may have begun
  std::function<double()> thread_seconds_;
  double seconds_ = 0;  // that the matcher took
  int n_tokens_ = 0;    // that it was given
};

}  // namespace commissure
