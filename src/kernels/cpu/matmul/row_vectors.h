#pragma once

#include "kernels/cpu/matmul/matmul_unpack.h"

/// Vectors over weight rows for matmul_tile.h and matmul_packed.h: all 16 rows of a tile in a zmm, or 8 in a ymm.
namespace commissure::cpu::COMMISSURE_ISA_NS {

constexpr int kTileRows = 16;

#if defined(__AVX512F__)
constexpr int kTileWidth = 12;
using RowInts = __m512i;
using RowFloats = __m512;
inline RowInts load_rows(const void* p) { return _mm512_loadu_si512(p); }
inline RowFloats load_row_floats(const float* p) { return _mm512_load_ps(p); }
/// f16, unsigned or signed bytes, one for each row.
inline RowFloats halves_of_rows(const std::byte* p) { return _mm512_cvtph_ps(load32(p)); }
inline RowFloats bytes_of_rows(const std::byte* p) { return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(load16(p))); }
inline RowInts signed_bytes_of_rows(const std::byte* p) { return _mm512_cvtepi8_epi32(load16(p)); }
/// fp4_scale() of bytes.
inline RowFloats exponents_of_rows(const std::byte* p) {
  const __m512i bits = _mm512_slli_epi32(_mm512_cvtepu8_epi32(load16(p)), 23);
  return _mm512_mul_ps(_mm512_castsi512_ps(_mm512_max_epi32(bits, _mm512_set1_epi32(0x00400000))),
                       _mm512_set1_ps(0.5f));
}
inline void store_rows(void* p, RowInts a) { _mm512_store_si512(p, a); }
inline void store_row_floats(float* p, RowFloats a) { _mm512_store_ps(p, a); }
inline RowInts broadcast(std::int32_t x) { return _mm512_set1_epi32(x); }
inline RowFloats broadcast(float x) { return _mm512_set1_ps(x); }
inline RowInts broadcast_byte(std::int8_t x) { return _mm512_set1_epi8(x); }
inline RowInts bit_and(RowInts a, RowInts b) { return _mm512_and_si512(a, b); }
inline RowInts bit_or(RowInts a, RowInts b) { return _mm512_or_si512(a, b); }
inline RowInts bit_xor(RowInts a, RowInts b) { return _mm512_xor_si512(a, b); }
/// Shifts of 16-bit words: bits cross from byte to byte.
template <int kBits>
RowInts words_left(RowInts a) {
  return _mm512_slli_epi16(a, kBits);
}
template <int kBits>
RowInts words_right(RowInts a) {
  return _mm512_srli_epi16(a, kBits);
}
/// Bytes + 16 where their bits are set.
inline RowInts add_fifth_bits_of_rows(RowInts w, const std::byte* bits) {
  std::uint64_t mask;
  std::memcpy(&mask, bits, sizeof mask);
  return _mm512_mask_add_epi8(w, mask, w, _mm512_set1_epi8(16));
}
/// table[code] for every byte.
inline RowInts look_up(__m128i table, RowInts codes) {
  return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(table), codes);
}
inline RowInts add(RowInts a, RowInts b) { return _mm512_add_epi32(a, b); }
inline RowInts multiply(RowInts a, RowInts b) { return _mm512_mullo_epi32(a, b); }
template <int kBits>
RowInts shift_left(RowInts a) {
  return _mm512_slli_epi32(a, kBits);
}
inline RowFloats to_floats(RowInts a) { return _mm512_cvtepi32_ps(a); }
inline RowFloats multiply(RowFloats a, RowFloats b) { return _mm512_mul_ps(a, b); }
inline RowFloats negate(RowFloats a) { return _mm512_xor_ps(a, _mm512_set1_ps(-0.0f)); }
inline RowFloats add(RowFloats a, RowFloats b) { return _mm512_add_ps(a, b); }
inline RowFloats multiply_add(RowFloats a, RowFloats b, RowFloats c) { return _mm512_fmadd_ps(a, b, c); }
inline void store_rows(float* p, RowFloats a) { _mm512_storeu_ps(p, a); }

