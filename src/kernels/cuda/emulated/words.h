#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/cuda/emulated/machine.h"
#include "kernels/cuda/emulated/registry.h"

/// CUDA's words, and the scalar twins of the wrappers in device/prims.cuh, for compiling the device sources as C++. The
/// build puts this header in front of each of them.
#define COMMISSURE_EMULATED 1

struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};

#define DEVICE inline
#define SHARED(type, name) \
  type& name =             \
      *static_cast<type*>(commissure::cuda::emulated::shared_object(__FILE__, __LINE__, sizeof(type), alignof(type)))
#define KERNEL(Args, threads, name)                                                                     \
  void name(const Args& args);                                                                          \
  [[maybe_unused]] static const commissure::cuda::emulated::Registration registration_##name(           \
      {#name, sizeof(Args), threads, [](const void* args) { name(*static_cast<const Args*>(args)); }}); \
  void name([[maybe_unused]] const Args& args)

#define threadIdx (commissure::cuda::emulated::thread_index())
#define blockIdx (commissure::cuda::emulated::block_index())
#define blockDim (commissure::cuda::emulated::block_size())
#define __syncthreads() commissure::cuda::emulated::barrier(__LINE__)

namespace commissure::cuda {

inline float __uint_as_float(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline std::uint32_t __float_as_uint(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

/// Bytes of the eight in b:a that the selector's nibbles name.
inline std::uint32_t __byte_perm(std::uint32_t a, std::uint32_t b, std::uint32_t selector) {
  const std::uint64_t bytes = a | static_cast<std::uint64_t>(b) << 32;
  std::uint32_t out = 0;
  for (int i = 0; i < 4; ++i) {
    const std::uint32_t which = selector >> (4 * i) & 7;
    out |= static_cast<std::uint32_t>(bytes >> (8 * which) & 0xff) << (8 * i);
  }
  return out;
}

/// Call sites are told apart by line, which a compiler that duplicates calls cannot change.
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int step, int line = __builtin_LINE()) {
  static_assert(sizeof(T) <= 8);
  emulated::ShuffleArgs args = {0, (emulated::linear_thread() % 32) ^ step};
  std::memcpy(&args.value, &value, sizeof value);
  emulated::meet(emulated::Operation::kShuffle, mask, &args, line);
  std::memcpy(&value, &args.value, sizeof value);
  return value;
}

template <typename Vector>
Vector load_wide(const Vector* p) {
  if (reinterpret_cast<std::uintptr_t>(p) % alignof(Vector) != 0) emulated::fail("a wide load is not aligned", 0);
  return *p;
}

template <typename Vector>
Vector load_stream(const Vector* p) {
  return load_wide(p);
}

inline void copy_async(void* shared, const void* global) { emulated::copy_async(shared, global); }
inline void copy_commit() { emulated::copy_commit(); }
template <int kLeft>
void copy_wait() {
  emulated::copy_wait(kLeft);
}

inline void multiply_add(int (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], int line = __builtin_LINE()) {
  emulated::MultiplyArgs args = {d, a, b};
  emulated::meet(emulated::Operation::kMultiplyInt8, ~0u, &args, line);
}
inline void multiply_add(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], int line = __builtin_LINE()) {
  emulated::MultiplyArgs args = {d, a, b};
  emulated::meet(emulated::Operation::kMultiplyBf16, ~0u, &args, line);
}

inline float half_to_float(std::uint16_t h) {
  const std::uint32_t sign = static_cast<std::uint32_t>(h & 0x8000u) << 16, rest = h & 0x7fffu;
  if (rest >= 0x7c00u) return __uint_as_float(sign | 0x7f800000u | (rest & 0x3ffu) << 13);
  const float magnitude = __uint_as_float(rest << 13) * 0x1p112f;  // exact, denormals too
  return sign != 0 ? -magnitude : magnitude;
}

}  // namespace commissure::cuda
