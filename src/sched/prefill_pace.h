#pragma once

#include <array>
#include <chrono>

namespace commissure {

/// Sizes the prompt rows that run beside decodes, from measured step times, so that a step with decode rows takes at
/// most about `max_slowdown` times what it takes without prompts, while one prompt comes in. It is a trade: the streams
/// keep their pace, and the prompt takes longer, since its chunks are small and each chunk reads all keys before it.
/// Where several prompts wait, each may add as much: more clients wait for a first token, and steps with few decode
/// rows are a waste.
///
/// Step times without prompts are known per number of decoding sequences, by powers of two. A number that was not
/// measured yet takes the time of the next smaller number, so that many prompts at once need not wait for every number
/// to be measured. Where no smaller number was measured, or its time is old, the next step goes without prompt rows and
/// measures it. The time that a prompt row adds is taken from the latest steps, since it grows with the prompt. Pure:
/// times are passed in. Threading: one thread at a time.
class PrefillPace {
 public:
  /// However slow prompt rows are, a prompt goes on by this many a step: as many as a matrix product takes at once.
  static constexpr int kMinRows = 8;

  /// `max_slowdown` of 1 or less: unpaced.
  explicit PrefillPace(double max_slowdown) : max_slowdown_(max_slowdown) {}

  /// Rows of `n_prompts` prompts that may be in flight beside `n_decoding` sequences: at least kMinRows, or 0 when the
  /// next step is to show how long these take by themselves.
  int rows(int n_decoding, int n_prompts) const;

  /// A step with decode rows was answered after `took`; `n_prompt_rows` were in flight with it.
  void on_step(int n_decoding, int n_prompt_rows, std::chrono::microseconds took);

 private:
  struct Alone {
    double us = 0;     ///< smoothed; 0: never measured
    int n_beside = 0;  ///< steps with prompts since
  };

  double alone_us(int n_decoding) const;

  const double max_slowdown_;
  std::array<Alone, 16> alone_;  ///< by the bit width of the number of decoding sequences
  double extra_us_ = 0;          ///< what prompt rows added to the latest steps, fading
  double extra_rows_ = 0;        ///< and how many rows these were
};

}  // namespace commissure
