#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace commissure {

/// "98.4 MB", "1.2 GB"; decimal units, as disks and networks use them.
std::string human_bytes(std::uint64_t n_bytes);
/// "0.8 s", "1 min 05 s", "2 h 07 min".
std::string human_seconds(double seconds);
/// How long the rest takes at the rate so far, as human_seconds; "" while that would mean nothing: in the first two
/// seconds, before half a percent is done, and for more than a day. `elapsed` in seconds.
std::string time_left(std::uint64_t done, std::uint64_t total, double elapsed);

enum class ProgressUnit { kBytes, kCount };

/// One task's progress on standard error: amount, share, rate and time left. Redraws one line on a terminal; elsewhere
/// it prints a plain line now and then and no control codes.
class ProgressLine {
 public:
  ///   what   the task, in front of the line
  ///   total  bytes or items in all; 0: unknown
  ProgressLine(std::string what, std::uint64_t total, ProgressUnit unit = ProgressUnit::kBytes);
  ~ProgressLine();

  /// Shows that `done` of the total are done; redraws a few times a second at most.
  void update(std::uint64_t done);
  /// Makes room on a terminal for another line; the next update draws it again.
  void hide();
  /// Ends the line with the time it took.
  void finish();

 private:
  using Clock = std::chrono::steady_clock;
  std::string amount(std::uint64_t n) const;
  std::string line(std::uint64_t done, double elapsed) const;

  const std::string what_;
  const std::uint64_t total_;
  const ProgressUnit unit_;
  const bool on_terminal_;
  const Clock::time_point start_ = Clock::now();
  Clock::time_point last_shown_{};
  std::uint64_t done_ = 0;
  bool finished_ = false;
};

}  // namespace commissure
