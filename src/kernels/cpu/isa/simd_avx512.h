#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "core/dtype.h"

/// f32x16 as one zmm; simd.h says what each function means.
namespace commissure::cpu::COMMISSURE_ISA_NS {

constexpr int kLanes = 16;

struct f32x16 {
  __m512 v;
};

/// 16 pairs (a, b) of bf16 or int8: all a, then all b.
struct Pairs {
  f32x16 first, second;
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

inline Pairs load_pairs(const std::uint16_t* p) {
  const __m512i bits = _mm512_loadu_si512(p);
  return {{_mm512_castsi512_ps(_mm512_slli_epi32(bits, 16))},
          {_mm512_castsi512_ps(_mm512_and_si512(bits, _mm512_set1_epi32(static_cast<int>(0xffff0000u))))}};
}
/// Writes pairs of bf16, of which load_pairs() makes the same again; what lies below a bf16 is dropped.
inline void store_pairs(std::uint16_t* p, Pairs pairs) {
  const __m512i odd =
      _mm512_and_si512(_mm512_castps_si512(pairs.second.v), _mm512_set1_epi32(static_cast<int>(0xffff0000u)));
  _mm512_storeu_si512(p, _mm512_or_si512(odd, _mm512_srli_epi32(_mm512_castps_si512(pairs.first.v), 16)));
}
inline Pairs load_pairs(const std::int8_t* p) {
  const __m512i words = _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  return {{_mm512_cvtepi32_ps(_mm512_srai_epi32(_mm512_slli_epi32(words, 16), 16))},
          {_mm512_cvtepi32_ps(_mm512_srai_epi32(words, 16))}};
}

}  // namespace commissure::cpu::COMMISSURE_ISA_NS
