#pragma once

#include <cstddef>

#include "kernels/backend.h"

/// How a CPU backend follows device addresses: they are plain addresses.
namespace commissure::cpu {

template <typename T>
T* address(DevicePtr ptr) {
  return reinterpret_cast<T*>(ptr.value);
}

inline float* row_of(Rows rows, int row) {
  return address<float>(rows.data) + static_cast<std::ptrdiff_t>(row) * rows.stride;
}

}  // namespace commissure::cpu
