#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "core/dtype.h"
#include "kernels/cpu/isa/to_int.h"

/// f32x16 as an array, in loops that the compiler turns into what the baseline has; see simd.h.
namespace commissure::cpu::COMMISSURE_ISA_NS {

constexpr int kLanes = 16;

struct f32x16 {
  float v[kLanes];
};

/// 16 pairs (a, b) of bf16 or int8: all a, then all b.
struct Pairs {
  f32x16 first, second;
};

/// Applies f to every lane index.
template <typename F>
inline f32x16 each_lane(F f) {
  f32x16 out;
  for (int i = 0; i < kLanes; ++i) out.v[i] = f(i);
  return out;
}
inline f32x16 load(const float* p) {
  f32x16 out;
  std::memcpy(out.v, p, sizeof out.v);
  return out;
}
inline void store(float* p, f32x16 a) { std::memcpy(p, a.v, sizeof a.v); }
inline f32x16 set1(float x) {
  return each_lane([&](int) { return x; });
}
inline f32x16 operator+(f32x16 a, f32x16 b) {
  return each_lane([&](int i) { return a.v[i] + b.v[i]; });
}
inline f32x16 operator-(f32x16 a, f32x16 b) {
  return each_lane([&](int i) { return a.v[i] - b.v[i]; });
}
inline f32x16 operator*(f32x16 a, f32x16 b) {
  return each_lane([&](int i) { return a.v[i] * b.v[i]; });
}
inline f32x16 operator/(f32x16 a, f32x16 b) {
  return each_lane([&](int i) { return a.v[i] / b.v[i]; });
}
inline f32x16 fma(f32x16 a, f32x16 b, f32x16 c) {
  return each_lane([&](int i) { return a.v[i] * b.v[i] + c.v[i]; });
}
inline f32x16 max(f32x16 a, f32x16 b) {
  return each_lane([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
}
inline f32x16 min(f32x16 a, f32x16 b) {
  return each_lane([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
}
inline f32x16 abs(f32x16 a) {
  return each_lane([&](int i) { return std::fabs(a.v[i]); });
}
inline f32x16 round(f32x16 a) {
  return each_lane([&](int i) { return std::nearbyintf(a.v[i]); });
}
inline f32x16 select_less(f32x16 a, f32x16 b, f32x16 x, f32x16 y) {
  return each_lane([&](int i) { return a.v[i] < b.v[i] ? x.v[i] : y.v[i]; });
}
inline f32x16 select_first(int n, f32x16 a, f32x16 b) {
  return each_lane([&](int i) { return i < n ? a.v[i] : b.v[i]; });
}
inline f32x16 load_partial(const float* p, int n) {
  return each_lane([&](int i) { return i < n ? p[i] : 0.0f; });
}
inline void store_partial(float* p, f32x16 a, int n) {
  for (int i = 0; i < n; ++i) p[i] = a.v[i];
}
inline f32x16 load_bf16(const bf16* p) {
  return each_lane([&](int i) { return to_float(p[i]); });
}
inline void store_bf16(bf16* p, f32x16 a) {
  for (int i = 0; i < kLanes; ++i) p[i] = to_bf16(a.v[i]);
}
inline f32x16 load_f16(const std::uint16_t* p) {
  return each_lane([&](int i) { return half_to_float(p[i]); });
}
inline f32x16 exp2_integral(f32x16 n) {
  return each_lane([&](int i) {
    const std::uint32_t bits = (static_cast<std::uint32_t>(to_int(n.v[i])) + 127u) << 23;
    float out;
    std::memcpy(&out, &bits, sizeof out);
    return out;
  });
}
inline void store_i8(std::int8_t* p, f32x16 a) {
  for (int i = 0; i < kLanes; ++i) p[i] = static_cast<std::int8_t>(to_int(std::nearbyintf(a.v[i])));
}

inline Pairs load_pairs(const std::uint16_t* p) {
  std::uint32_t bits[kLanes], first[kLanes], second[kLanes];
  __builtin_memcpy(bits, p, sizeof bits);
  for (int i = 0; i < kLanes; ++i) first[i] = bits[i] << 16;
  for (int i = 0; i < kLanes; ++i) second[i] = bits[i] & 0xffff0000u;
  Pairs pairs;
  __builtin_memcpy(pairs.first.v, first, sizeof first);
  __builtin_memcpy(pairs.second.v, second, sizeof second);
  return pairs;
}
inline void store_pairs(std::uint16_t* p, Pairs pairs) {
  for (int i = 0; i < kLanes; ++i) p[2 * i] = to_bf16(pairs.first.v[i]);
  for (int i = 0; i < kLanes; ++i) p[2 * i + 1] = to_bf16(pairs.second.v[i]);
}
inline Pairs load_pairs(const std::int8_t* p) {
  Pairs pairs;
  for (int i = 0; i < kLanes; ++i) pairs.first.v[i] = static_cast<float>(p[2 * i]);
  for (int i = 0; i < kLanes; ++i) pairs.second.v[i] = static_cast<float>(p[2 * i + 1]);
  return pairs;
}

}  // namespace commissure::cpu::COMMISSURE_ISA_NS
