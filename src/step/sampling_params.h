#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/ids.h"
#include "core/result.h"

namespace commissure {

/// How logits become a token. Values arrive validated (see validate).
struct SamplingParams {
  float temperature = 1.0f;     ///< 0 is greedy: the largest logit, ties to the lowest id
  int top_k = 0;                ///< keep the k largest logits; 0 keeps all
  float top_p = 1.0f;           ///< keep the shortest prefix with this much probability
  float min_p = 0.0f;           ///< keep p >= min_p * p_max
  std::uint64_t seed = 0;       ///< draws come from (seed, position) alone
  int n_logprobs = -1;          ///< -1: none; k >= 0: the chosen token's and the k best
  std::vector<TokenId> banned;  ///< never chosen (e.g. EOS under ignore_eos)

  bool operator==(const SamplingParams&) const = default;
};

/// Checks every range. Errors: kInvalidArgument, naming the field and its range.
Status validate(const SamplingParams& params);

}  // namespace commissure
