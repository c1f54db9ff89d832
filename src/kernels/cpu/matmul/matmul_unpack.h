#pragma once

#include "kernels/cpu/isa/simd.h"
#include "kernels/cpu/matmul/matmul_kernels.h"
#include "kernels/quant.h"

/// What differs between block formats: how four blocks of 32 weights become bytes, scales and minima.
/// Everything else (few.h, tile.h) is written once over these traits:
///   Block         the stored struct; kBlocks of 32 in each
///   kBiasShift    log2 of the offset that the bytes carry (q = byte - 2^shift), or kNoBias
///   kHasMinimum   y = d * q + m
///   kMinimumIsScale  m is d once more and is not stored
///   kHasHalfScale integer scale per 16 values (Q6_K)
///   kBits         bits of a weight as it is multiplied
///   kHasCodes     a stored weight is a 4-bit code, and its value is looked up (NF4, MXFP4); Codes leaves the codes
///   kHasExponent  the scale is a byte, an exponent of two (MXFP4)
///   kSigned       bytes are int8 (Q8_0, NF4 and MXFP4 without VNNI)
namespace commissure::cpu::COMMISSURE_ISA_NS {

constexpr int kNoBias = -1;

/// Bytes, scales and minima of four consecutive blocks of one row.
struct WeightGroup {
  __m256i w[kChains];
  __m128 d;
  __m128 m;             ///< only with kHasMinimum
  __m256i half_scales;  ///< only with kHasHalfScale: first halves of the four blocks, then second halves
};

struct FormatDefaults {
  static constexpr int kBlocks = 1;
  static constexpr int kBits = 4;
  static constexpr int kBiasShift = kNoBias;
  static constexpr bool kHasMinimum = false;
  static constexpr bool kMinimumIsScale = false;
  static constexpr bool kHasHalfScale = false;
  static constexpr bool kHasCodes = false;
  static constexpr bool kHasExponent = false;
  static constexpr bool kSigned = false;
};

inline __m128i load16(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
inline __m256i load32(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }

/// 16 bytes to 32 nibbles: low halves, then high halves.
inline __m256i nibbles(const std::uint8_t* qs) {
  const __m128i v = load16(qs);
  return _mm256_and_si256(_mm256_inserti128_si256(_mm256_castsi128_si256(v), _mm_srli_epi16(v, 4), 1),
                          _mm256_set1_epi8(15));
}

/// q + 16 where the bit of `qh` is set.
inline __m256i add_fifth_bits(__m256i q, const std::uint8_t* qh) {
  std::uint32_t bits;
  std::memcpy(&bits, qh, sizeof bits);
#if defined(__AVX512F__)
  return _mm256_mask_add_epi8(q, bits, q, _mm256_set1_epi8(16));
#else
  const __m256i spread = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
  const __m256i bit = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201ull));
  const __m256i bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int>(bits)), spread);
  const __m256i is_set = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit), bit);
  return _mm256_or_si256(q, _mm256_and_si256(is_set, _mm256_set1_epi8(16)));
#endif
}

/// The consecutive blocks of a row that hold four times 32 values.
template <typename Block>
struct WholeGroup {
  const Block* blocks;
  const Block& operator[](int i) const { return blocks[i]; }
};

/// The last blocks of a row that does not end with a whole group; the absent ones are zero.
template <typename Block>
struct ShortGroup {
  static constexpr Block kAbsent{};
  const Block* blocks;
  int n;
  const Block& operator[](int i) const { return i < n ? blocks[i] : kAbsent; }
};

/// f16 scales of four blocks.
template <typename Group>
__m128 scales4(const Group& b) {
  const long long packed = static_cast<long long>(std::uint64_t{b[0].d} | (std::uint64_t{b[1].d} << 16) |
                                                  (std::uint64_t{b[2].d} << 32) | (std::uint64_t{b[3].d} << 48));
  return _mm_cvtph_ps(_mm_cvtsi64_si128(packed));
}

