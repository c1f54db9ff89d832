#include "sched/slot_policy.h"

#include <algorithm>
#include <bit>

namespace commissure {

namespace {

constexpr double kShare = 0.125;  // of a new time in a smoothed one

void smooth(double& value, double sample, bool is_first) {
  value += is_first ? sample - value : kShare * (sample - value);
}

}  // namespace

SlotPolicy::SlotPolicy(SlotLimits limits) : limits_(limits), slots_(std::max(1, limits.first)) {}

void SlotPolicy::on_step(int n_decoding, int n_rows, std::chrono::microseconds took,
                         const std::vector<StageTiming>& timings) {
  if (limits_.max <= limits_.first || n_rows == 0 || timings.empty()) return;
  double away_us = static_cast<double>(took.count());
  for (const StageTiming& timing : timings) away_us -= static_cast<double>(timing.queue_us) + timing.compute_us;
  smooth(wire_us_, std::max(0.0, away_us), wire_us_ < 0);
  note(n_rows, timings);

  const int most = std::min(limits_.max, n_decoding);
  int best = std::min(slots_, most);
  const double now = cycle_us(n_decoding, best);
  double shortest = kClearGain * now;
  for (int slots = 1; slots <= most; ++slots) {
    const double cycle = cycle_us(n_decoding, slots);
    if (cycle >= shortest) continue;
    shortest = cycle;
    best = slots;
  }
  n_better_ = best == std::min(slots_, most) ? 0 : n_better_ + 1;
  if (n_better_ < kPatience) return;
  slots_ = best;
  n_better_ = 0;
}

void SlotPolicy::note(int n_rows, const std::vector<StageTiming>& timings) {
  const std::size_t bucket = std::bit_width(static_cast<unsigned>(n_rows));
  if (n_stages_ != timings.size()) {
    n_stages_ = timings.size();
    seen_.fill({0, std::vector<double>(n_stages_)});
  }
  Seen& seen = seen_[std::min(bucket, seen_.size() - 1)];
  const bool is_first = seen.n_rows == 0;
  smooth(seen.n_rows, n_rows, is_first);
  for (std::size_t i = 0; i < n_stages_; ++i) smooth(seen.stage_us[i], timings[i].compute_us, is_first);
}

double SlotPolicy::time_us(std::size_t stage, double n_rows) const {
  double from_rows = 0;
  double from_us = 0;
  double slope = 0;  // per row; a single known time is all rows' own
  for (const Seen& seen : seen_) {
    if (seen.n_rows == 0) continue;
    const double us = seen.stage_us[stage];
    if (from_rows == 0 && n_rows <= seen.n_rows) return us;
    slope = std::clamp((us - from_us) / (seen.n_rows - from_rows), 0.0, us / seen.n_rows);
    from_rows = seen.n_rows;
    from_us = us;
    if (n_rows <= seen.n_rows) break;
  }
  return from_us + slope * (n_rows - from_rows);
}

SlotPolicy::Cost SlotPolicy::cost(double n_rows) const {
  Cost sum;
  for (std::size_t stage = 0; stage < n_stages_; ++stage) {
    const double us = time_us(stage, n_rows);
    sum.all_us += us;
    sum.slowest_us = std::max(sum.slowest_us, us);
  }
  return sum;
}

double SlotPolicy::cycle_us(int n_decoding, int slots) const {
  const Cost one = cost((n_decoding + slots - 1) / slots);
  return std::max(wire_us_ + one.all_us, slots * (limits_.shares_cores ? one.all_us : one.slowest_us));
}

}  // namespace commissure
