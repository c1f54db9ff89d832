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
#include "step/token_mask.h"

namespace commissure {

/// What a draw depends on beside logits and parameters.
struct SampleContext {
  std::int64_t position = 0;         ///< of the new token in its sequence
  std::span<const TokenId> history;  ///< tokens [0, position), or empty where needs_history(params) is false
  std::optional<float> mu;           ///< mirostat's state: none at the start of a sequence, updated by every draw
  const TokenMask* mask = nullptr;   ///< the tokens that may be drawn; null: any
};

/// Logits to tokens. Pure: the same logits, parameters and context give the same token on every machine and in every
/// batch; the object holds scratch memory only.
///
/// The steps, in vLLM's order with llama.cpp's samplers put where they fit; a step whose parameter is off does nothing.
/// z is a logit, t the temperature, p a probability among the tokens that the steps before have kept.
///  0. mask         the context's
///  1. bans         allowed_token_ids, banned, bad_words (on the output), end tokens before min_tokens
///  2. logit_bias   z += bias
///  3. penalties    each token of prompt and output once: z > 0 ? z / r : z * r with r = repetition_penalty;
///                  then each token of the output once: z -= frequency_penalty * count + presence_penalty
///  4. DRY          z -= multiplier * base^(l - allowed_length), l the longest repetition that the token would extend;
///                  no repetition reaches across a breaker, and a token that is a breaker extends none
///  5. top_n_sigma  keeps z >= max - n * (standard deviation of the finite z)
///  6. temperature  z / t; at temperature 0 the largest logit wins, of equal logits the lowest id, and 7 to 9 are off
///  7. min_p        keeps p >= min_p * max p
///  8. top_k, then typical_p, then top_p, each measured on what the one before it kept
///  9. XTC          with probability xtc_probability drops the tokens with p >= xtc_threshold but the least likely
/// Mirostat 2 replaces steps 5 and 7 to 9: it keeps the tokens with -log2 p <= mu, draws a token x among them and sets
/// mu -= eta * (-log2 p(x) - tau), p(x) among the kept tokens; mu is 2 tau at first.
///
/// Log-probabilities are taken of the raw logits, before step 1. With processed_logprobs they are taken of the
/// distribution that the token was drawn from, which holds only the tokens that all steps kept; at temperature 0, of
/// the logits after step 4.
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
  /// The same for parameters that need neither history (needs_history) nor mirostat's state.
  Result<ScoredToken> sample(std::span<const float> logits, const SamplingParams& params, std::int64_t position);

  /// The log-probability of `target`, and the `n_top` likeliest tokens. target < logits.size().
  /// Errors: kInternal, a logit is NaN or infinite.
  Result<ScoredToken> score(std::span<const float> logits, TokenId target, int n_top);

 private:
  /// As sample(). `raw` is the maximum of `logits`.
  Result<TokenId> draw(std::span<const float> logits, const Maximum& raw, const SamplingParams& params,
                       SampleContext& context);
  /// Fills candidates_ with what steps 7 to 9 keep of masked_.
  void filter(const SamplingParams& params, std::int64_t position);
  TokenId draw_mirostat(const SamplingParams& params, SampleContext& context);
  void add_logprobs(std::span<const float> logits, float max, int n_top, ScoredToken& out);
  /// Adds the log-probabilities for processed_logprobs, from what the draw of out.chosen.token left in masked_ or
  /// candidates_.
  void add_processed_logprobs(const SamplingParams& params, ScoredToken& out);

  LogitAdjuster adjuster_;
  std::vector<float> masked_;  // logits as the steps change them; -infinity is out
  Candidates candidates_;
  std::vector<Candidate> top_;
};

/// How many of a row's largest logits decide what Sampler::sample returns without a mask; all other logits may then be
/// -infinity. 0: every logit matters.
int n_largest_needed(const SamplingParams& params);

/// A random number in [0, 1) that depends on (seed, position) alone. A second draw at the same position uses seed ^ a
/// constant of its own.
/// Source: SplitMix64's finaliser, applied twice.
double uniform(std::uint64_t seed, std::uint64_t position);

}  // namespace commissure
