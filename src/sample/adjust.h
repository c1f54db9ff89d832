#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "step/sampling_params.h"

namespace commissure {

/// Bans, biases and penalties: what changes logits before the temperature. Sums are clamped to finite floats, so a huge
/// bias makes a token win or lose but never infinite; a logit of -infinity is a banned token and stays -infinity.
/// Threading: one thread at a time; holds scratch memory only.
class LogitAdjuster {
 public:
  /// Whether `apply` could do more than ban params.banned.
  static bool is_needed(const SamplingParams& params);

  /// Changes `logits` [n_vocab] in place for the token at `position`. Ids outside the vocabulary are ignored.
  ///   history   tokens [0, position), or empty where needs_history(params) is false
  void apply(const SamplingParams& params, std::span<const TokenId> history, std::int64_t position,
             std::span<float> logits);

 private:
  void keep_allowed(std::span<const TokenId> allowed, std::span<float> logits);
  void penalise(const SamplingParams& params, std::span<const TokenId> history, std::span<float> logits);
  void penalise_repetitions(const DryParams& dry, std::span<const TokenId> history, std::span<float> logits);
  /// Fills repeats_[i]: how many tokens that end with window[i] equal as many tokens at the window's end.
  void count_repeats(std::span<const TokenId> window);

  std::vector<float> kept_;
  std::vector<std::int32_t> counts_;   // by token; all zero between calls
  std::vector<std::int32_t> repeats_;  // by position of the window
};

}  // namespace commissure
