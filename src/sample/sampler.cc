#include "sample/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "core/check.h"
#include "core/index.h"
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

/// A temperature this small divides into infinities; what it means is greedy.
bool is_greedy(const SamplingParams& params) { return params.temperature < 1e-5f; }

/// Whether any of the steps 7 to 9 may leave tokens out.
bool has_filter(const SamplingParams& params) {
  return params.top_k > 0 || params.top_p < 1.0f || params.min_p > 0.0f || params.typical_p < 1.0f ||
         params.xtc_probability > 0.0f;
}

/// Keeps XTC's coin apart from the draw at the same position.
constexpr std::uint64_t kXtcStream = 0x58544320636f696eull;
/// mu stays where float arithmetic on it means something, whatever tau and eta are.
constexpr float kMaxMu = 1e6f;

/// Population standard deviation of the finite logits.
double deviation(std::span<const float> logits) {
  double sum = 0.0, squares = 0.0;
  std::size_t n = 0;
  for (const float logit : logits) {
    if (logit == kNever) continue;
    sum += double{logit};
    ++n;
  }
  const double mean = sum / static_cast<double>(n);
  for (const float logit : logits) {
    if (logit != kNever) squares += (double{logit} - mean) * (double{logit} - mean);
  }
  return std::sqrt(squares / static_cast<double>(n));
}

void apply_mask(const TokenMask& mask, std::span<float> logits) {
  const std::vector<std::uint32_t>& words = mask.words();
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const std::size_t word = i / TokenMask::kBits;
    if (word >= words.size() || (words[word] >> (i % TokenMask::kBits) & 1) == 0) logits[i] = kNever;
  }
}

}  // namespace

