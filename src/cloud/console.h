#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cloud/report.h"
#include "core/json.h"

namespace commissure {

/// Shows the work of a CloudExecutor: a line per step for people on standard error, redrawn while a call runs on a
/// terminal; or, with `as_json`, one object a line on standard output. Threading: one thread; `tick` any.
class CloudConsole {
 public:
  explicit CloudConsole(bool as_json);

  CloudReport report();
  /// Says which steps have something to do and how long they take; `more` seconds of work follow the last one.
  void plan(const std::vector<CloudStep>& steps, double more);
  /// Shows progress while a call of the current step runs; `line` is what gcloud said last, or empty.
  void tick(std::string_view line);
  void note(const std::string& text);
  /// Prints anything else: `event` for programs, `text` for people.
  void say(const Json& event, const std::string& text);

 private:
  void begin(const CloudStep& step);
  void call(const CloudStep& step, std::size_t index);
  void end(const CloudStep& step, bool changed, double seconds);
  std::string progress() const;
  double later_seconds() const;
  void clear_line();

  using Clock = std::chrono::steady_clock;
  const bool as_json_;
  const bool on_terminal_;
  const CloudStep* step_ = nullptr;                       ///< the one that runs; none between steps
  std::vector<std::pair<std::string, double>> expected_;  ///< seconds of the steps that have not begun, in order
  double more_ = 0;
  std::string last_line_;  ///< of gcloud
  std::size_t call_ = 0;
  Clock::time_point start_{}, call_start_{}, shown_{};
};

}  // namespace commissure