/// f16 scale and minimum, adjacent in each of four blocks.
template <typename Group>
void scales_and_minima4(const Group& b, WeightGroup& out) {
  std::uint32_t pair[4];
  for (int i = 0; i < 4; ++i) std::memcpy(&pair[i], &b[i].d, 4);
  __m128i v = _mm_cvtsi32_si128(static_cast<int>(pair[0]));
  v = _mm_insert_epi32(v, static_cast<int>(pair[1]), 1);
  v = _mm_insert_epi32(v, static_cast<int>(pair[2]), 2);
  v = _mm_insert_epi32(v, static_cast<int>(pair[3]), 3);
  const __m128i apart = _mm_shuffle_epi8(v, _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
  out.d = _mm_cvtph_ps(apart);
  out.m = _mm_cvtph_ps(_mm_unpackhi_epi64(apart, apart));
}

struct FormatQ4_0 : FormatDefaults {
  using Block = BlockQ4_0;
  static constexpr int kBiasShift = 3;
  template <typename Group>
  static void load(const Group& b, WeightGroup& out) {
    for (int i = 0; i < kChains; ++i) out.w[i] = nibbles(b[i].qs);
    out.d = scales4(b);
  }
};

struct FormatQ4_1 : FormatDefaults {
  using Block = BlockQ4_1;
  static constexpr bool kHasMinimum = true;
  template <typename Group>
  static void load(const Group& b, WeightGroup& out) {
    for (int i = 0; i < kChains; ++i) out.w[i] = nibbles(b[i].qs);
    scales_and_minima4(b, out);
  }
};

struct FormatQ5_0 : FormatDefaults {
  using Block = BlockQ5_0;
  static constexpr int kBits = 5;
  static constexpr int kBiasShift = 4;
  template <typename Group>
  static void load(const Group& b, WeightGroup& out) {
    for (int i = 0; i < kChains; ++i) out.w[i] = add_fifth_bits(nibbles(b[i].qs), b[i].qh);
    out.d = scales4(b);
  }
};

/// A screen (screen.h): Q5_0 in packed rows. What pack_bounds() put in the place of a column's d * sum meets the scale
/// again.
struct FormatScreen : FormatQ5_0 {
  static constexpr bool kHasMinimum = true;
  static constexpr bool kMinimumIsScale = true;
};

struct FormatQ5_1 : FormatDefaults {
  using Block = BlockQ5_1;
  static constexpr int kBits = 5;
  static constexpr bool kHasMinimum = true;
  template <typename Group>
  static void load(const Group& b, WeightGroup& out) {
    for (int i = 0; i < kChains; ++i) out.w[i] = add_fifth_bits(nibbles(b[i].qs), b[i].qh);
    scales_and_minima4(b, out);
  }
};

struct FormatQ8_0 : FormatDefaults {
  using Block = BlockQ8_0;
  static constexpr int kBits = 8;
#if defined(__AVX512F__)
  static constexpr int kBiasShift = 7;
  static __m256i bytes(const std::int8_t* q) { return _mm256_xor_si256(load32(q), _mm256_set1_epi8(-128)); }
#else
  static constexpr bool kSigned = true;
  static __m256i bytes(const std::int8_t* q) { return load32(q); }
#endif
  template <typename Group>
  static void load(const Group& b, WeightGroup& out) {
    for (int i = 0; i < kChains; ++i) out.w[i] = bytes(b[i].qs);
    out.d = scales4(b);
  }
};

/// Two blocks of 64 to a group. Their values are looked up with a shuffle.
struct FormatNF4Codes;
struct FormatNF4 : FormatDefaults {
  using Block = BlockNF4;
  using Codes = FormatNF4Codes;
  static constexpr int kBlocks = 2;
  static constexpr int kBits = 8;
  static constexpr bool kHasCodes = true;
#if defined(__AVX512F__)
  static constexpr int kBiasShift = 7;
  static __m128i values() { return _mm_xor_si128(load16(kNf4Values), _mm_set1_epi8(-128)); }
#else
  static constexpr bool kSigned = true;
  static __m128i values() { return load16(kNf4Values); }
#endif
  static __m256i bytes(__m256i codes) { return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(values()), codes); }
  template <typename Group>
  static void load_codes(const Group& b, WeightGroup& out) {
    for (int i = 0; i < kChains; ++i) out.w[i] = nibbles(b[i / 2].qs + i % 2 * 16);
    const std::uint32_t pair = std::uint32_t{b[0].d} | std::uint32_t{b[1].d} << 16;
    const __m128 d = _mm_cvtph_ps(_mm_cvtsi32_si128(static_cast<int>(pair)));
    out.d = _mm_shuffle_ps(d, d, _MM_SHUFFLE(1, 1, 0, 0));
  }
  template <typename Group>
  static void load(const Group& b, WeightGroup& out) {
    load_codes(b, out);
    for (int i = 0; i < kChains; ++i) out.w[i] = bytes(out.w[i]);
  }
};