/// Adds the products of a dword of every row with one of a column.
inline RowInts add_dot4(RowInts acc, RowInts w, std::int32_t x) { return _mm512_dpbusd_epi32(acc, w, broadcast(x)); }
#else
constexpr int kTileWidth = 4;
using RowInts = __m256i;
using RowFloats = __m256;
inline RowInts load_rows(const void* p) { return load32(p); }
inline RowFloats load_row_floats(const float* p) { return _mm256_load_ps(p); }
inline __m128i load8(const std::byte* p) { return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)); }
inline RowFloats halves_of_rows(const std::byte* p) { return _mm256_cvtph_ps(load16(p)); }
inline RowFloats bytes_of_rows(const std::byte* p) { return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(load8(p))); }
inline RowInts signed_bytes_of_rows(const std::byte* p) { return _mm256_cvtepi8_epi32(load8(p)); }
inline RowFloats exponents_of_rows(const std::byte* p) {
  const __m256i bits = _mm256_slli_epi32(_mm256_cvtepu8_epi32(load8(p)), 23);
  return _mm256_mul_ps(_mm256_castsi256_ps(_mm256_max_epi32(bits, _mm256_set1_epi32(0x00400000))),
                       _mm256_set1_ps(0.5f));
}
inline void store_rows(void* p, RowInts a) { _mm256_store_si256(static_cast<__m256i*>(p), a); }
inline void store_row_floats(float* p, RowFloats a) { _mm256_store_ps(p, a); }
inline RowInts broadcast(std::int32_t x) { return _mm256_set1_epi32(x); }
inline RowFloats broadcast(float x) { return _mm256_set1_ps(x); }
inline RowInts broadcast_byte(std::int8_t x) { return _mm256_set1_epi8(x); }
inline RowInts bit_and(RowInts a, RowInts b) { return _mm256_and_si256(a, b); }
inline RowInts bit_or(RowInts a, RowInts b) { return _mm256_or_si256(a, b); }
inline RowInts bit_xor(RowInts a, RowInts b) { return _mm256_xor_si256(a, b); }
template <int kBits>
RowInts words_left(RowInts a) {
  return _mm256_slli_epi16(a, kBits);
}
template <int kBits>
RowInts words_right(RowInts a) {
  return _mm256_srli_epi16(a, kBits);
}
inline RowInts add_fifth_bits_of_rows(RowInts w, const std::byte* bits) {
  return add_fifth_bits(w, reinterpret_cast<const std::uint8_t*>(bits));
}
inline RowInts look_up(__m128i table, RowInts codes) {
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), codes);
}
inline RowInts add(RowInts a, RowInts b) { return _mm256_add_epi32(a, b); }
inline RowInts multiply(RowInts a, RowInts b) { return _mm256_mullo_epi32(a, b); }
template <int kBits>
RowInts shift_left(RowInts a) {
  return _mm256_slli_epi32(a, kBits);
}
inline RowFloats to_floats(RowInts a) { return _mm256_cvtepi32_ps(a); }
inline RowFloats multiply(RowFloats a, RowFloats b) { return _mm256_mul_ps(a, b); }
inline RowFloats negate(RowFloats a) { return _mm256_xor_ps(a, _mm256_set1_ps(-0.0f)); }
inline RowFloats add(RowFloats a, RowFloats b) { return _mm256_add_ps(a, b); }
inline RowFloats multiply_add(RowFloats a, RowFloats b, RowFloats c) { return _mm256_fmadd_ps(a, b, c); }
inline void store_rows(float* p, RowFloats a) { _mm256_storeu_ps(p, a); }

/// Products of a dword of every row with one of a column (in all lanes), added up in pairs.
template <bool kSigned>
RowInts dot_pairs(RowInts w, RowInts x) {
  return kSigned ? _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w)) : _mm256_maddubs_epi16(w, x);
}
/// So many of them fit into 16 bits: each is at most 2 * (2^kBits - 1) * 127, or 2 * 128 * 127.
constexpr int pairs_in_word(int n_bits) { return n_bits == 4 ? 8 : n_bits == 5 ? 4 : n_bits == 6 ? 2 : 1; }
/// Added here and now: a compiler that gathers the additions at the end keeps dozens of products on the stack until
/// then.
inline RowInts add_words(RowInts a, RowInts b) {
  RowInts sum = _mm256_add_epi16(a, b);
  asm("" : "+x"(sum));
  return sum;
}
inline RowInts add_pairs(RowInts acc, RowInts pairs) {
  RowInts sum = _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  asm("" : "+x"(sum));  // as in add_words()
  return sum;
}
#endif
constexpr int kVectorRows = sizeof(RowFloats) / sizeof(float);

}  // namespace commissure::cpu::COMMISSURE_ISA_NS
