#include "sched/prefill_pace.h"

#include <algorithm>
#include <bit>
#include <limits>

namespace commissure {

namespace {

constexpr int kMeasureAgain = 128;  // steps with prompts after which a time without them is old
constexpr double kAloneShare = 0.125;
constexpr double kExtraFade = 0.75;

std::size_t bucket(int n_decoding) {
  return std::min<std::size_t>(15, std::bit_width(static_cast<unsigned>(n_decoding)));
}

}  // namespace

/// 0: nothing is known of so many or fewer.
double PrefillPace::alone_us(int n_decoding) const {
  for (std::size_t i = bucket(n_decoding); i > 0; --i) {
    if (alone_[i].us > 0) return alone_[i].us;
  }
  return 0;
}

int PrefillPace::rows(int n_decoding, int n_prompts) const {
  constexpr int kUnbound = std::numeric_limits<int>::max();
  if (max_slowdown_ <= 1 || n_decoding == 0) return kUnbound;
  const double alone = alone_us(n_decoding);
  if (alone == 0 || alone_[bucket(n_decoding)].n_beside >= kMeasureAgain) return 0;
  if (extra_rows_ == 0) return kMinRows;
  const double rows = (max_slowdown_ - 1) * n_prompts * alone * extra_rows_ / std::max(1.0, extra_us_);
  return static_cast<int>(std::clamp<double>(rows, kMinRows, kUnbound));
}

void PrefillPace::on_step(int n_decoding, int n_prompt_rows, std::chrono::microseconds took) {
  const auto us = std::max(1.0, static_cast<double>(took.count()));
  Alone& alone = alone_[bucket(n_decoding)];
  if (n_prompt_rows == 0) {
    alone.us += alone.us == 0 ? us : kAloneShare * (us - alone.us);
    alone.n_beside = 0;
    return;
  }
  ++alone.n_beside;
  const double expected = alone_us(n_decoding);
  if (expected == 0) return;
  extra_us_ = kExtraFade * extra_us_ + std::max(0.0, us - expected);
  extra_rows_ = kExtraFade * extra_rows_ + n_prompt_rows;
}

}  // namespace commissure