double uniform(std::uint64_t seed, std::uint64_t position) {
  constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15ull;
  const std::uint64_t bits = mix(mix(seed + kGolden) + (position + 1) * kGolden);
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

int n_largest_needed(const SamplingParams& params) {
  if (params.n_logprobs >= 0 || LogitAdjuster::is_needed(params)) return 0;
  constexpr std::size_t kFew = 1024;
  if (params.banned.size() > kFew) return 0;
  const int n_banned = count_of(params.banned);  // the largest ones, at worst
  if (is_greedy(params)) return 1 + n_banned;
  if (params.mirostat.is_on || params.top_n_sigma > 0.0f || params.top_k == 0) return 0;
  return params.top_k <= static_cast<int>(kFew) ? params.top_k + n_banned : 0;
}

Result<ScoredToken> Sampler::sample(std::span<const float> logits, const SamplingParams& params,
                                    std::int64_t position) {
  SampleContext context{.position = position, .history = {}, .mu = {}};
  return sample(logits, params, context);
}

Result<ScoredToken> Sampler::sample(std::span<const float> logits, const SamplingParams& params,
                                    SampleContext& context) {
  const Maximum raw = find_maximum(logits);
  if (!raw.is_sound || raw.value == kNever) return unsound_logits();
  const bool max_is_banned =
      std::find(params.banned.begin(), params.banned.end(), TokenId(raw.index)) != params.banned.end();

  ScoredToken out;
  if (params.temperature == 0.0f && !max_is_banned && !LogitAdjuster::is_needed(params) && context.mask == nullptr) {
    out.chosen.token = TokenId(raw.index);
  } else {
    out.chosen.token = TRY(draw(logits, raw, params, context));
    if (params.processed_logprobs && params.n_logprobs >= 0) {
      add_processed_logprobs(params, out);
      return out;
    }
  }
  if (params.n_logprobs >= 0) add_logprobs(logits, raw.value, params.n_logprobs, out);
  return out;
}

Result<ScoredToken> Sampler::score(std::span<const float> logits, TokenId target, int n_top) {
  CHECK(has_index(logits, target.value));
  const Maximum raw = find_maximum(logits);
  if (!raw.is_sound || raw.value == kNever) return unsound_logits();
  ScoredToken out;
  out.chosen.token = target;
  add_logprobs(logits, raw.value, n_top, out);
  return out;
}

Result<TokenId> Sampler::draw(std::span<const float> logits, const Maximum& raw, const SamplingParams& params,
                              SampleContext& context) {
  masked_.assign(logits.begin(), logits.end());
  Maximum best = raw;
  if (context.mask != nullptr) {
    apply_mask(*context.mask, masked_);
    best = find_maximum(masked_);
  }
  if (!params.banned.empty() || LogitAdjuster::is_needed(params)) {
    adjuster_.apply(params, context.history, context.position, masked_);
    best = find_maximum(masked_);
  }
  if (best.value == kNever) return Error(Code::kInvalidArgument, "every token is banned");
  if (is_greedy(params)) return TokenId(best.index);
  if (params.top_k == 1 && !params.mirostat.is_on && !params.processed_logprobs) return TokenId(best.index);
  if (params.top_n_sigma > 0.0f && !params.mirostat.is_on) {
    const double lowest = double{best.value} - double{params.top_n_sigma} * deviation(masked_);
    for (float& value : masked_) value = double{value} >= lowest ? value : kNever;
  }
  const float scale = 1.0f / params.temperature;
  for (float& value : masked_) value = (value - best.value) * scale;
  if (params.mirostat.is_on) return draw_mirostat(params, context);
  const double share = uniform(params.seed, static_cast<std::uint64_t>(context.position));
  if (!has_filter(params)) {
    if (params.processed_logprobs && params.n_logprobs >= 0) candidates_.fill(masked_, kNever);
    return TokenId(pick_by_weight(masked_, share));
  }
  filter(params, context.position);
  return TokenId(candidates_.pick(share).token);
}

void Sampler::filter(const SamplingParams& params, std::int64_t position) {
  double total = 0.0;  // mass that top_p is measured on
  float lowest = params.min_p > 0.0f ? std::log(params.min_p) : kNever;
  if (params.top_k == 0 && params.top_p < 1.0f && params.min_p == 0.0f && params.typical_p >= 1.0f) {
    // Tokens with p < (1 - top_p) / n weigh less than 1 - top_p together, so none is in the nucleus; half of that
    // leaves room for rounding. This saves sorting the vocabulary.
    total = sum_exp(masked_, 0.0f, 1.0f);
    lowest =
        static_cast<float>(std::log(0.5 * (1.0 - double{params.top_p}) * total / static_cast<double>(masked_.size())));
    lowest = std::min(lowest, 0.0f);
  }
  if (params.top_k > 0) {
    candidates_.fill_top_k(masked_, lowest, params.top_k);
  } else {
    candidates_.fill(masked_, lowest);
  }
  if (params.typical_p < 1.0f) candidates_.keep_typical(params.typical_p);
  if (params.top_p < 1.0f) candidates_.keep_top_p(params.top_p, total == 0.0 ? candidates_.mass() : total);
  if (params.xtc_probability > 0.0f && params.xtc_threshold <= 0.5f &&
      uniform(params.seed ^ kXtcStream, static_cast<std::uint64_t>(position)) < double{params.xtc_probability}) {
    candidates_.drop_top_choices(params.xtc_threshold);
  }
}

TokenId Sampler::draw_mirostat(const SamplingParams& params, SampleContext& context) {
  const MirostatParams& mirostat = params.mirostat;
  const float mu = context.mu.value_or(std::min(2.0f * mirostat.tau, kMaxMu));
  candidates_.fill(masked_, kNever);
  candidates_.keep_surprise_below(mu);
  const Candidate& drawn = candidates_.pick(uniform(params.seed, static_cast<std::uint64_t>(context.position)));
  const double surprise = (std::log(candidates_.mass()) - double{drawn.score}) / std::numbers::ln2;
  const double next = double{mu} - double{mirostat.eta} * (surprise - double{mirostat.tau});
  context.mu = static_cast<float>(std::clamp(next, -double{kMaxMu}, double{kMaxMu}));
  return TokenId(drawn.token);
}

void Sampler::add_logprobs(std::span<const float> logits, float max, int n_top, ScoredToken& out) {
  const double log_total = std::log(sum_exp(logits, max, 1.0f));
  const auto logprob = [&](TokenId token) {
    return static_cast<float>(double{logits[token.value]} - double{max} - log_total);
  };
  out.chosen.logprob = logprob(out.chosen.token);
  const std::size_t n = std::min(to_size(std::max(n_top, 0)), logits.size());
  if (n == 0) return;

  // A heap of the n best so far, worst on top: most tokens cost one comparison.
  top_.clear();
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const Candidate candidate{logits[i], static_cast<std::int32_t>(i)};
    if (top_.size() == n && !kLikelier(candidate, top_.front())) continue;
    if (top_.size() == n) {
      std::pop_heap(top_.begin(), top_.end(), kLikelier);
      top_.pop_back();
    }
    top_.push_back(candidate);
    std::push_heap(top_.begin(), top_.end(), kLikelier);
  }
  std::sort(top_.begin(), top_.end(), kLikelier);
  for (const Candidate& candidate : top_) {
    const TokenId token(candidate.token);
    out.top.push_back({token, logprob(token)});
  }
}

void Sampler::add_processed_logprobs(const SamplingParams& params, ScoredToken& out) {
  const std::size_t n_top = to_size(params.n_logprobs);
  if (is_greedy(params)) {
    add_logprobs(masked_, find_maximum(masked_).value, params.n_logprobs, out);
    std::erase_if(out.top, [](const TokenLogprob& token) { return token.logprob == kNever; });
    return;
  }
  const double log_total = std::log(candidates_.mass());
  const auto logprob = [&](const Candidate& candidate) {
    return static_cast<float>(double{candidate.score} - log_total);
  };
  const std::span<const Candidate> left = candidates_.likeliest_first(n_top);
  const auto drawn = std::ranges::find(left, out.chosen.token.value, &Candidate::token);
  CHECK(drawn != left.end());
  out.chosen.logprob = logprob(*drawn);
  for (const Candidate& candidate : left.first(std::min(n_top, left.size()))) {
    out.top.push_back({TokenId(candidate.token), logprob(candidate)});
  }
}

}  // namespace commissure
