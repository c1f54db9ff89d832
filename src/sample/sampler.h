#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/result.h"
#include "sample/adjust.h"
#include "sample/candidates.h"
#include "sample/reduce.h"
#include "step/sampled_tokens.h"
#include "step/sampling_params.h"

namespace commissure {

/// What drawing depends on beside logits and parameters.
struct SampleContext {
  std::int64_t position = 0;         ///< that the new token will have in its sequence
  std::span<const TokenId> history;  ///< tokens [0, position), or empty where needs_history(params) is false
  std::optional<float> mu;           ///< of mirostat: as the last draw left it, none at the start; updated
};

/// Logits to tokens. Pure: the same logits, parameters and context give the same token on every machine and in every
/// batch; the object holds scratch memory only.
///
/// The order, which is vLLM's with llama.cpp's samplers put where they fit; names that are off have no effect:
///  1. bans         allowed_token_ids, banned, bad_words (on the output), end tokens before min_tokens
///  2. logit_bias   z += bias
///  3. penalties    on each token of prompt and output: z > 0 ? z / r : z * r, r = repetition_penalty; then on each of
///  the
///                  output: z -= frequency_penalty * count + presence_penalty
///  4. DRY          z -= multiplier * base^(l - allowed_length), l the longest repetition that the token would
///  continue;
///                  none reaches across a breaker, and a token that is one continues none
///  5. top_n_sigma  keeps z >= max - n * (standard deviation of the finite z)
///  6. temperature  z / t. At temperature 0 the largest logit wins, ties go to the lowest id, and nothing below happens
///  7. min_p        keeps p >= min_p * max p
///  8. top_k, then typical_p, then top_p, each measured on what the ones before it kept
///  9. XTC          with probability xtc_probability drops all with p >= xtc_threshold but the least likely one
/// Under mirostat 2, 5 and 7 to 9 are replaced: keeps -log2 p <= mu, draws x, mu -= eta * (-log2 p(x) - tau), p(x)
/// among the kept ones, mu = 2 tau at first.
///
/// Log-probabilities are those of the raw logits, before all of this. With processed_logprobs they are those of the
/// tokens that were left to be drawn, among themselves; at temperature 0 of the logits after 4.
///
/// Source: vLLM's sampler (1-3, 6-8); llama.cpp's sampler chain (4, 5, 9); repetition_penalty arXiv:1909.05858; top_p
/// arXiv:1904.09751; min_p arXiv:2407.01082; typical_p arXiv:2202.00666; top_n_sigma arXiv:2411.07641; mirostat
/// arXiv:2007.14966.
/// Threading: one thread at a time.
class Sampler {
 public:
  /// Draws the token for context.position.
  /// Errors: kInternal, a logit is NaN or infinite; kInvalidArgument, every token is banned. Never a token by accident.
  Result<ScoredToken> sample(std::span<const float> logits, const SamplingParams& params, SampleContext& context);
  /// The same for parameters that need no history or state.
  Result<ScoredToken> sample(std::span<const float> logits, const SamplingParams& params, std::int64_t position);

  /// The log-probability of `target`, and the `n_top` likeliest tokens. target < logits.size().
  /// Errors: kInternal, a logit is NaN or infinite.
  Result<ScoredToken> score(std::span<const float> logits, TokenId target, int n_top);

 private:
  /// `raw` is the maximum of `logits`.
  Result<TokenId> draw(std::span<const float> logits, const Maximum& raw, const SamplingParams& params,
                       SampleContext& context);
  /// Fills candidates_ with what steps 7 to 9 keep of masked_.
  void filter(const SamplingParams& params, std::int64_t position);
  TokenId draw_mirostat(const SamplingParams& params, SampleContext& context);
  void add_logprobs(std::span<const float> logits, float max, int n_top, ScoredToken& out);
  /// Those of what the draw of out.chosen.token left in masked_ or candidates_.
  void add_processed_logprobs(const SamplingParams& params, ScoredToken& out);

  LogitAdjuster adjuster_;
  std::vector<float> masked_;  // logits as the steps change them; -infinity is out
  Candidates candidates_;
  std::vector<Candidate> top_;
};

/// How many of the largest logits decide what Sampler::sample gives: others may be -infinity. 0: all of them matter.
int n_largest_needed(const SamplingParams& params);

/// A number in [0, 1) that depends on (seed, position) alone. Other draws at one position use seed ^ a constant.
/// Source: SplitMix64's finaliser, applied twice.
double uniform(std::uint64_t seed, std::uint64_t position);

}  // namespace commissure
