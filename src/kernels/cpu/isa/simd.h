#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "core/dtype.h"

/// The vector layer of the CPU kernels: one logical width on every ISA.
///
/// A kernel source is compiled once per ISA with COMMISSURE_ISA_NS naming the namespace it lands in (generic, avx2,
/// avx512). f32x16 is always 16 lanes (one zmm, two ymm, or an array), and every function does the same arithmetic
/// per lane in the same order, so AVX2 and AVX-512 give the same bits. generic has no fused multiply-add and rounds
/// twice in fma().
///
/// Nothing here may be shared between ISAs: a baseline object must never pick up a copy compiled for AVX. So all of
/// it lives in the ISA's namespace, and kernels use plain pointers instead of library templates.
#ifndef COMMISSURE_ISA_NS
#error "include simd.h only from sources that are compiled per ISA"
#endif

#if defined(__AVX512F__)
#include "kernels/cpu/isa/simd_avx512.h"
#elif defined(__AVX2__)
#include "kernels/cpu/isa/simd_avx2.h"
#else
#include "kernels/cpu/isa/simd_generic.h"
#endif

namespace commissure::cpu::COMMISSURE_ISA_NS {

/// Sum of all lanes by one fixed tree: lane i + lane i + 8, then + 4, + 2, + 1.
inline float reduce_add(f32x16 a) {
#if defined(__AVX2__)
#if defined(__AVX512F__)
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
#else
  const __m256 eight = _mm256_add_ps(a.lo, a.hi);
#endif
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
#else
  float v[kLanes];
  store(v, a);
  for (int n = kLanes / 2; n > 0; n /= 2) {
    for (int i = 0; i < n; ++i) v[i] += v[i + n];
  }
  return v[0];
#endif
}

/// Largest lane.
inline float reduce_max(f32x16 a) {
#if defined(__AVX512F__)
  return _mm512_reduce_max_ps(a.v);
#elif defined(__AVX2__)
  const __m256 eight = _mm256_max_ps(a.lo, a.hi);
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
#else
  float v[kLanes];
  store(v, a);
  for (int i = 1; i < kLanes; ++i) v[0] = v[i] > v[0] ? v[i] : v[0];
  return v[0];
#endif
}

/// e^x per lane, within 2 ulp. Below -87.33 (where results turn denormal) exactly 0, so exp(-inf) is 0; above 88.37
/// it stays at e^88.37; NaN stays NaN.
/// Source: range reduction by ln 2 in two parts and a degree-6 polynomial, as in Cephes expf.
inline f32x16 exp(f32x16 x) {
  const f32x16 lowest = set1(-87.33654f);
  const f32x16 clamped = min(set1(88.37f), max(lowest, x));
  const f32x16 n = round(clamped * set1(1.44269504f));
  const f32x16 r = fma(n, set1(2.12194440e-4f), fma(n, set1(-0.693359375f), clamped));
  f32x16 p = set1(1.9875691500e-4f);
  p = fma(p, r, set1(1.3981999507e-3f));
  p = fma(p, r, set1(8.3334519073e-3f));
  p = fma(p, r, set1(4.1665795894e-2f));
  p = fma(p, r, set1(1.6666665459e-1f));
  p = fma(p, r, set1(5.0000001201e-1f));
  p = fma(p, r * r, r) + set1(1.0f);
  return select_less(x, lowest, set1(0.0f), p * exp2_integral(n));
}

/// 2^x per lane, within 4 ulp and exactly 1 for 0. Below -126 (where results turn denormal) exactly 0, also for -inf;
/// above 127 it stays near 2^127; NaN stays NaN.
/// Source: degree 5 through the Chebyshev nodes of [-0.5, 0.5].
inline f32x16 exp2(f32x16 x) {
  const f32x16 lowest = set1(-126.0f);
  const f32x16 clamped = min(set1(127.0f), max(lowest, x));
  const f32x16 n = round(clamped);
  const f32x16 r = clamped - n;
  f32x16 p = set1(1.338130212e-3f);
  p = fma(p, r, set1(9.666368365e-3f));
  p = fma(p, r, set1(5.550381169e-2f));
  p = fma(p, r, set1(2.402234972e-1f));
  p = fma(p, r, set1(6.931471825e-1f));
  p = fma(p, r, set1(1.0f));
  return select_less(x, lowest, set1(0.0f), p * exp2_integral(n));
}

/// To the nearest bf16, ties to even.
inline f32x16 round_to_bf16(f32x16 a) {
  bf16 rounded[kLanes];
  store_bf16(rounded, a);
  return load_bf16(rounded);
}

inline float first_lane(f32x16 a) {
#if defined(__AVX512F__)
  return _mm512_cvtss_f32(a.v);
#elif defined(__AVX2__)
  return _mm256_cvtss_f32(a.lo);
#else
  return a.v[0];
#endif
}

}  // namespace commissure::cpu::COMMISSURE_ISA_NS
