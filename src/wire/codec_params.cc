#include "wire/codec_params.h"

#include "core/index.h"
#include "step/step_room.h"

namespace commissure {
namespace {

/// A list that is bounded apart from the frame it is in.
template <typename Field>
Status take_list(const Field& field, std::string_view name, std::vector<TokenId>& tokens) {
  if (to_size(field.size()) > kMaxTokenList) {
    return broken(field.size(), " ", name, "s, at most ", kMaxTokenList);
  }
  return take_ids(field, name, 0, tokens);
}

Status take_bad_sequences(const v1::SamplingParams& message, SamplingParams& params) {
  if (to_size(message.bad_sequences_size()) > kMaxBadSequences) {
    return broken(message.bad_sequences_size(), " bad sequences, at most ", kMaxBadSequences);
  }
  for (const v1::TokenList& list : message.bad_sequences()) {
    const std::size_t n = to_size(list.tokens_size());
    if (n == 0 || n > kMaxBadTokens) return broken("a bad sequence of ", n, " tokens, 1 to ", kMaxBadTokens);
    TRY(take_ids(list.tokens(), "bad token", 0, params.bad_sequences.emplace_back()));
  }
  return {};
}

Status take_biases(const v1::SamplingParams& message, SamplingParams& params) {
  if (message.bias_tokens_size() != message.bias_values_size() || to_size(message.bias_tokens_size()) > kMaxBiases) {
    return broken(message.bias_tokens_size(), " tokens with ", message.bias_values_size(), " biases, at most ",
                  kMaxBiases);
  }
  for (int i = 0; i < message.bias_tokens_size(); ++i) {
    if (message.bias_tokens(i) < 0) return broken("biased token ", message.bias_tokens(i), " is negative");
    params.logit_bias.push_back({TokenId(message.bias_tokens(i)), message.bias_values(i)});
  }
  return {};
}

void encode_lists(const SamplingParams& params, v1::SamplingParams& out) {
  put_ids(params.banned, *out.mutable_banned());
  put_ids(params.allowed, *out.mutable_allowed());
  put_ids(params.end_tokens, *out.mutable_end_tokens());
  for (const std::vector<TokenId>& sequence : params.bad_sequences) {
    put_ids(sequence, *out.add_bad_sequences()->mutable_tokens());
  }
  for (const LogitBias& entry : params.logit_bias) {
    out.add_bias_tokens(entry.token.value);
    out.add_bias_values(entry.bias);
  }
}

Status take_lists(const v1::SamplingParams& message, const SamplingParams* before, SamplingParams& params) {
  if (!message.lists_as_before()) {
    TRY(take_list(message.banned(), "banned token", params.banned));
    TRY(take_list(message.allowed(), "allowed token", params.allowed));
    TRY(take_list(message.end_tokens(), "end token", params.end_tokens));
    TRY(take_bad_sequences(message, params));
    TRY(take_biases(message, params));
    return take_list(message.dry().breakers(), "sequence breaker", params.dry.breakers);
  }
  const bool has_own = message.banned_size() + message.allowed_size() + message.end_tokens_size() +
                           message.bad_sequences_size() + message.bias_tokens_size() + message.bias_values_size() +
                           message.dry().breakers_size() >
                       0;
  if (before == nullptr || has_own) return broken("token lists as before, where there are none or others");
  copy_lists(*before, params);
  return {};
}

}  // namespace

void encode(const SamplingParams& params, const SamplingParams* before, v1::SamplingParams& out) {
  const bool as_before = before != nullptr && n_list_entries(params) > 0 && same_lists(*before, params);
  out.set_temperature(params.temperature);
  out.set_top_k(params.top_k);
  out.set_top_p(params.top_p);
  out.set_min_p(params.min_p);
  out.set_seed(params.seed);
  out.set_n_logprobs(params.n_logprobs);
  out.set_lists_as_before(as_before);
  if (!as_before) encode_lists(params, out);
  out.set_n_prompt(params.n_prompt);
  out.set_min_tokens(params.min_tokens);
  if (params.repetition_penalty != 1.0f) out.set_repetition_penalty(params.repetition_penalty);
  out.set_presence_penalty(params.presence_penalty);
  out.set_frequency_penalty(params.frequency_penalty);
  if (params.typical_p != 1.0f) out.set_typical_p(params.typical_p);
  out.set_top_n_sigma(params.top_n_sigma);
  out.set_xtc_probability(params.xtc_probability);
  out.set_xtc_threshold(params.xtc_threshold);
  if (params.dry != DryParams{}) {
    v1::Dry& dry = *out.mutable_dry();
    dry.set_multiplier(params.dry.multiplier);
    dry.set_base(params.dry.base);
    dry.set_allowed_length(params.dry.allowed_length);
    dry.set_last_n(params.dry.last_n);
    if (!as_before) put_ids(params.dry.breakers, *dry.mutable_breakers());
  }
  if (params.mirostat.is_on) {
    v1::Mirostat& mirostat = *out.mutable_mirostat();
    mirostat.set_tau(params.mirostat.tau);
    mirostat.set_eta(params.mirostat.eta);
    if (params.mirostat.mu) mirostat.set_mu(*params.mirostat.mu);
  }
  out.set_processed_logprobs(params.processed_logprobs);
}

Result<SamplingParams> decode(const v1::SamplingParams& message, const SamplingParams* before) {
  SamplingParams params;
  params.temperature = message.temperature();
  params.top_k = message.top_k();
  params.top_p = message.top_p();
  params.min_p = message.min_p();
  params.seed = message.seed();
  params.n_logprobs = message.n_logprobs();
  params.n_prompt = message.n_prompt();
  params.min_tokens = message.min_tokens();
  if (message.has_repetition_penalty()) params.repetition_penalty = message.repetition_penalty();
  params.presence_penalty = message.presence_penalty();
  params.frequency_penalty = message.frequency_penalty();
  if (message.has_typical_p()) params.typical_p = message.typical_p();
  params.top_n_sigma = message.top_n_sigma();
  params.xtc_probability = message.xtc_probability();
  params.xtc_threshold = message.xtc_threshold();
  if (message.has_dry()) {
    const v1::Dry& dry = message.dry();
    params.dry = {dry.multiplier(), dry.base(), dry.allowed_length(), dry.last_n(), {}};
  }
  if (message.has_mirostat()) {
    const v1::Mirostat& mirostat = message.mirostat();
    params.mirostat = {true, mirostat.tau(), mirostat.eta(), {}};
    if (mirostat.has_mu()) params.mirostat.mu = mirostat.mu();
  }
  params.processed_logprobs = message.processed_logprobs();
  TRY(take_lists(message, before, params));
  return params;
}

}  // namespace commissure
