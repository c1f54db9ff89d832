#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "core/json.h"
#include "deploy/cloud_executor.h"

namespace commissure {

/// Shows the work of a CloudExecutor: a line per step for people on standard error, redrawn while a call runs on a
/// terminal; or, with `as_json`, one object a line on standard output. Threading: one thread; `tick` any.
class CloudConsole {
 public:
  explicit CloudConsole(bool as_json);

  CloudReport report();
  /// While a call of the current step runs: gcloud's last words.
  void tick(std::string_view line);
  void note(const std::string& text);
  /// Anything else: an object for programs, a text for people.
  void say(const Json& event, const std::string& text);

 private:
  void begin(const CloudStep& step);
  void call(const CloudStep& step, std::size_t index);
  void end(const CloudStep& step, bool changed, double seconds);
  std::string progress() const;
  void clear_line();

  using Clock = std::chrono::steady_clock;
  const bool as_json_;
  const bool on_terminal_;
  std::string step_;       ///< the one that runs; "" between steps
  std::string last_line_;  ///< of gcloud
  std::size_t call_ = 0, n_calls_ = 0;
  Clock::time_point start_{}, shown_{};
};

}  // namespace commissure
