#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "cloud/steps.h"

namespace commissure {

/// Told as the work goes on; every member may be empty. Threading: the caller's thread.
struct CloudReport {
  /// Once, before the first step but `apis`: what is left to do of a whole `up`.
  std::function<void(const std::vector<CloudStep>& steps)> planned;
  std::function<void(const CloudStep& step)> begin;  ///< a step with something to do
  std::function<void(const CloudStep& step, std::size_t call)> call;
  std::function<void(const CloudStep& step, bool changed, double seconds)> end;
  std::function<void(const std::string& text)> note;
};

}  // namespace commissure
