#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "kernels/backend.h"

/// How a CPU backend follows device addresses: they are plain addresses; and how it parts and pads what lies there.
namespace commissure::cpu {

template <typename T>
T* address(DevicePtr ptr) {
  return reinterpret_cast<T*>(ptr.value);
}

inline float* row_of(Rows rows, int row) {
  return address<float>(rows.data) + static_cast<std::ptrdiff_t>(row) * rows.stride;
}

/// The part's share of [0, n): equal halves, thirds, ...
inline std::pair<int, int> share(int n, int part, int n_parts) {
  const auto bound = [&](int i) { return static_cast<int>(static_cast<std::int64_t>(n) * i / n_parts); };
  return {bound(part), bound(part + 1)};
}

/// The next multiple of `to`.
inline std::size_t round_up(std::size_t n, std::size_t to) { return (n + to - 1) / to * to; }

}  // namespace commissure::cpu
