#pragma once

#include <cstdint>
#include <string>

#include "client/client.h"

namespace commissure {

/// Makes prompts of common English words for load tests: request `i` of a seed has the same prompt in every run.
/// Threading: make() from any thread.
class LoadPrompts {
 public:
  /// A prompt has `n_words` words, of which the first `shared_fraction` (0 to 1) are the same for all.
  LoadPrompts(std::uint64_t seed, int n_words, double shared_fraction);

  std::string make(std::uint64_t request) const;
  int n_words() const { return n_words_; }

 private:
  std::uint64_t seed_;
  int n_words_;
  int n_shared_;
};

/// Prompts of `n_tokens` tokens: the number of words is fitted to the server's /tokenize where it has one (Commissure,
/// vLLM, llama.cpp), else a word counts as a token. `shared_fraction` as in LoadPrompts.
LoadPrompts fit_prompts(const ApiAddress& endpoint, const std::string& model, std::uint64_t seed, int n_tokens,
                        double shared_fraction);

}  // namespace commissure
