#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/ids.h"

namespace commissure {

/// A token with its log-probability (natural log) under the raw model distribution or, where the sequence asks for
/// processed_logprobs and the token was drawn, under the distribution it was drawn from.
struct TokenLogprob {
  TokenId token;
  float logprob = 0.0f;
  bool operator==(const TokenLogprob&) const = default;
};

/// One token that was drawn or scored, and the likeliest alternatives if asked for.
struct ScoredToken {
  TokenLogprob chosen;
  std::vector<TokenLogprob> top;  ///< largest first; empty unless n_logprobs > 0
  bool operator==(const ScoredToken&) const = default;
};

/// What the last stage tells of one slice of a step.
struct SequenceResult {
  SequenceId sequence;
  std::optional<ScoredToken> sampled;     ///< present when the slice asked for a sample
  std::vector<ScoredToken> scored;        ///< one per target of the slice
  bool no_choice = false;                 ///< instead of `sampled`: every token was banned
  std::optional<float> mirostat_mu = {};  ///< with `sampled` under mirostat: the state after it, for a later life
  bool operator==(const SequenceResult&) const = default;
};

/// Where a step's time went on one stage, in microseconds.
struct StageTiming {
  std::string stage;           ///< "a", "b", ...
  std::uint32_t queue_us = 0;  ///< between arrival and start
  std::uint32_t compute_us = 0;
  std::uint32_t wire_us = 0;  ///< between this stage's end and the next one's arrival, as far as it is known here
  /// CRC-32C of the rows, as bf16, of every slice that asks (sum_layers), after each of the stage's layers:
  /// [slice][layer]. Empty when none asks.
  std::vector<std::uint32_t> checksums = {};
  bool has_span = false;  ///< the stage told a collector of the step's traced slices (SliceTrace) by itself
  bool operator==(const StageTiming&) const = default;
};

/// The result of one step: token ids, never logits.
struct SampledTokens {
  StepId step;
  std::vector<SequenceResult> results;  ///< in the order of the batch's slices
  std::vector<StageTiming> timings;     ///< first stage first
};

}  // namespace commissure
