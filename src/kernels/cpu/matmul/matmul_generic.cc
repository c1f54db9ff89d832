#include <cmath>
#include <cstring>

#include "core/check.h"
#include "kernels/cpu/isa/to_int.h"
#include "kernels/cpu/matmul/matmul_kernels.h"
#include "kernels/quant.h"

/// Matmul for any CPU: the canonical order in plain loops, one weight row at a time. Without a fused multiply-add its
/// last bits differ from the vector kernels'.
namespace commissure::cpu::generic {
namespace {

/// Four blocks of 32 weights: integer values, scales, and minima (0 for formats without).
struct WeightGroup {
  std::int8_t q[kChains][kBlock];      // offset removed
  std::int8_t half_scale[kChains][2];  // Q6_K's integer scales, else 1
  float d[kChains];
  float m[kChains];
};

int nibble(const std::uint8_t* qs, int j) { return j < 16 ? qs[j] & 15 : qs[j - 16] >> 4; }
int fifth_bit(const std::uint8_t* qh, int j) { return ((qh[j / 8] >> (j % 8)) & 1) << 4; }

template <typename Block, typename Value>
void unpack_block(const Block& block, WeightGroup& out, int i, Value value) {
  for (int j = 0; j < kBlock; ++j) out.q[i][j] = static_cast<std::int8_t>(value(j));
  out.d[i] = half_to_float(block.d);
}

void unpack(const BlockQ4_0& b, WeightGroup& out, int i) {
  unpack_block(b, out, i, [&](int j) { return nibble(b.qs, j) - 8; });
}
void unpack(const BlockQ4_1& b, WeightGroup& out, int i) {
  unpack_block(b, out, i, [&](int j) { return nibble(b.qs, j); });
  out.m[i] = half_to_float(b.m);
}
void unpack(const BlockQ5_0& b, WeightGroup& out, int i) {
  unpack_block(b, out, i, [&](int j) { return (nibble(b.qs, j) | fifth_bit(b.qh, j)) - 16; });
}
void unpack(const BlockQ5_1& b, WeightGroup& out, int i) {
  unpack_block(b, out, i, [&](int j) { return nibble(b.qs, j) | fifth_bit(b.qh, j); });
  out.m[i] = half_to_float(b.m);
}
void unpack(const BlockQ8_0& b, WeightGroup& out, int i) {
  unpack_block(b, out, i, [&](int j) { return b.qs[j]; });
}

void unpack(const BlockMXFP4& b, WeightGroup& out, int i) {
  for (int j = 0; j < kBlock; ++j) out.q[i][j] = kFp4Values[nibble(b.qs, j)];
  out.d[i] = fp4_scale(b.e);
}

template <typename Block>
void load_group(const Block* row, int group, int n, WeightGroup& out) {
  for (int i = 0; i < n; ++i) unpack(row[group * kChains + i], out, i);
}

void load_group(const BlockNF4* row, int group, int n, WeightGroup& out) {
  for (int i = 0; i < n; ++i) {
    const BlockNF4& b = row[(group * kChains + i) / 2];
    unpack_block(b, out, i, [&](int j) { return kNf4Values[nibble(b.qs + i % 2 * 16, j)]; });
  }
}

/// Sub-block j of Q4_K and Q5_K: `high` adds the fifth bit of value l.
template <typename Block, typename High>
void load_k_group(const Block& b, int half, WeightGroup& out, High high) {
  for (int i = 0; i < kChains; ++i) {
    const int j = half * kChains + i;
    const SubScale sub = sub_scale(b.scales, j);
    out.d[i] = half_to_float(b.d) * static_cast<float>(sub.scale);
    out.m[i] = -(half_to_float(b.dmin) * static_cast<float>(sub.minimum));
    for (int l = 0; l < kBlock; ++l) {
      const int byte = b.qs[(j / 2) * kBlock + l];
      out.q[i][l] = static_cast<std::int8_t>((j % 2 == 0 ? byte & 15 : byte >> 4) | high(j, l));
    }
  }
}
void load_group(const BlockQ4_K* row, int group, int, WeightGroup& out) {
  load_k_group(row[group / 2], group % 2, out, [](int, int) { return 0; });
}
void load_group(const BlockQ5_K* row, int group, int, WeightGroup& out) {
  const BlockQ5_K& b = row[group / 2];
  load_k_group(b, group % 2, out, [&](int j, int l) { return ((b.qh[l] >> j) & 1) << 4; });
}
void load_group(const BlockQ6_K* row, int group, int, WeightGroup& out) {
  const BlockQ6_K& b = row[group / 2];
  const int half = group % 2;
  for (int i = 0; i < kChains; ++i) {
    out.d[i] = half_to_float(b.d);
    for (int h = 0; h < 2; ++h) out.half_scale[i][h] = b.scales[half * 8 + i * 2 + h];
    for (int l = 0; l < kBlock; ++l) {
      const int byte = b.ql[half * 64 + (i % 2) * kBlock + l];
      const int high = (b.qh[half * kBlock + l] >> (2 * i)) & 3;
      out.q[i][l] = static_cast<std::int8_t>(((i < 2 ? byte & 15 : byte >> 4) | (high << 4)) - 32);
    }
  }
}

template <bool kHasMinimum>
void accumulate(const WeightGroup& w, const ColumnGroup& x, float* acc) {
  for (int i = 0; i < kChains; ++i) {
    std::int32_t isum = 0;
    for (int h = 0; h < 2; ++h) {
      std::int32_t sum = 0;
      for (int l = h * 16; l < h * 16 + 16; ++l) sum += w.q[i][l] * x.q[i * kBlock + l];
      isum += sum * w.half_scale[i][h];
    }
    acc[i] = static_cast<float>(isum) * (w.d[i] * x.d[i]) + acc[i];
    if constexpr (kHasMinimum) acc[i] = w.m[i] * x.ds[i] + acc[i];
  }
}

template <typename Block, bool kHasMinimum = false>
void rows(const MatmulPart& part) {
  const int n_blocks = part.n_cols / kBlock;
  const int n_groups = (n_blocks + kChains - 1) / kChains;
  const auto* columns = reinterpret_cast<const ColumnGroup*>(part.packed);
  constexpr int kColumns = 8;
  for (std::int64_t r = 0; r < part.n_rows; ++r) {
    const auto* row = reinterpret_cast<const Block*>(part.weights + r * part.row_bytes);
    for (int c0 = 0; c0 < part.n_columns; c0 += kColumns) {
      const int n = part.n_columns - c0 < kColumns ? part.n_columns - c0 : kColumns;
      float acc[kColumns][kChains] = {};
      for (int g = 0; g < n_groups; ++g) {
        WeightGroup w = {};
        std::memset(w.half_scale, 1, sizeof w.half_scale);
        const int left = n_blocks - g * kChains;
        load_group(row, g, left < kChains ? left : kChains, w);
        for (int c = 0; c < n; ++c) accumulate<kHasMinimum>(w, columns[(c0 + c) * n_groups + g], acc[c]);
      }
      for (int c = 0; c < n; ++c) {
        const float y = (acc[c][0] + acc[c][1]) + (acc[c][2] + acc[c][3]);
        float& out = part.out[(c0 + c) / part.n_planes * part.out_stride + r];
        out = c % part.n_planes == 0 ? y : out + y;
      }
    }
  }
}

void few(const MatmulPart& part) {
  switch (part.dtype) {
    case DType::kQ4_0: return rows<BlockQ4_0>(part);
    case DType::kQ4_1: return rows<BlockQ4_1, true>(part);
    case DType::kQ5_0: return rows<BlockQ5_0>(part);
    case DType::kQ5_1: return rows<BlockQ5_1, true>(part);
    case DType::kQ8_0: return rows<BlockQ8_0>(part);
    case DType::kQ4_K: return rows<BlockQ4_K, true>(part);
    case DType::kQ5_K: return rows<BlockQ5_K, true>(part);
    case DType::kQ6_K: return rows<BlockQ6_K>(part);
    case DType::kNF4: return rows<BlockNF4>(part);
    case DType::kMXFP4: return rows<BlockMXFP4>(part);
    default: CHECK(false && "not a quantised type");
  }
}

void floats(const MatmulPart& part) {
  constexpr int kLanes = 16;
  for (std::int64_t r = 0; r < part.n_rows; ++r) {
    const std::byte* row = part.weights + r * part.row_bytes;
    for (int c = 0; c < part.n_columns; ++c) {
      const float* x = part.x + c * part.x_stride;
      float sums[kLanes] = {};
      for (int k = 0; k < part.n_cols; k += kLanes) {
        const int n = part.n_cols - k < kLanes ? part.n_cols - k : kLanes;
        float w[kLanes];
        const std::byte* from = row + row_bytes(part.dtype, k);
        dequantise(part.dtype, from, std::span(w).first(n));
        for (int i = 0; i < n; ++i) sums[i] = w[i] * x[k + i] + sums[i];
      }
      for (int n = kLanes / 2; n > 0; n /= 2) {
        for (int i = 0; i < n; ++i) sums[i] += sums[i + n];
      }
      part.out[c * part.out_stride + r] = sums[0];
    }
  }
}

/// Quantises 32 values into block i of a zeroed group and leaves the rounding errors in x.
void quantise_block(float* x, ColumnGroup& group, int i) {
  float largest = 0.0f;
  for (int l = 0; l < kBlock; ++l) largest = std::fabs(x[l]) > largest ? std::fabs(x[l]) : largest;
  if (largest < 1e-30f) return;
  const float d = largest / 127.0f, inverse = 1.0f / d;
  for (int l = 0; l < kBlock; ++l) {
    const auto q = static_cast<std::int8_t>(to_int(std::nearbyintf(x[l] * inverse)));
    group.q[i * kBlock + l] = q;
    group.half_sums[(l / 16) * kChains + i] += q;
    x[l] = x[l] - d * static_cast<float>(q);
  }
  group.d[i] = d;
  group.ds[i] = d * static_cast<float>(group.half_sums[i] + group.half_sums[kChains + i]);
}

/// See matmul_quantise.h for the rule.
void pack_few(const float* x, int n_cols, int n_planes, ColumnGroup* out) {
  const int n_blocks = n_cols / kBlock;
  const int n_groups = (n_blocks + kChains - 1) / kChains;
  std::memset(out, 0, sizeof(ColumnGroup) * n_planes * n_groups);
  bool is_finite = true;
  for (int i = 0; i < n_blocks * kBlock; ++i) is_finite = is_finite && std::isfinite(x[i]);
  for (int b = 0; b < n_blocks; ++b) {
    float values[kBlock];
    std::memcpy(values, x + b * kBlock, sizeof values);
    for (int p = 0; p < n_planes; ++p) {
      ColumnGroup& group = out[p * n_groups + b / kChains];
      if (is_finite) {
        quantise_block(values, group, b % kChains);
      } else {
        group.d[b % kChains] = group.ds[b % kChains] = NAN;
      }
    }
  }
}

}  // namespace

const MatmulKernels kMatmul = {.tile_width = 0,
                               .min_tile_columns = 0,
                               .pack_few = pack_few,
                               .pack_tile = nullptr,
                               .few = few,
                               .tile = nullptr,
                               .floats = floats,
                               .packed = nullptr,
                               .screen = nullptr,
                               .packed_tile_bytes = nullptr,
                               .pack_weights = nullptr};

}  // namespace commissure::cpu::generic
