#pragma once

#include "kernels/cuda/device/prims.cuh"

/// Numbers as the CPU's vector kernels compute them (cpu/isa/simd.h): the same operations in the same order, and no
/// function of a maths library, so that the bits are the same everywhere. The sources are compiled without contraction.
namespace commissure::cuda {

DEVICE float bits_to_float(uint32_t bits) { return __uint_as_float(bits); }

DEVICE float infinity() { return bits_to_float(0x7f800000u); }

DEVICE float bf16_to_float(uint32_t bits) { return bits_to_float(bits << 16); }

/// To nearest even; NaN stays NaN.
DEVICE uint16_t float_to_bf16(float f) {
  const uint32_t bits = __float_as_uint(f);
  if (f != f) return static_cast<uint16_t>((bits >> 16) | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

DEVICE uint32_t bf16_pair(float low, float high) {
  return float_to_bf16(low) | (static_cast<uint32_t>(float_to_bf16(high)) << 16);
}

/// Rounded to nearest even, at most 127 and at least -128; NaN gives -128.
DEVICE int to_int8(float f) {
  const float r = rintf(f);
  if (r >= 127.0f) return 127;
  return r >= -128.0f ? static_cast<int>(r) : -128;
}

DEVICE float larger(float a, float b) { return b > a ? b : a; }

/// 2^n for a whole n within [-126, 127].
DEVICE float power_of_two(float n) {
  return n == n ? bits_to_float(static_cast<uint32_t>(static_cast<int>(n) + 127) << 23) : n;
}

DEVICE float clamped_to(float x, float low, float high) {
  const float above = low > x ? low : x;  // NaN stays
  return high < above ? high : above;
}

/// As simd.h's exp: 0 below -87.33, within 2 ulp.
DEVICE float exponential(float x) {
  const float lowest = -87.33654f;
  const float clamped = clamped_to(x, lowest, 88.37f);
  const float n = rintf(clamped * 1.44269504f);
  const float r = fmaf(n, 2.12194440e-4f, fmaf(n, -0.693359375f, clamped));
  float p = 1.9875691500e-4f;
  p = fmaf(p, r, 1.3981999507e-3f);
  p = fmaf(p, r, 8.3334519073e-3f);
  p = fmaf(p, r, 4.1665795894e-2f);
  p = fmaf(p, r, 1.6666665459e-1f);
  p = fmaf(p, r, 5.0000001201e-1f);
  p = fmaf(p, r * r, r) + 1.0f;
  return x < lowest ? 0.0f : p * power_of_two(n);
}

/// As simd.h's exp2: exactly 1 for 0, exactly 0 below -126 and for -infinity.
DEVICE float exponential2(float x) {
  const float lowest = -126.0f;
  const float clamped = clamped_to(x, lowest, 127.0f);
  const float n = rintf(clamped);
  const float r = clamped - n;
  float p = 1.338130212e-3f;
  p = fmaf(p, r, 9.666368365e-3f);
  p = fmaf(p, r, 5.550381169e-2f);
  p = fmaf(p, r, 2.402234972e-1f);
  p = fmaf(p, r, 6.931471825e-1f);
  p = fmaf(p, r, 1.0f);
  return x < lowest ? 0.0f : p * power_of_two(n);
}

constexpr unsigned kAllLanes = 0xffffffffu;

/// Sum over groups of 16 lanes, in the order of simd.h's reduce_add; every lane gets it.
DEVICE float sum_of_16(float v) {
  for (int step = 8; step > 0; step /= 2) v = v + __shfl_xor_sync(kAllLanes, v, step);
  return v;
}

DEVICE float largest_of_warp(float v) {
  for (int step = 16; step > 0; step /= 2) v = larger(v, __shfl_xor_sync(kAllLanes, v, step));
  return v;
}

DEVICE int sum_of_warp(int v) {
  for (int step = 16; step > 0; step /= 2) v += __shfl_xor_sync(kAllLanes, v, step);
  return v;
}

}  // namespace commissure::cuda
