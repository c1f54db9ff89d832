#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <vector>

#include "step/sampled_tokens.h"

namespace commissure {

struct SlotLimits {
  int first = 1;              ///< slots before anything is measured
  int max = 1;                ///< most slots; not above `first`: the number is fixed
  bool shares_cores = false;  ///< the stages take turns on the same cores
};

/// Chooses over how many steps in flight (slots) decode rows are spread, from measured times.
///
/// A slot of m rows takes the sum of the stages' times for m rows and of the wires' times. Every slot passes all stages
/// once in a cycle. A cycle is as long as one slot takes or, if that is longer, as long as the busiest part needs for
/// all slots: the slowest stage where each stage has its own machine, all stages together where they share cores. More
/// slots mean fewer rows in each, so a shorter pass, but weights are read more often, so more work. The number of slots
/// with the shortest cycle wins; it changes when another number was clearly better for kPatience steps in a row.
///
/// Times are kept per number of rows, by powers of two. Between two measured numbers of rows a time is interpolated
/// linearly; below the smallest it is the smallest's; above the largest it goes on along the last line. Pure: times are
/// passed in. Threading: one thread at a time.
class SlotPolicy {
 public:
  static constexpr int kPatience = 32;
  static constexpr double kClearGain = 0.9;  ///< a cycle this much shorter is clearly better

  explicit SlotPolicy(SlotLimits limits);

  int slots() const { return slots_; }

  /// To be called when a step of `n_rows` decode rows and no other rows was answered after `took`, while `n_decoding`
  /// sequences decode.
  void on_step(int n_decoding, int n_rows, std::chrono::microseconds took, const std::vector<StageTiming>& timings);

 private:
  /// What steps of about as many rows take, smoothed.
  struct Seen {
    double n_rows = 0;  ///< 0: none yet
    std::vector<double> stage_us;
  };
  struct Cost {
    double all_us = 0;
    double slowest_us = 0;
  };

  void note(int n_rows, const std::vector<StageTiming>& timings);
  double time_us(std::size_t stage, double n_rows) const;
  Cost cost(double n_rows) const;
  double cycle_us(int n_decoding, int slots) const;

  const SlotLimits limits_;
  int slots_;
  int n_better_ = 0;     ///< steps in a row after which another number looked clearly better
  double wire_us_ = -1;  ///< of a step on all its ways; negative: not measured
  std::size_t n_stages_ = 0;
  std::array<Seen, 12> seen_;
};

}  // namespace commissure
