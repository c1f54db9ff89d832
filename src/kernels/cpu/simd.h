#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

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

namespace commissure::cpu::COMMISSURE_ISA_NS {

constexpr int kLanes = 16;

#if defined(__AVX512F__)

struct f32x16 {
  __m512 v;
};

inline f32x16 load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline void store(float* p, f32x16 a) { _mm512_storeu_ps(p, a.v); }
inline f32x16 set1(float x) { return {_mm512_set1_ps(x)}; }
inline f32x16 operator+(f32x16 a, f32x16 b) { return {_mm512_add_ps(a.v, b.v)}; }
inline f32x16 operator-(f32x16 a, f32x16 b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline f32x16 operator*(f32x16 a, f32x16 b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline f32x16 operator/(f32x16 a, f32x16 b) { return {_mm512_div_ps(a.v, b.v)}; }
/// a * b + c, rounded once (twice on generic).
inline f32x16 fma(f32x16 a, f32x16 b, f32x16 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
/// Lane-wise; when a lane of either is NaN the result is b's.
inline f32x16 max(f32x16 a, f32x16 b) { return {_mm512_max_ps(a.v, b.v)}; }
inline f32x16 min(f32x16 a, f32x16 b) { return {_mm512_min_ps(a.v, b.v)}; }
inline f32x16 abs(f32x16 a) { return {_mm512_abs_ps(a.v)}; }
/// To the nearest integer, ties to even.
inline f32x16 round(f32x16 a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
/// a < b ? x : y per lane.
inline f32x16 select_less(f32x16 a, f32x16 b, f32x16 x, f32x16 y) {
  return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ), y.v, x.v)};
}
/// Lanes [0, n) of a, the rest of b.
inline f32x16 select_first(int n, f32x16 a, f32x16 b) {
  return {_mm512_mask_blend_ps(static_cast<__mmask16>((1u << n) - 1u), b.v, a.v)};
}
/// Reads n (0..16) floats; the other lanes are 0 and their memory is not touched.
inline f32x16 load_partial(const float* p, int n) {
  return {_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1u), p)};
}
inline void store_partial(float* p, f32x16 a, int n) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1u), a.v);
}
inline f32x16 load_bf16(const bf16* p) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(wide, 16))};
}
/// Rounds to nearest even; NaN stays NaN.
inline void store_bf16(bf16* p, f32x16 a) {
  const __m512i bits = _mm512_castps_si512(a.v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd), 16);
  const __m512i quiet = _mm512_or_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(0x40));
  rounded = _mm512_mask_mov_epi32(rounded, _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q), quiet);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(rounded));
}
inline f32x16 load_f16(const std::uint16_t* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
/// 2^n for integral lanes n in [-126, 127].
inline f32x16 exp2_integral(f32x16 n) {
  const __m512i exponent = _mm512_add_epi32(_mm512_cvtps_epi32(n.v), _mm512_set1_epi32(127));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(exponent, 23))};
}
/// The 16 lanes rounded to nearest-even integers, as int8. |lane| <= 127.
inline void store_i8(std::int8_t* p, f32x16 a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a.v)));
}

#elif defined(__AVX2__)

struct f32x16 {
  __m256 lo, hi;
};

