#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/result.h"
#include "step/sampled_tokens.h"
#include "step/sampling_params.h"

namespace commissure {

/// Logits to tokens. Pure: the same logits, parameters and position give the same token on every machine and in every
/// batch; the object holds scratch memory only.
///
/// Order of the filters: banned tokens, temperature, min_p, top_k, top_p. min_p compares with the largest probability
/// after temperature; top_p is measured on what the filters before it kept. At temperature 0 the largest logit wins and
/// ties go to the lowest id. Log-probabilities are those of the raw logits, before any filter.
/// Source: the order of vLLM's sampler; top_p is nucleus sampling, arXiv:1904.09751; min_p, arXiv:2407.01082.
/// Threading: one thread at a time.
class Sampler {
 public:
  /// Draws the token for `position` of the sequence (the position the new token will have).
  /// Errors: kInternal, a logit is NaN or infinite, or every token is banned: never a token drawn by accident.
  Result<ScoredToken> sample(std::span<const float> logits, const SamplingParams& params, std::int64_t position);

  /// The log-probability of `target`, and the `n_top` likeliest tokens. target < logits.size().
  /// Errors: kInternal, a logit is NaN or infinite.
  Result<ScoredToken> score(std::span<const float> logits, TokenId target, int n_top);

 private:
  struct Candidate {
    float score;  ///< logit / temperature - the largest such, so <= 0
    std::int32_t token;
  };
  Result<TokenId> draw(std::span<const float> logits, const SamplingParams& params, std::int64_t position);
  /// Fills candidates_ with what the filters keep; sorted, likeliest first, when top_k or top_p is set.
  void filter(const SamplingParams& params);
  void keep_top_k(int top_k);
  /// `total` is the mass of everything the filters before top_p kept.
  void keep_top_p(float top_p, double total);
  double candidate_mass() const;
  TokenId pick(const SamplingParams& params, std::int64_t position) const;
  void add_logprobs(std::span<const float> logits, float max, int n_top, ScoredToken& out);

  std::vector<float> masked_;  // logits with the banned ones at -infinity
  std::vector<Candidate> candidates_;
};

/// A number in [0, 1) that depends on (seed, position) alone. Source: SplitMix64's finaliser, applied twice.
double uniform(std::uint64_t seed, std::uint64_t position);

}  // namespace commissure