/// The codes themselves, for packing.
struct FormatNF4Codes : FormatNF4 {
  template <typename Group>
  static void load(const Group& b, WeightGroup& out) {
    load_codes(b, out);
  }
};

/// fp4_scale() of four exponents.
inline __m128 fp4_scales(__m128i exponents) {
  const __m128i bits = _mm_max_epi32(_mm_slli_epi32(exponents, 23), _mm_set1_epi32(0x00400000));
  return _mm_mul_ps(_mm_castsi128_ps(bits), _mm_set1_ps(0.5f));
}

/// As NF4's, but values small enough for 16-bit sums of eight products.
struct FormatMXFP4Codes;
struct FormatMXFP4 : FormatDefaults {
  using Block = BlockMXFP4;
  using Codes = FormatMXFP4Codes;
  static constexpr bool kHasCodes = true;
  static constexpr bool kHasExponent = true;
#if defined(__AVX512F__)
  static constexpr int kBiasShift = 4;
  static __m128i values() { return _mm_add_epi8(load16(kFp4Values), _mm_set1_epi8(16)); }
#else
  static constexpr bool kSigned = true;
  static __m128i values() { return load16(kFp4Values); }
#endif
  template <typename Group>
  static void load_codes(const Group& b, WeightGroup& out) {
    for (int i = 0; i < kChains; ++i) out.w[i] = nibbles(b[i].qs);
    out.d = fp4_scales(_mm_setr_epi32(b[0].e, b[1].e, b[2].e, b[3].e));
  }
  template <typename Group>
  static void load(const Group& b, WeightGroup& out) {
    load_codes(b, out);
    const __m256i table = _mm256_broadcastsi128_si256(values());
    for (int i = 0; i < kChains; ++i) out.w[i] = _mm256_shuffle_epi8(table, out.w[i]);
  }
};
struct FormatMXFP4Codes : FormatMXFP4 {
  template <typename Group>
  static void load(const Group& b, WeightGroup& out) {
    load_codes(b, out);
  }
};

/// Scales and minima of sub-blocks [4 half, 4 half + 4): sub_scale() for four at once.
template <typename Block>
void k_scales(const Block& b, int half, WeightGroup& out) {
  std::uint32_t s[3];
  std::memcpy(s, b.scales, sizeof s);
  const std::uint32_t scale = half == 0 ? s[0] & 0x3f3f3f3fu : (s[2] & 0x0f0f0f0fu) | ((s[0] >> 2) & 0x30303030u);
  const std::uint32_t minimum =
      half == 0 ? s[1] & 0x3f3f3f3fu : ((s[2] >> 4) & 0x0f0f0f0fu) | ((s[1] >> 2) & 0x30303030u);
  std::uint32_t pair;
  std::memcpy(&pair, &b.d, sizeof pair);
  const __m128 both = _mm_cvtph_ps(_mm_cvtsi32_si128(static_cast<int>(pair)));  // d, dmin
  const auto to_floats = [](std::uint32_t bytes) {
    return _mm_cvtepi32_ps(_mm_cvtepu8_epi32(_mm_cvtsi32_si128(static_cast<int>(bytes))));
  };
  out.d = _mm_mul_ps(_mm_shuffle_ps(both, both, 0x00), to_floats(scale));
  out.m = _mm_xor_ps(_mm_mul_ps(_mm_shuffle_ps(both, both, 0x55), to_floats(minimum)), _mm_set1_ps(-0.0f));
}

struct FormatQ4_K : FormatDefaults {
  using Block = BlockQ4_K;
  static constexpr int kBlocks = 8;
  static constexpr bool kHasMinimum = true;
  static void load(const Block* b, int half, WeightGroup& out) {
    const __m256i low = _mm256_set1_epi8(15);
    for (int i = 0; i < 2; ++i) {
      const __m256i v = load32(b->qs + 64 * half + 32 * i);
      out.w[2 * i] = _mm256_and_si256(v, low);
      out.w[2 * i + 1] = _mm256_and_si256(_mm256_srli_epi16(v, 4), low);
    }
    k_scales(*b, half, out);
  }
};

