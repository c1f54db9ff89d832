#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "core/cpu_count.h"
#include "core/index.h"
#include "core/scarce.h"

/// Rows of a tensor that is made while it is loaded, on several threads.
namespace commissure {

/// How many parts so much work is worth, one for each thread.
inline int parts_of(std::int64_t n_rows, std::int64_t n_cols) {
  constexpr std::int64_t kValuesPerThread = 1 << 18;  // below it, threads cost more than they give
  constexpr int kMostThreads = 16;
  const std::int64_t wanted = std::clamp<std::int64_t>(n_rows * n_cols / kValuesPerThread, 1, kMostThreads);
  return static_cast<int>(std::max<std::int64_t>(1, std::min({wanted, std::int64_t{n_allowed_cpus()}, n_rows})));
}

/// Calls f(row, part) for all rows until one returns false; returns that row, or -1. `f` allocates nothing: nobody
/// could catch what is thrown on another thread. Where the system grants no thread, those that there are do all.
template <typename F>
std::int64_t for_rows(std::int64_t n_rows, int n_parts, F f) {
  std::atomic<int> next = 0;
  std::atomic<std::int64_t> broken = -1;
  const auto work = [&] {
    for (int part = next++; part < n_parts; part = next++) {
      const std::int64_t last = n_rows * (part + 1) / n_parts;
      for (std::int64_t row = n_rows * part / n_parts; row < last && broken < 0; ++row) {
        if (!f(row, part)) broken = row;
      }
    }
  };
  std::vector<std::jthread> others;
  others.reserve(to_size(n_parts - 1));
  for (int i = 1; i < n_parts; ++i) {
    if (!done_unless_scarce([&] { others.emplace_back(work); })) break;
  }
  work();
  others.clear();
  return broken;
}

}  // namespace commissure
