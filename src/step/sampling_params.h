#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/ids.h"
#include "core/result.h"

namespace commissure {

/// Most entries of each list, so that a step frame stays small.
inline constexpr std::size_t kMaxBiases = 1024;
inline constexpr std::size_t kMaxTokenList = 16384;
inline constexpr std::size_t kMaxBadSequences = 1024;
inline constexpr std::size_t kMaxBadTokens = 64;  ///< in one bad sequence

struct LogitBias {
  TokenId token;
  float bias = 0.0f;  ///< -100 .. 100, added to the logit
  bool operator==(const LogitBias&) const = default;
};

/// A DryParams::last_n that looks back on the output and never on the prompt.
inline constexpr int kDryOutputAlone = -2;

/// "Don't repeat yourself": a penalty that grows with the length of the repetition a token would continue.
struct DryParams {
  float multiplier = 0.0f;  ///< 0 is off
  float base = 1.75f;
  int allowed_length = 2;              ///< repetitions shorter than this cost nothing
  int last_n = -1;                     ///< tokens looked back on; -1: all, 0: off, or kDryOutputAlone
  std::vector<TokenId> breakers = {};  ///< sorted; no repetition reaches across one of them
  bool operator==(const DryParams&) const = default;
};

/// Mirostat 2: keeps the surprise of the drawn tokens near `tau` bits.
struct MirostatParams {
  bool is_on = false;
  float tau = 5.0f;
  float eta = 0.1f;              ///< how far each draw moves mu
  std::optional<float> mu = {};  ///< the state to go on from; none: 2 tau, a new sequence
  bool operator==(const MirostatParams&) const = default;
};

/// How logits become a token. Values arrive validated (see validate). sample/sampler.h has the order and the formulas.
struct SamplingParams {
  float temperature = 1.0f;     ///< 0 is greedy: the largest logit, ties to the lowest id
  int top_k = 0;                ///< keep the k largest logits; 0 keeps all
  float top_p = 1.0f;           ///< keep the fewest likeliest tokens that reach this probability together
  float min_p = 0.0f;           ///< keep p >= min_p * p_max
  std::uint64_t seed = 0;       ///< draws come from (seed, position) alone
  int n_logprobs = -1;          ///< -1: none; k >= 0: of the chosen token and the k likeliest
  std::vector<TokenId> banned;  ///< never chosen (e.g. EOS under ignore_eos)

  std::vector<TokenId> allowed = {};                     ///< nothing else is chosen; empty: everything may be
  std::vector<std::vector<TokenId>> bad_sequences = {};  ///< the last token is banned when the output ends in the rest
  std::vector<LogitBias> logit_bias = {};
  int n_prompt = 0;                      ///< positions from here on are output; the engine sets it
  int min_tokens = 0;                    ///< end_tokens are banned until the output has this many tokens
  std::vector<TokenId> end_tokens = {};  ///< set by the engine when min_tokens asks for it

  float repetition_penalty = 1.0f;  ///< on tokens of prompt and output
  float presence_penalty = 0.0f;    ///< on tokens of the output, once
  float frequency_penalty = 0.0f;   ///< on tokens of the output, per occurrence
  float typical_p = 1.0f;
  float top_n_sigma = 0.0f;  ///< 0 is off
  float xtc_probability = 0.0f;
  float xtc_threshold = 0.1f;
  DryParams dry = {};
  MirostatParams mirostat = {};
  bool processed_logprobs = false;  ///< log-probabilities of the distribution drawn from, not of the raw model

  bool operator==(const SamplingParams&) const = default;
};

/// Whether drawing looks at the tokens so far, which the last stage then has to keep.
bool needs_history(const SamplingParams& params);

/// Checks every range. Errors: kInvalidArgument, naming the field and its range.
Status validate(const SamplingParams& params);

}  // namespace commissure
