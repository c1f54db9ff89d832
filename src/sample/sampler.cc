#include "sample/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/check.h"
#include "sample/reduce.h"

namespace commissure {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

Error unsound_logits() {
  return Error(Code::kInternal, "the model produced logits that are not finite; the weights may be damaged");
}

/// Likeliest first; equal ones by id, so that the order is one and the same everywhere.
constexpr auto kLikelier = [](const auto& a, const auto& b) {
  return a.score != b.score ? a.score > b.score : a.token < b.token;
};

}  // namespace

double uniform(std::uint64_t seed, std::uint64_t position) {
  constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15ull;
  const std::uint64_t bits = mix(mix(seed + kGolden) + (position + 1) * kGolden);
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

Result<ScoredToken> Sampler::sample(std::span<const float> logits, const SamplingParams& params,
                                    std::int64_t position) {
  const Maximum raw = find_maximum(logits);
  if (!raw.is_sound || raw.value == kNever) return unsound_logits();
  const bool max_is_banned =
      std::find(params.banned.begin(), params.banned.end(), TokenId(raw.index)) != params.banned.end();

  ScoredToken out;
  if (params.temperature == 0.0f && !max_is_banned) {
    out.chosen.token = TokenId(raw.index);
  } else {
    out.chosen.token = TRY(draw(logits, params, position));
  }
  if (params.n_logprobs >= 0) add_logprobs(logits, raw.value, params.n_logprobs, out);
  return out;
}

Result<ScoredToken> Sampler::score(std::span<const float> logits, TokenId target, int n_top) {
  CHECK(target.value >= 0 && static_cast<std::size_t>(target.value) < logits.size());
  const Maximum raw = find_maximum(logits);
  if (!raw.is_sound || raw.value == kNever) return unsound_logits();
  ScoredToken out;
  out.chosen.token = target;
  add_logprobs(logits, raw.value, n_top, out);
  return out;
}

Result<TokenId> Sampler::draw(std::span<const float> logits, const SamplingParams& params, std::int64_t position) {
  masked_.assign(logits.begin(), logits.end());
  for (const TokenId token : params.banned) {
    if (token.value >= 0 && static_cast<std::size_t>(token.value) < masked_.size()) {
      masked_[static_cast<std::size_t>(token.value)] = kNever;
    }
  }
  const Maximum best = find_maximum(masked_);
  if (best.value == kNever) return Error(Code::kInternal, "every token is banned");
  // A temperature this small divides into infinities; what it means is greedy.
  if (params.temperature < 1e-5f || params.top_k == 1) return TokenId(best.index);
  const float scale = 1.0f / params.temperature;
  for (float& value : masked_) value = (value - best.value) * scale;
  filter(params);
  return pick(params, position);
}

void Sampler::filter(const SamplingParams& params) {
  double total = 0.0;  // mass that top_p is measured on
  float lowest = params.min_p > 0.0f ? std::log(params.min_p) : kNever;
  if (params.top_k == 0 && params.top_p < 1.0f && params.min_p == 0.0f) {
    // Tokens with p < (1 - top_p) / n weigh less than 1 - top_p together, so none is in the nucleus; half of that
    // leaves room for rounding. This saves sorting the vocabulary.
    total = sum_exp(masked_, 0.0f, 1.0f);
    lowest =
        static_cast<float>(std::log(0.5 * (1.0 - double{params.top_p}) * total / static_cast<double>(masked_.size())));
    lowest = std::min(lowest, 0.0f);
  }
  candidates_.clear();
  for (std::size_t i = 0; i < masked_.size(); ++i) {
    if (masked_[i] >= lowest && masked_[i] > kNever) candidates_.push_back({masked_[i], static_cast<std::int32_t>(i)});
  }
  if (params.top_k > 0) keep_top_k(params.top_k);
  if (params.top_p >= 1.0f) return;
  if (total == 0.0) total = candidate_mass();
  keep_top_p(params.top_p, total);
}

double Sampler::candidate_mass() const {
  double mass = 0.0;
  for (const Candidate& candidate : candidates_) mass += double{exp_negative(candidate.score)};
  return mass;
}

void Sampler::keep_top_k(int top_k) {
  const auto k = static_cast<std::ptrdiff_t>(top_k);
  if (k < std::ssize(candidates_)) {
    std::nth_element(candidates_.begin(), candidates_.begin() + k, candidates_.end(), kLikelier);
    candidates_.resize(static_cast<std::size_t>(top_k));
  }
  std::sort(candidates_.begin(), candidates_.end(), kLikelier);
}

void Sampler::keep_top_p(float top_p, double total) {
  std::sort(candidates_.begin(), candidates_.end(), kLikelier);
  double mass = 0.0;
  std::size_t n_kept = 0;
  while (n_kept < candidates_.size() && (n_kept == 0 || mass < double{top_p} * total)) {
    mass += double{exp_negative(candidates_[n_kept++].score)};
  }
  candidates_.resize(n_kept);
}

TokenId Sampler::pick(const SamplingParams& params, std::int64_t position) const {
  const double aim = uniform(params.seed, static_cast<std::uint64_t>(position)) * candidate_mass();
  double mass = 0.0;
  for (const Candidate& candidate : candidates_) {
    mass += double{exp_negative(candidate.score)};
    if (aim < mass) return TokenId(candidate.token);
  }
  return TokenId(candidates_.back().token);
}

void Sampler::add_logprobs(std::span<const float> logits, float max, int n_top, ScoredToken& out) {
  const double log_total = std::log(sum_exp(logits, max, 1.0f));
  const auto logprob = [&](std::size_t token) {
    return static_cast<float>(double{logits[token]} - double{max} - log_total);
  };
  out.chosen.logprob = logprob(static_cast<std::size_t>(out.chosen.token.value));
  const std::size_t n = std::min(static_cast<std::size_t>(std::max(n_top, 0)), logits.size());
  if (n == 0) return;

  // A heap of the n best so far, worst on top: most tokens cost one comparison.
  candidates_.clear();
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const Candidate candidate{logits[i], static_cast<std::int32_t>(i)};
    if (candidates_.size() == n && !kLikelier(candidate, candidates_.front())) continue;
    if (candidates_.size() == n) {
      std::pop_heap(candidates_.begin(), candidates_.end(), kLikelier);
      candidates_.pop_back();
    }
    candidates_.push_back(candidate);
    std::push_heap(candidates_.begin(), candidates_.end(), kLikelier);
  }
  std::sort(candidates_.begin(), candidates_.end(), kLikelier);
  for (const Candidate& candidate : candidates_) {
    out.top.push_back({TokenId(candidate.token), logprob(static_cast<std::size_t>(candidate.token))});
  }
}

}  // namespace commissure
