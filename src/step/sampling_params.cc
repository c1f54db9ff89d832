#include "step/sampling_params.h"

#include <limits>
#include <span>
#include <string_view>

namespace commissure {
namespace {

constexpr int kMaxLogprobs = 20;
constexpr float kFloatMax = std::numeric_limits<float>::max();

template <typename... What>
Error refused(const What&... what) {
  return Error(Code::kInvalidArgument, what...);
}

struct Range {
  std::string_view name;
  float value, low, high;
  bool open_low = false;
};

// Comparisons are written so that NaN fails them: no separate check for finite values is needed.
Status check_ranges(std::span<const Range> ranges) {
  for (const Range& range : ranges) {
    const bool above = range.open_low ? range.value > range.low : range.value >= range.low;
    if (above && range.value <= range.high) continue;
    if (range.high == kFloatMax) {
      return refused(range.name, " is ", range.value, ", must be a number ", range.open_low ? "above " : "of at least ",
                     range.low);
    }
    return refused(range.name, " is ", range.value, ", must be ", range.open_low ? "above " : "between ", range.low,
                   range.open_low ? " and at most " : " and ", range.high);
  }
  return {};
}

Status check_tokens(std::string_view name, std::span<const TokenId> tokens) {
  if (tokens.size() > kMaxTokenList) return refused(name, " has ", tokens.size(), " tokens, at most ", kMaxTokenList);
  for (const TokenId token : tokens) {
    if (token.value < 0) return refused(name, " token ", token.value, " is negative");
  }
  return {};
}

Status check_lists(const SamplingParams& params) {
  TRY(check_tokens("banned", params.banned));
  TRY(check_tokens("allowed_token_ids", params.allowed));
  TRY(check_tokens("stop_token_ids", params.end_tokens));
  TRY(check_tokens("dry_sequence_breakers", params.dry.breakers));
  if (params.bad_sequences.size() > kMaxBadSequences) {
    return refused("bad_words has ", params.bad_sequences.size(), " entries, at most ", kMaxBadSequences);
  }
  for (const std::vector<TokenId>& sequence : params.bad_sequences) {
    if (sequence.empty() || sequence.size() > kMaxBadTokens) {
      return refused("bad_words has an entry of ", sequence.size(), " tokens, must be 1 to ", kMaxBadTokens);
    }
    TRY(check_tokens("bad_words", sequence));
  }
  if (params.logit_bias.size() > kMaxBiases) {
    return refused("logit_bias has ", params.logit_bias.size(), " entries, at most ", kMaxBiases);
  }
  for (const LogitBias& entry : params.logit_bias) {
    if (entry.token.value < 0) return refused("logit_bias token ", entry.token.value, " is negative");
    const Range range[] = {{"logit_bias", entry.bias, -100, 100}};
    TRY(check_ranges(range));
  }
  return {};
}

}  // namespace

bool needs_history(const SamplingParams& params) {
  return params.repetition_penalty != 1.0f || params.presence_penalty != 0.0f || params.frequency_penalty != 0.0f ||
         params.dry.multiplier != 0.0f || !params.bad_sequences.empty();
}

Status validate(const SamplingParams& params) {
  const Range ranges[] = {
      {"temperature", params.temperature, 0, 2},
      {"top_p", params.top_p, 0, 1, true},
      {"min_p", params.min_p, 0, 1},
      {"repetition_penalty", params.repetition_penalty, 0, kFloatMax, true},
      {"presence_penalty", params.presence_penalty, -2, 2},
      {"frequency_penalty", params.frequency_penalty, -2, 2},
      {"typical_p", params.typical_p, 0, 1, true},
      {"top_n_sigma", params.top_n_sigma, 0, kFloatMax},
      {"xtc_probability", params.xtc_probability, 0, 1},
      {"xtc_threshold", params.xtc_threshold, 0, 1},
      {"dry_multiplier", params.dry.multiplier, 0, kFloatMax},
      {"dry_base", params.dry.base, 1, kFloatMax},
      {"mirostat_tau", params.mirostat.tau, 0, 1000},
      {"mirostat_eta", params.mirostat.eta, 0, 1000},
      {"the state of mirostat", params.mirostat.mu.value_or(0), -kFloatMax, kFloatMax},
  };
  TRY(check_ranges(ranges));
  if (params.top_k < 0) return refused("top_k is ", params.top_k, ", must be 0 (off) or more");
  if (params.n_logprobs < -1 || params.n_logprobs > kMaxLogprobs) {
    return refused("logprobs is ", params.n_logprobs, ", must be between -1 (off) and ", kMaxLogprobs);
  }
  if (params.min_tokens < 0) return refused("min_tokens is ", params.min_tokens, ", must be 0 (off) or more");
  if (params.n_prompt < 0) return refused("the prompt's length is ", params.n_prompt);
  if (params.dry.allowed_length < 0 || params.dry.last_n < kDryOutputAlone) {
    return refused("dry_allowed_length is ", params.dry.allowed_length, " and dry_penalty_last_n ", params.dry.last_n,
                   ", must be at least 0 and ", kDryOutputAlone);
  }
  return check_lists(params);
}

}  // namespace commissure