inline f32x16 load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline void store(float* p, f32x16 a) {
  _mm256_storeu_ps(p, a.lo);
  _mm256_storeu_ps(p + 8, a.hi);
}
inline f32x16 set1(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline f32x16 operator+(f32x16 a, f32x16 b) { return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)}; }
inline f32x16 operator-(f32x16 a, f32x16 b) { return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)}; }
inline f32x16 operator*(f32x16 a, f32x16 b) { return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)}; }
inline f32x16 operator/(f32x16 a, f32x16 b) { return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)}; }
inline f32x16 fma(f32x16 a, f32x16 b, f32x16 c) {
  return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
inline f32x16 max(f32x16 a, f32x16 b) { return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)}; }
inline f32x16 min(f32x16 a, f32x16 b) { return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)}; }
inline f32x16 abs(f32x16 a) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(sign, a.lo), _mm256_andnot_ps(sign, a.hi)};
}
inline f32x16 round(f32x16 a) {
  return {_mm256_round_ps(a.lo, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
          _mm256_round_ps(a.hi, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
inline f32x16 select_less(f32x16 a, f32x16 b, f32x16 x, f32x16 y) {
  return {_mm256_blendv_ps(y.lo, x.lo, _mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ)),
          _mm256_blendv_ps(y.hi, x.hi, _mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ))};
}
/// All ones in lanes [0, n) of 8, for n of any sign or size.
inline __m256i first_lanes(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline f32x16 select_first(int n, f32x16 a, f32x16 b) {
  return {_mm256_blendv_ps(b.lo, a.lo, _mm256_castsi256_ps(first_lanes(n))),
          _mm256_blendv_ps(b.hi, a.hi, _mm256_castsi256_ps(first_lanes(n - 8)))};
}
inline f32x16 load_partial(const float* p, int n) {
  return {_mm256_maskload_ps(p, first_lanes(n)), _mm256_maskload_ps(p + 8, first_lanes(n - 8))};
}
inline void store_partial(float* p, f32x16 a, int n) {
  _mm256_maskstore_ps(p, first_lanes(n), a.lo);
  _mm256_maskstore_ps(p + 8, first_lanes(n - 8), a.hi);
}
inline __m256 bf16_to_f32(__m128i half) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}
inline f32x16 load_bf16(const bf16* p) {
  return {bf16_to_f32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
          bf16_to_f32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8)))};
}
inline __m256i f32_to_bf16(__m256 a) {
  const __m256i bits = _mm256_castps_si256(a);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded =
      _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd), 16);
  const __m256i quiet = _mm256_or_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(0x40));
  return _mm256_blendv_epi8(rounded, quiet, _mm256_castps_si256(_mm256_cmp_ps(a, a, _CMP_UNORD_Q)));
}
inline void store_bf16(bf16* p, f32x16 a) {
  const __m256i packed = _mm256_packus_epi32(f32_to_bf16(a.lo), f32_to_bf16(a.hi));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_permute4x64_epi64(packed, 0xd8));
}
inline f32x16 load_f16(const std::uint16_t* p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
          _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8)))};
}
inline __m256 exp2_integral_half(__m256 n) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
}
inline f32x16 exp2_integral(f32x16 n) { return {exp2_integral_half(n.lo), exp2_integral_half(n.hi)}; }
inline void store_i8(std::int8_t* p, f32x16 a) {
  const __m256i words = _mm256_packs_epi32(_mm256_cvtps_epi32(a.lo), _mm256_cvtps_epi32(a.hi));
  const __m256i ordered = _mm256_permute4x64_epi64(words, 0xd8);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                   _mm_packs_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1)));
}

#else  // generic: loops the compiler turns into what the baseline has

struct f32x16 {
  float v[kLanes];
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
    const std::uint32_t bits = static_cast<std::uint32_t>(static_cast<std::int32_t>(n.v[i]) + 127) << 23;
    float out;
    std::memcpy(&out, &bits, sizeof out);
    return out;
  });
}
inline void store_i8(std::int8_t* p, f32x16 a) {
  for (int i = 0; i < kLanes; ++i) p[i] = static_cast<std::int8_t>(std::nearbyintf(a.v[i]));
}

#endif

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

/// 16 pairs (a, b) of bf16 or int8: all a, then all b.
struct Pairs {
  f32x16 first, second;
};

#if defined(__AVX512F__)
inline Pairs load_pairs(const std::uint16_t* p) {
  const __m512i bits = _mm512_loadu_si512(p);
  return {{_mm512_castsi512_ps(_mm512_slli_epi32(bits, 16))},
          {_mm512_castsi512_ps(_mm512_and_si512(bits, _mm512_set1_epi32(static_cast<int>(0xffff0000u))))}};
}
inline Pairs load_pairs(const std::int8_t* p) {
  const __m512i words = _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return {{_mm512_cvtepi32_ps(_mm512_srai_epi32(_mm512_slli_epi32(words, 16), 16))},
          {_mm512_cvtepi32_ps(_mm512_srai_epi32(words, 16))}};
}
#elif defined(__AVX2__)
inline __m256 low_halves(__m256i bits) { return _mm256_castsi256_ps(_mm256_slli_epi32(bits, 16)); }
inline __m256 high_halves(__m256i bits) {
  return _mm256_castsi256_ps(_mm256_and_si256(bits, _mm256_set1_epi32(static_cast<int>(0xffff0000u))));
}
inline Pairs load_pairs(const std::uint16_t* p) {
  const __m256i lo = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  const __m256i hi = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + kLanes));
  return {{low_halves(lo), low_halves(hi)}, {high_halves(lo), high_halves(hi)}};
}
inline __m256 low_words(__m256i words) {
  return _mm256_cvtepi32_ps(_mm256_srai_epi32(_mm256_slli_epi32(words, 16), 16));
}
inline __m256 high_words(__m256i words) { return _mm256_cvtepi32_ps(_mm256_srai_epi32(words, 16)); }
inline Pairs load_pairs(const std::int8_t* p) {
  const __m256i lo = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  const __m256i hi = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + kLanes)));
  return {{low_words(lo), low_words(hi)}, {high_words(lo), high_words(hi)}};
}
#else
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
inline Pairs load_pairs(const std::int8_t* p) {
  Pairs pairs;
  for (int i = 0; i < kLanes; ++i) pairs.first.v[i] = static_cast<float>(p[2 * i]);
  for (int i = 0; i < kLanes; ++i) pairs.second.v[i] = static_cast<float>(p[2 * i + 1]);
  return pairs;
}
#endif

}  // namespace commissure::cpu::COMMISSURE_ISA_NS