struct FormatQ5_K : FormatDefaults {
  using Block = BlockQ5_K;
  static constexpr int kBlocks = 8;
  static constexpr int kBits = 5;
  static constexpr bool kHasMinimum = true;
  static void load(const Block* b, int half, WeightGroup& out) {
    const __m256i low = _mm256_set1_epi8(15), fifth = _mm256_set1_epi8(16);
    // Bits 4 half .. 4 half + 3 of every byte come down to 0..3; what 16-bit shifts drag in stays above them.
    const __m256i high = _mm256_srl_epi16(load32(b->qh), _mm_cvtsi32_si128(4 * half));
    for (int i = 0; i < 2; ++i) {
      const __m256i v = load32(b->qs + 64 * half + 32 * i);
      const __m256i even = _mm256_slli_epi16(high, 4 - 2 * i), odd = _mm256_slli_epi16(high, 3 - 2 * i);
      out.w[2 * i] = _mm256_or_si256(_mm256_and_si256(v, low), _mm256_and_si256(even, fifth));
      out.w[2 * i + 1] = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(v, 4), low), _mm256_and_si256(odd, fifth));
    }
    k_scales(*b, half, out);
  }
};

struct FormatQ6_K : FormatDefaults {
  using Block = BlockQ6_K;
  static constexpr int kBlocks = 8;
  static constexpr int kBits = 6;
  static constexpr int kBiasShift = 5;
  static constexpr bool kHasHalfScale = true;
  static void load(const Block* b, int half, WeightGroup& out) {
    const __m256i low = _mm256_set1_epi8(15), high = _mm256_set1_epi8(0x30);
    const __m256i l0 = load32(b->ql + 64 * half), l1 = load32(b->ql + 64 * half + 32);
    const __m256i h = load32(b->qh + 32 * half);
    out.w[0] = _mm256_or_si256(_mm256_and_si256(l0, low), _mm256_and_si256(_mm256_slli_epi16(h, 4), high));
    out.w[1] = _mm256_or_si256(_mm256_and_si256(l1, low), _mm256_and_si256(_mm256_slli_epi16(h, 2), high));
    out.w[2] = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(l0, 4), low), _mm256_and_si256(h, high));
    out.w[3] = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(l1, 4), low),
                               _mm256_and_si256(_mm256_srli_epi16(h, 2), high));
    const __m128i scales = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(b->scales + 8 * half));
    const __m128i by_half =
        _mm_shuffle_epi8(scales, _mm_setr_epi8(0, 2, 4, 6, 1, 3, 5, 7, -1, -1, -1, -1, -1, -1, -1, -1));
    out.half_scales = _mm256_cvtepi8_epi32(by_half);
    out.d = _mm_cvtph_ps(_mm_set1_epi16(static_cast<short>(b->d)));
  }
};

/// Calls f(format) for the format of `dtype`.
template <typename F>
void with_format(DType dtype, F f) {
  switch (dtype) {
    case DType::kQ4_0: return f(FormatQ4_0());
    case DType::kQ4_1: return f(FormatQ4_1());
    case DType::kQ5_0: return f(FormatQ5_0());
    case DType::kQ5_1: return f(FormatQ5_1());
    case DType::kQ8_0: return f(FormatQ8_0());
    case DType::kQ4_K: return f(FormatQ4_K());
    case DType::kQ5_K: return f(FormatQ5_K());
    case DType::kQ6_K: return f(FormatQ6_K());
    case DType::kNF4: return f(FormatNF4());
    case DType::kMXFP4: return f(FormatMXFP4());
    default: return;
  }
}

/// Group g of a row of n_blocks; blocks past the end are zero. Rows of K formats always hold whole groups.
/// Inlined, and by value: a group that goes through memory costs a decode kernel a third of its speed.
template <typename Format>
[[gnu::always_inline]] inline WeightGroup load_group(const std::byte* row, int g, int n_blocks) {
  using Block = typename Format::Block;
  const auto* blocks = reinterpret_cast<const Block*>(row);
  WeightGroup out;
  if constexpr (Format::kBlocks == 8) {
    Format::load(blocks + g / 2, g % 2, out);
  } else {
    constexpr int kPerGroup = kChains / Format::kBlocks;
    const int left = n_blocks - g * kChains;
    if (left >= kChains) {
      Format::load(WholeGroup<Block>{blocks + g * kPerGroup}, out);
    } else {
      Format::load(ShortGroup<Block>{blocks + g * kPerGroup, left / Format::kBlocks}, out);
    }
  }
  return out;
}

}  // namespace commissure::cpu::COMMISSURE_ISA_NS
