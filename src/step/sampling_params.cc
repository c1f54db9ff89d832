#include "step/sampling_params.h"

namespace commissure {
namespace {

constexpr int kMaxLogprobs = 20;

}  // namespace

// Comparisons are written so that NaN fails them: no separate check for finite values is needed.
Status validate(const SamplingParams& params) {
  const auto refused = [](auto&&... what) { return Error(Code::kInvalidArgument, what...); };
  if (!(params.temperature >= 0.0f && params.temperature <= 2.0f)) {
    return refused("temperature is ", params.temperature, ", must be between 0 and 2");
  }
  if (params.top_k < 0) return refused("top_k is ", params.top_k, ", must be 0 (off) or more");
  if (!(params.top_p > 0.0f && params.top_p <= 1.0f)) {
    return refused("top_p is ", params.top_p, ", must be above 0 and at most 1");
  }
  if (!(params.min_p >= 0.0f && params.min_p <= 1.0f)) {
    return refused("min_p is ", params.min_p, ", must be between 0 and 1");
  }
  if (params.n_logprobs < -1 || params.n_logprobs > kMaxLogprobs) {
    return refused("logprobs is ", params.n_logprobs, ", must be between -1 (off) and ", kMaxLogprobs);
  }
  for (const TokenId token : params.banned) {
    if (token.value < 0) return refused("banned token ", token.value, " is negative");
  }
  return {};
}

}  // namespace commissure
