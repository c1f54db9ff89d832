#include "sample/adjust.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "core/index.h"

namespace commissure {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();
constexpr float kMost = std::numeric_limits<float>::max();

bool is_inside(TokenId token, std::span<const float> logits) { return has_index(logits, token.value); }

void ban(TokenId token, std::span<float> logits) {
  if (is_inside(token, logits)) logits[token.value] = kNever;
}

/// `value` as a logit: finite, unless it was banned.
float bounded(float old, double value) {
  if (old == kNever) return kNever;
  return static_cast<float>(std::clamp(value, -double{kMost}, double{kMost}));
}

void ban_ends_of_bad_sequences(const SamplingParams& params, std::span<const TokenId> output, std::span<float> logits) {
  for (const std::vector<TokenId>& bad : params.bad_sequences) {
    const std::span<const TokenId> prefix(bad.data(), bad.size() - 1);
    if (prefix.size() > output.size()) continue;
    if (std::ranges::equal(prefix, output.last(prefix.size()))) ban(bad.back(), logits);
  }
}

std::span<const TokenId> output_of(const SamplingParams& params, std::span<const TokenId> history) {
  return history.subspan(std::min(history.size(), to_size(params.n_prompt)));
}

bool has_penalty(const SamplingParams& params) {
  return params.repetition_penalty != 1.0f || params.presence_penalty != 0.0f || params.frequency_penalty != 0.0f;
}

}  // namespace

bool LogitAdjuster::is_needed(const SamplingParams& params) {
  return !params.allowed.empty() || !params.bad_sequences.empty() || !params.logit_bias.empty() ||
         params.min_tokens > 0 || has_penalty(params) || params.dry.multiplier != 0.0f;
}

void LogitAdjuster::apply(const SamplingParams& params, std::span<const TokenId> history, std::int64_t position,
                          std::span<float> logits) {
  if (!params.allowed.empty()) keep_allowed(params.allowed, logits);
  for (const TokenId token : params.banned) ban(token, logits);
  if (!is_needed(params)) return;
  ban_ends_of_bad_sequences(params, output_of(params, history), logits);
  if (position - params.n_prompt < params.min_tokens) {
    for (const TokenId token : params.end_tokens) ban(token, logits);
  }
  for (const LogitBias& entry : params.logit_bias) {
    if (!is_inside(entry.token, logits)) continue;
    float& logit = logits[entry.token.value];
    logit = bounded(logit, double{logit} + double{entry.bias});
  }
  if (has_penalty(params)) penalise(params, history, logits);
  if (params.dry.multiplier != 0.0f) {
    // What the prompt says may be said again: a copy, or the answer of an earlier turn.
    const bool output_alone = params.dry.last_n == kDryOutputAlone;
    penalise_repetitions(params.dry, output_alone ? output_of(params, history) : history, logits);
  }
}

void LogitAdjuster::keep_allowed(std::span<const TokenId> allowed, std::span<float> logits) {
  kept_.clear();
  for (const TokenId token : allowed) {
    kept_.push_back(is_inside(token, logits) ? logits[token.value] : kNever);
  }
  std::ranges::fill(logits, kNever);
  for (std::size_t i = 0; i < allowed.size(); ++i) {
    if (is_inside(allowed[i], logits)) logits[allowed[i].value] = kept_[i];
  }
}

void LogitAdjuster::penalise(const SamplingParams& params, std::span<const TokenId> history, std::span<float> logits) {
  counts_.resize(logits.size(), 0);
  const auto slot = [&](TokenId token) -> std::int32_t& { return counts_[token.value]; };
  const std::span<const TokenId> output = output_of(params, history);
  for (const TokenId token : output) {
    if (is_inside(token, logits)) ++slot(token);
  }
  constexpr std::int32_t kDone = -1;  // the first meeting of a token settles it
  for (const TokenId token : history) {
    if (!is_inside(token, logits) || slot(token) == kDone) continue;
    float& logit = logits[token.value];
    const double penalty{params.repetition_penalty};
    logit = bounded(logit, logit > 0.0f ? double{logit} / penalty : double{logit} * penalty);
    const std::int32_t count = std::exchange(slot(token), kDone);
    if (count == 0) continue;
    logit = bounded(logit, double{logit} - double{params.frequency_penalty} * count - double{params.presence_penalty});
  }
  for (const TokenId token : history) {
    if (is_inside(token, logits)) slot(token) = 0;
  }
}

void LogitAdjuster::penalise_repetitions(const DryParams& dry, std::span<const TokenId> history,
                                         std::span<float> logits) {
  const std::size_t n = dry.last_n < 0 ? history.size() : std::min(history.size(), to_size(dry.last_n));
  if (std::cmp_less_equal(n, dry.allowed_length)) return;
  const std::span<const TokenId> window = history.last(n);
  std::int32_t limit = 0;  // tokens after the last breaker: no repetition is longer
  const auto is_breaker = [&](TokenId token) { return std::ranges::binary_search(dry.breakers, token); };
  while (std::cmp_less(limit, n) && !is_breaker(window[n - 1 - limit])) ++limit;
  if (limit < dry.allowed_length) return;
  count_repeats(window);

  // The longest repetition that each token would continue.
  counts_.resize(logits.size(), 0);
  for (std::size_t i = 0; i + 1 < n; ++i) {
    const std::int32_t length = std::min(repeats_[i], limit);
    if (length < dry.allowed_length || !is_inside(window[i + 1], logits)) continue;
    std::int32_t& longest = counts_[window[i + 1].value];
    longest = std::max(longest, length + 1);  // 0 stays "none"
  }
  for (const TokenId token : window) {
    if (!is_inside(token, logits)) continue;
    const std::int32_t longest = std::exchange(counts_[token.value], 0) - 1;
    if (longest < 0 || is_breaker(token)) continue;  // a repetition ends at a breaker, so that one continues none
    float& logit = logits[token.value];
    const double penalty = double{dry.multiplier} * std::pow(double{dry.base}, longest - dry.allowed_length);
    logit = bounded(logit, double{logit} - std::min(penalty, double{kMost}));
  }
}

// The Z algorithm over the window read backwards: linear, where comparing from every position would be quadratic on
// exactly the repetitive texts this is for. Source: llama.cpp's DRY sampler; Gusfield, section 1.4.
void LogitAdjuster::count_repeats(std::span<const TokenId> window) {
  const std::size_t n = window.size();
  repeats_.assign(n, 0);
  const auto back = [&](std::size_t i) { return window[n - 1 - i]; };
  const auto repeat = [&](std::size_t i) -> std::int32_t& { return repeats_[n - 1 - i]; };
  std::size_t left = 0, right = 0;  // back[left, right) equals the beginning
  for (std::size_t k = 1; k < n; ++k) {
    std::size_t length = 0;
    if (k < right) length = std::min(right - k, to_size(repeat(k - left)));
    while (k + length < n && back(length) == back(k + length)) ++length;
    repeat(k) = static_cast<std::int32_t>(length);
    if (k + length > right) left = k, right = k + length;
  }
}

}  // namespace commissure
