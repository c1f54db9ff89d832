#include "kernels/cpu/matmul/matmul.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "core/check.h"
#include "support/backend_testing.h"
#include "support/emulated_tiles.h"
#if defined(COMMISSURE_X86_KERNELS)
#include "support/trapped_tiles.h"
#endif
#include "core/index.h"
#include "kernels/quant.h"

namespace commissure::cpu {
namespace {

constexpr DType kQuantised[] = {DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1,
                                DType::kQ4_K, DType::kQ5_K, DType::kQ6_K, DType::kNF4,  DType::kMXFP4};
constexpr DType kFloats[] = {DType::kF32, DType::kF16, DType::kBF16};

/// Where AMX's kernels find their tiles on a CPU that has none.
enum class TestTiles {
  kNone,
  kEmulated,  ///< compiled again, with functions for the instructions
  kTrapped,   ///< as they ship: the instructions trap (TrappedTiles)
};

/// What a Matmul is made of: an ISA's kernels, or avx512's with AMX's own.
struct Kernels {
  Isa isa;
  TestTiles tiles = TestTiles::kNone;

  std::string name() const {
    if (tiles == TestTiles::kNone) return std::string(isa_name(isa));
    return tiles == TestTiles::kEmulated ? "amx on emulated tiles" : "amx on trapped tiles";
  }
  Matmul make() const {
#if defined(COMMISSURE_X86_KERNELS)
    if (tiles == TestTiles::kEmulated) return Matmul(isa, &avx512::kBf16, &amx_emulated::kWide);
    if (tiles == TestTiles::kTrapped) return Matmul(isa, &avx512::kBf16, &amx::kWide);
#endif
    return Matmul(isa);
  }
};

std::vector<Kernels> runnable_kernels() {
  std::vector<Kernels> kernels;
  for (Isa isa : kAllIsas) {
    if (isa != Isa::kReference && can_run(isa)) kernels.push_back({isa});
  }
  if (can_run(Isa::kAvx512)) kernels.push_back({Isa::kAvx512, TestTiles::kEmulated});
  return kernels;
}

/// A weight matrix of random bytes, all quants and sub-scales possible, with tame block scales.
struct Weights {
  DType dtype;
  int n_rows, n_cols;
  std::vector<std::byte> bytes;

  const std::byte* row(int r) const { return bytes.data() + r * row_bytes(dtype, n_cols); }
};

template <typename Block>
void tame_block(std::byte* at, std::mt19937& random) {
  Block block;
  std::memcpy(&block, at, sizeof block);
  std::uniform_real_distribution<float> scale(-0.02f, 0.02f);
  block.d = float_to_half(scale(random));
  if constexpr (requires { block.m; }) block.m = float_to_half(scale(random));
  if constexpr (requires { block.dmin; }) block.dmin = float_to_half(scale(random));
  std::memcpy(at, &block, sizeof block);
}

void tame(DType dtype, std::byte* at, std::mt19937& random) {
  switch (dtype) {
    case DType::kQ8_0: return tame_block<BlockQ8_0>(at, random);
    case DType::kQ4_0: return tame_block<BlockQ4_0>(at, random);
    case DType::kQ4_1: return tame_block<BlockQ4_1>(at, random);
    case DType::kQ5_0: return tame_block<BlockQ5_0>(at, random);
    case DType::kQ5_1: return tame_block<BlockQ5_1>(at, random);
    case DType::kQ4_K: return tame_block<BlockQ4_K>(at, random);
    case DType::kQ5_K: return tame_block<BlockQ5_K>(at, random);
    case DType::kQ6_K: return tame_block<BlockQ6_K>(at, random);
    case DType::kNF4: return tame_block<BlockNF4>(at, random);
    case DType::kMXFP4: at[0] = static_cast<std::byte>(118 + random() % 6); return;
    default: CHECK(false);
  }
}

Weights random_weights(DType dtype, int n_rows, int n_cols, unsigned seed) {
  std::mt19937 random(seed);
  Weights w = {dtype, n_rows, n_cols, {}};
  w.bytes.resize(row_bytes(dtype, n_cols) * n_rows);
  if (!is_quantised(dtype)) {
    std::normal_distribution<float> value(0.0f, 0.05f);
    for (std::size_t i = 0; i < n_elements(n_rows, n_cols); ++i) {
      const float v = value(random);
      if (dtype == DType::kF32) {
        std::memcpy(&w.bytes[4 * i], &v, 4);
      } else {
        const std::uint16_t half = dtype == DType::kF16 ? float_to_half(v) : to_bf16(v);
        std::memcpy(&w.bytes[2 * i], &half, 2);
      }
    }
    return w;
  }
  for (std::byte& b : w.bytes) b = static_cast<std::byte>(random());
  const std::size_t size = block_size(dtype).n_bytes;
  for (std::size_t at = 0; at < w.bytes.size(); at += size) tame(dtype, &w.bytes[at], random);
  return w;
}

std::vector<float> random_columns(int n_columns, int n_cols, unsigned seed, float scale = 1.0f) {
  std::mt19937 random(seed);
  std::normal_distribution<float> value;
  std::vector<float> x(n_elements(n_columns, n_cols));
  for (float& v : x) v = scale * value(random);
  return x;
}

/// Exponents at an end of MXFP4's range, three of them, and a scale of x with which all products are finite.
struct End {
  int lowest;
  float x_scale;
};
constexpr End kEnds[] = {{0, 0x1p100f}, {0, 1.0f}, {125, 1.0f}, {252, 0x1p-40f}};

Weights mxfp4_at(const End& end, int n_rows, int n_cols) {
  Weights w = random_weights(DType::kMXFP4, n_rows, n_cols, 111);
  std::mt19937 random(113);
  for (std::size_t at = 0; at < w.bytes.size(); at += sizeof(BlockMXFP4)) {
    w.bytes[at] = static_cast<std::byte>(static_cast<unsigned>(end.lowest) + random() % 3);
  }
  return w;
}

/// [n_columns, n_rows]
std::vector<float> product(Matmul& matmul, ThreadPool& pool, const Weights& w, const std::vector<float>& x,
                           int n_planes = 1) {
  const int n_columns = count_of(x) / w.n_cols;
  std::vector<float> out(n_columns * w.n_rows, -12345.0f);
  const MatmulTask task = {w.dtype, w.bytes.data(), w.n_rows, out.data(), w.n_rows};
  matmul.run({x.data(), w.n_cols, n_columns, w.n_cols, n_planes}, {&task, 1}, pool);
  return out;
}

std::vector<float> product(Kernels kernels, const Weights& w, const std::vector<float>& x, int n_threads = 2) {
  Matmul matmul = kernels.make();
  ThreadPool pool(n_threads);
  return product(matmul, pool, w, x);
}

// --- the exact twin: the canonical order of matmul_kernels.h, written from the format's definition ---

/// Block b of 32 values of a weight row: integer values, float scales, and integer scales per half.
struct TwinBlock {
  std::array<int, 32> q;
  std::array<int, 2> half_scale = {1, 1};
  float d = 0.0f, m = 0.0f;
};

/// Integers of a block, found by dequantising it with its scales replaced by one and its minimum by zero.
template <typename Block>
std::array<int, 32> integers(Block block, DType dtype, int sub) {
  if constexpr (requires { block.d; }) block.d = float_to_half(1.0f);
  if constexpr (requires { block.e; }) block.e = 128;
  if constexpr (requires { block.m; }) block.m = 0;
  if constexpr (requires { block.dmin; }) {
    block.dmin = 0;
    for (int i = 0; i < 12; ++i) block.scales[i] = i < 8 ? 1 : 0x11;  // every sub-scale 1
  } else if constexpr (requires { block.scales; }) {
    std::fill(std::begin(block.scales), std::end(block.scales), std::int8_t{1});
  }
  std::vector<float> y(block_size(dtype).n_elements);
  dequantise(dtype, reinterpret_cast<const std::byte*>(&block), y);
  std::array<int, 32> q;
  for (int i = 0; i < 32; ++i) q[i] = static_cast<int>(y[sub * 32 + i]);
  return q;
}

template <typename Block>
TwinBlock twin_block_of(const Weights& w, int row, int b) {
  const int n_sub = block_size(w.dtype).n_elements / 32;
  Block block;
  std::memcpy(&block, w.row(row) + b / n_sub * sizeof block, sizeof block);
  const int sub = b % n_sub;
  TwinBlock twin = {.q = integers(block, w.dtype, sub)};
  if constexpr (requires { block.d; }) twin.d = half_to_float(block.d);
  if constexpr (requires { block.e; }) twin.d = fp4_scale(block.e);
  if constexpr (requires { block.m; }) twin.m = half_to_float(block.m);
  if constexpr (requires { block.dmin; }) {
    const SubScale scale = sub_scale(block.scales, sub);
    twin.d = half_to_float(block.d) * static_cast<float>(scale.scale);
    twin.m = -(half_to_float(block.dmin) * static_cast<float>(scale.minimum));
  } else if constexpr (requires { block.scales; }) {
    twin.half_scale = {block.scales[2 * sub], block.scales[2 * sub + 1]};
  }
  return twin;
}

TwinBlock twin_block(const Weights& w, int row, int b) {
  switch (w.dtype) {
    case DType::kQ8_0: return twin_block_of<BlockQ8_0>(w, row, b);
    case DType::kQ4_0: return twin_block_of<BlockQ4_0>(w, row, b);
    case DType::kQ4_1: return twin_block_of<BlockQ4_1>(w, row, b);
    case DType::kQ5_0: return twin_block_of<BlockQ5_0>(w, row, b);
    case DType::kQ5_1: return twin_block_of<BlockQ5_1>(w, row, b);
    case DType::kQ4_K: return twin_block_of<BlockQ4_K>(w, row, b);
    case DType::kQ5_K: return twin_block_of<BlockQ5_K>(w, row, b);
    case DType::kNF4: return twin_block_of<BlockNF4>(w, row, b);
    case DType::kMXFP4: return twin_block_of<BlockMXFP4>(w, row, b);
    default: return twin_block_of<BlockQ6_K>(w, row, b);
  }
}

float twin_dot(const Weights& w, int row, const float* x) {
  const bool has_minimum =
      w.dtype == DType::kQ4_1 || w.dtype == DType::kQ5_1 || w.dtype == DType::kQ4_K || w.dtype == DType::kQ5_K;
  std::array<float, 4> acc = {};
  for (int b = 0; b < w.n_cols / 32; ++b, x += 32) {
    float largest = 0.0f;
    for (int i = 0; i < 32; ++i) largest = std::max(largest, std::fabs(x[i]));
    const float d = largest / 127.0f, inverse = largest == 0.0f ? 0.0f : 1.0f / d;
    const TwinBlock block = twin_block(w, row, b);
    int isum = 0, sum = 0;
    for (int i = 0; i < 32; ++i) {
      const int q = static_cast<int>(std::nearbyint(x[i] * inverse));
      isum += block.half_scale[i / 16] * block.q[i] * q;
      sum += q;
    }
    float& a = acc[b % 4];
    a = std::fma(static_cast<float>(isum), block.d * d, a);
    if (has_minimum) a = std::fma(block.m, d * static_cast<float>(sum), a);
  }
  return (acc[0] + acc[1]) + (acc[2] + acc[3]);
}

/// Bounds |result - W x| for exact W x: half a quantisation step of x per value, and the rounding of the sums.
struct Exact {
  double value, bound;
};

Exact exact_dot(const Weights& w, int row, const float* x) {
  std::vector<float> values(w.n_cols);
  dequantise(w.dtype, w.row(row), values);
  Exact exact = {0.0, 0.0};
  for (int k0 = 0; k0 < w.n_cols; k0 += 32) {
    const int n = std::min(32, w.n_cols - k0);
    double largest = 0.0;
    for (int i = 0; i < n; ++i) largest = std::max(largest, std::fabs(double{x[k0 + i]}));
    // d q + m may cancel, so the rounding of a weight is bounded by its block's largest value.
    const double step = is_quantised(w.dtype)     ? 0.501 * largest / 127.0
                        : w.dtype == DType::kBF16 ? largest / 256.0  // half a unit in the last of bf16's 8 bits
                                                  : 0.0;
    for (int i = 0; i < n; ++i) {
      const double weight = values[k0 + i];
      exact.value += weight * x[k0 + i];
      exact.bound += std::fabs(weight) * (step + 8.0 * 0x1p-24 * std::sqrt(w.n_cols) * largest);
    }
  }
  exact.bound += 1e-6;
  return exact;
}

std::string name_of(const Kernels& kernels, DType dtype) {
  return kernels.name() + " " + std::string(dtype_name(dtype));
}

TEST(Matmul, EqualsTheExactTwinBitForBit) {
  ThreadPool pool(2);
  for (const Kernels& kernels : runnable_kernels()) {
    if (kernels.isa == Isa::kGeneric) continue;  // has no fused multiply-add
    Matmul matmul = kernels.make();
    for (DType dtype : kQuantised) {
      const Weights w = random_weights(dtype, 35, 768, 7);
      for (int n_columns : {1, 3, 17}) {
        const std::vector<float> x = random_columns(n_columns, w.n_cols, 9);
        const std::vector<float> y = product(matmul, pool, w, x);
        for (int c = 0; c < n_columns; ++c) {
          for (int r = 0; r < w.n_rows; r += c + 1) {
            const float twin = twin_dot(w, r, &x[c * w.n_cols]);
            ASSERT_EQ(y[c * w.n_rows + r], twin)
                << name_of(kernels, dtype) << " column " << c << " of " << n_columns << " row " << r;
          }
        }
      }
    }
  }
}

TEST(Matmul, StaysWithinTheBoundOfItsRoundings) {
  ThreadPool pool(2);
  for (const Kernels& kernels : runnable_kernels()) {
    Matmul matmul = kernels.make();
    for (const auto& types : {std::span<const DType>(kQuantised), std::span<const DType>(kFloats)}) {
      for (DType dtype : types) {
        const Weights w = random_weights(dtype, 21, 512, 3);
        const std::vector<float> x = random_columns(6, w.n_cols, 5);
        const std::vector<float> y = product(matmul, pool, w, x);
        for (int c = 0; c < 6; ++c) {
          for (int r = 0; r < w.n_rows; ++r) {
            const Exact exact = exact_dot(w, r, &x[c * w.n_cols]);
            ASSERT_NEAR(y[c * w.n_rows + r], exact.value, exact.bound) << name_of(kernels, dtype);
          }
        }
      }
    }
  }
}

TEST(Matmul, BoundRefusesAPerturbedWeight) {
  Weights w = random_weights(DType::kQ4_1, 1, 64, 3);
  const std::vector<float> x = random_columns(1, 64, 5);
  const Exact exact = exact_dot(w, 0, x.data());
  const float before = product({best_isa()}, w, x)[0];
  w.bytes[1] ^= std::byte{0x10};  // exponent of the first scale
  EXPECT_LE(std::fabs(before - exact.value), exact.bound);
  EXPECT_GT(std::fabs(product({best_isa()}, w, x)[0] - exact.value), exact.bound);
}

TEST(Matmul, GivesAColumnTheSameBitsInEveryBatch) {
  for (const Kernels& kernels : runnable_kernels()) {
    Matmul matmul = kernels.make();
    ThreadPool pool(2);
    for (const auto& types : {std::span<const DType>(kQuantised), std::span<const DType>(kFloats)}) {
      for (DType dtype : types) {
        // 18 blocks: not a multiple of four; 19 rows: not a multiple of the tile.
        const int n_cols = block_size(dtype).n_elements == 256 ? 512 : 576;
        const Weights w = random_weights(dtype, 19, n_cols, 11);
        const std::vector<float> x = random_columns(64, n_cols, 13);
        const std::vector<float> all = product(matmul, pool, w, x);
        for (int n : {1, 2, 3, 4, 5, 8, 11, 12, 13, 16, 17}) {
          const std::vector<float> part(x.begin(), x.begin() + n * n_cols);
          const std::vector<float> y = product(matmul, pool, w, part);
          ASSERT_TRUE(std::equal(y.begin(), y.end(), all.begin())) << name_of(kernels, dtype) << " columns " << n;
        }
      }
    }
  }
}

/// What int8 per 32 values loses of x.
std::vector<float> rounding_errors(const std::vector<float>& x) {
  std::vector<float> errors(x.size());
  for (std::size_t b = 0; b < x.size(); b += 32) {
    float largest = 0.0f;
    for (std::size_t i = b; i < b + 32; ++i) largest = std::max(largest, std::fabs(x[i]));
    const float d = largest / 127.0f, inverse = 1.0f / d;
    for (std::size_t i = b; i < b + 32; ++i) errors[i] = x[i] - d * std::nearbyint(x[i] * inverse);
  }
  return errors;
}

TEST(Matmul, ASecondPlaneAddsTheProductOfTheRoundingErrors) {
  ThreadPool pool(2);
  for (const Kernels& kernels : runnable_kernels()) {
    Matmul matmul = kernels.make();
    for (DType dtype : kQuantised) {
      const Weights w = random_weights(dtype, 19, block_size(dtype).n_elements == 256 ? 512 : 576, 21);
      const std::vector<float> x = random_columns(23, w.n_cols, 22);
      const std::vector<float> coarse = product(matmul, pool, w, x);
      const std::vector<float> fine = product(matmul, pool, w, rounding_errors(x));
      const std::vector<float> both = product(matmul, pool, w, x, 2);
      for (std::size_t i = 0; i < both.size(); ++i) ASSERT_EQ(both[i], coarse[i] + fine[i]) << name_of(kernels, dtype);
      for (int n : {1, 2, 3, 6, 7, 13}) {
        const std::vector<float> part(x.begin(), x.begin() + n * w.n_cols);
        const std::vector<float> y = product(matmul, pool, w, part, 2);
        ASSERT_TRUE(std::equal(y.begin(), y.end(), both.begin())) << name_of(kernels, dtype) << " columns " << n;
      }
    }
  }
}

TEST(Matmul, Bf16ProductsHaveTheSameBitsWithAndWithoutTheInstruction) {
  if (!has_bf16_products()) GTEST_SKIP() << "this CPU has no vdpbf16ps";
  ThreadPool pool(2);
  Matmul with(Isa::kAvx512), without(Isa::kAvx512, &avx512::kBf16, nullptr);
  for (int n_cols : {1, 31, 32, 640, 1000}) {
    const Weights w = random_weights(DType::kBF16, 37, n_cols, 91);
    for (int n_columns : {1, 2, 8, 9, 37}) {
      const std::vector<float> x = random_columns(n_columns, n_cols, 93);
      ASSERT_EQ(product(with, pool, w, x), product(without, pool, w, x)) << n_cols << " x " << n_columns;
    }
  }
}

TEST(Matmul, Bf16WeightsMeetXRoundedOrInF32AsAsked) {
  ThreadPool pool(2);
  const Weights w = random_weights(DType::kBF16, 1, 1, 95);
  std::uint16_t bits;
  std::memcpy(&bits, w.bytes.data(), sizeof bits);
  const float x = 1.00390625f + 0x1p-20f;  // rounds up to 1.0078125
  for (const Kernels& kernels : runnable_kernels()) {
    if (kernels.isa == Isa::kGeneric) continue;  // keeps f32 always
    Matmul matmul = kernels.make();
    float rounded = 0.0f, kept = 0.0f;
    MatmulTask task = {DType::kBF16, w.bytes.data(), 1, &rounded, 1};
    matmul.run({&x, 1, 1, 1}, {&task, 1}, pool);
    task.out = &kept;
    matmul.run({.x = &x, .stride = 1, .n_columns = 1, .n_cols = 1, .keeps_f32 = true}, {&task, 1}, pool);
    EXPECT_EQ(rounded, to_float(bits) * 1.0078125f) << kernels.name();
    EXPECT_EQ(kept, to_float(bits) * x) << kernels.name();
  }
}

/// Those that have a packed layout.
std::vector<Kernels> packing_kernels() {
  std::vector<Kernels> packing;
  for (const Kernels& kernels : runnable_kernels()) {
    if (kernels.make().packed_bytes(DType::kQ8_0, 16, 32) > 0) packing.push_back(kernels);
  }
  return packing;
}

std::vector<std::byte> pack(const Matmul& matmul, ThreadPool& pool, const Weights& w, int n_rows) {
  std::vector<std::byte> packed(matmul.packed_bytes(w.dtype, n_rows, w.n_cols));
  EXPECT_GT(packed.size(), 0u);
  matmul.pack_weights(w.dtype, w.bytes.data(), n_rows, w.n_cols, packed.data(), pool);
  return packed;
}

TEST(Matmul, PackedWeightsGiveTheBitsOfThoseAsStored) {
  ThreadPool pool(2);
  for (const Kernels& kernels : packing_kernels()) {
    Matmul matmul = kernels.make();
    for (DType dtype : kQuantised) {
      for (int n_rows : {1, 16, 35}) {
        for (int n_blocks : {1, 5, 16, 24}) {
          const int block = block_size(dtype).n_elements;
          const int n_cols = n_blocks * (block == 256 ? 32 : block);
          if (n_cols % block_size(dtype).n_elements != 0) continue;
          const Weights w = random_weights(dtype, n_rows, n_cols, 81);
          const std::vector<std::byte> packed = pack(matmul, pool, w, n_rows);
          for (int n_columns : {1, 2, 3, 4, 5, 12, 25}) {
            for (int n_planes : {1, 2}) {
              const std::vector<float> x = random_columns(n_columns, n_cols, 83);
              std::vector<float> out(n_columns * n_rows, -12345.0f);
              const MatmulTask task = {dtype, w.bytes.data(), n_rows, out.data(), n_rows, packed.data()};
              matmul.run({x.data(), n_cols, n_columns, n_cols, n_planes}, {&task, 1}, pool);
              ASSERT_EQ(out, product(matmul, pool, w, x, n_planes))
                  << kernels.name() << " " << dtype_name(dtype) << " [" << n_rows << ", " << n_cols << "] x "
                  << n_columns;
            }
          }
        }
      }
    }
  }
}

TEST(Matmul, Mxfp4AtTheEndsOfItsExponentsEqualsTheTwinStoredAndPacked) {
  ThreadPool pool(2);
  for (const Kernels& kernels : runnable_kernels()) {
    if (kernels.isa == Isa::kGeneric) continue;  // has no fused multiply-add
    Matmul matmul = kernels.make();
    for (const End& end : kEnds) {
      const Weights w = mxfp4_at(end, 35, 576);
      const bool packs = matmul.packed_bytes(w.dtype, w.n_rows, w.n_cols) > 0;
      const std::vector<std::byte> packed = packs ? pack(matmul, pool, w, w.n_rows) : std::vector<std::byte>();
      for (int n_columns : {1, 3, 17}) {
        const std::vector<float> x = random_columns(n_columns, w.n_cols, 115, end.x_scale);
        const std::vector<float> y = product(matmul, pool, w, x);
        std::vector<float> out = y;
        const MatmulTask task = {w.dtype, w.bytes.data(), w.n_rows, out.data(), w.n_rows, packed.data()};
        if (packs) matmul.run({x.data(), w.n_cols, n_columns, w.n_cols}, {&task, 1}, pool);
        for (int i = 0; i < n_columns * w.n_rows; ++i) {
          const float twin = twin_dot(w, i % w.n_rows, &x[i / w.n_rows * w.n_cols]);
          ASSERT_TRUE(std::isfinite(twin) && twin != 0.0f);
          ASSERT_EQ(y[i], twin) << kernels.name() << " exponents from " << end.lowest << ", columns " << n_columns;
          ASSERT_EQ(out[i], twin) << "packed, " << kernels.name() << " exponents from " << end.lowest;
        }
      }
    }
  }
}

TEST(Matmul, PackedWeightsAreReadInsteadOfThoseAsStored) {
  ThreadPool pool(2);
  for (const Kernels& kernels : packing_kernels()) {
    Matmul matmul = kernels.make();
    const Weights w = random_weights(DType::kQ4_1, 16, 64, 85);
    std::vector<std::byte> zeros(matmul.packed_bytes(w.dtype, 16, 64));
    const std::vector<float> x = random_columns(1, 64, 87);
    std::vector<float> out(16, 1.0f);
    const MatmulTask task = {w.dtype, w.bytes.data(), 16, out.data(), 16, zeros.data()};
    matmul.run({x.data(), 64, 1, 64}, {&task, 1}, pool);
    EXPECT_EQ(out, std::vector<float>(16, 0.0f)) << kernels.name();
  }
}

TEST(Matmul, EveryIsaPacksTheSameBytes) {
  if (packing_kernels().size() < 2) GTEST_SKIP() << "this CPU has one ISA with a packed layout or none";
  ThreadPool pool(1);
  for (DType dtype : kQuantised) {
    const Weights w = random_weights(dtype, 35, 512, 91);
    const Matmul first = packing_kernels().front().make(), last = packing_kernels().back().make();
    EXPECT_EQ(pack(first, pool, w, 35), pack(last, pool, w, 35)) << dtype_name(dtype);
  }
}

/// Blocks whose weights are as far from zero as they can be, with scales of 1.
Weights extreme_weights(DType dtype, int n_rows, int n_cols) {
  Weights w = random_weights(dtype, n_rows, n_cols, 93);
  const bool is_q8 = dtype == DType::kQ8_0, is_q6 = dtype == DType::kQ6_K;
  const bool has_minimum = dtype != DType::kQ4_0 && dtype != DType::kQ5_0 && dtype != DType::kNF4 && !is_q8 && !is_q6;
  const std::size_t block = block_size(dtype).n_bytes;
  const std::uint16_t one = float_to_half(1.0f);
  std::fill(w.bytes.begin(), w.bytes.end(), static_cast<std::byte>(is_q8 ? 0x80 : 0xff));
  for (std::size_t at = 0; at < w.bytes.size(); at += block) {
    if (dtype == DType::kMXFP4) {
      w.bytes[at] = std::byte{128};
      continue;
    }
    const std::size_t scale = at + (is_q6 ? block - sizeof one : 0);
    std::memcpy(&w.bytes[scale], &one, sizeof one);
    if (has_minimum) std::memcpy(&w.bytes[scale + sizeof one], &one, sizeof one);
  }
  return w;
}

TEST(Matmul, TheLargestProductsFitTheirSums) {
  ThreadPool pool(1);
  for (const Kernels& kernels : packing_kernels()) {
    Matmul matmul = kernels.make();
    for (DType dtype : kQuantised) {
      const Weights w = extreme_weights(dtype, 16, 256);
      const std::vector<std::byte> packed = pack(matmul, pool, w, 16);
      for (const float sign : {1.0f, -1.0f}) {
        const auto alone =
            product(matmul, pool, w, std::vector<float>(256, sign), 1);  // another kernel, without such sums
        const std::vector<float> x(std::size_t{8} * 256, sign);
        std::vector<float> out(std::size_t{8} * 16);
        const MatmulTask task = {dtype, w.bytes.data(), 16, out.data(), 16, packed.data()};
        matmul.run({x.data(), 256, 8, 256}, {&task, 1}, pool);
        for (std::size_t i = 0; i < out.size(); ++i) {
          ASSERT_EQ(out[i], alone[i % 16]) << kernels.name() << " " << dtype_name(dtype);
        }
      }
    }
  }
}

TEST(Matmul, GivesTheSameBitsOnAvx2AndAvx512) {
  if (!can_run(Isa::kAvx512)) GTEST_SKIP() << "this CPU has no AVX-512";
  for (const auto& types : {std::span<const DType>(kQuantised), std::span<const DType>(kFloats)}) {
    for (DType dtype : types) {
      const Weights w = random_weights(dtype, 33, 1024, 17);
      for (int n_columns : {1, 9, 30}) {
        const std::vector<float> x = random_columns(n_columns, w.n_cols, 19);
        ASSERT_EQ(product({Isa::kAvx2}, w, x), product({Isa::kAvx512}, w, x)) << dtype_name(dtype);
      }
    }
  }
  for (const End& end : kEnds) {
    const Weights w = mxfp4_at(end, 33, 1024);
    const std::vector<float> x = random_columns(9, w.n_cols, 19, end.x_scale);
    ASSERT_EQ(product({Isa::kAvx2}, w, x), product({Isa::kAvx512}, w, x)) << "exponents from " << end.lowest;
  }
}

#if defined(COMMISSURE_X86_KERNELS)
/// Products of one weight type, stored and packed, in one plane and two, have the bits of avx512.
void expect_the_bits_of_avx512(const Kernels& kernels, const Weights& w, std::span<const int> counts, int n_threads,
                               float x_scale = 1.0f) {
  ThreadPool pool(n_threads);
  Matmul expected(Isa::kAvx512), matmul = kernels.make();
  const std::vector<std::byte> packed = pack(matmul, pool, w, w.n_rows);
  const std::vector<float> all =
      random_columns(*std::max_element(counts.begin(), counts.end()), w.n_cols, 103, x_scale);
  for (int n_columns : counts) {
    const std::vector<float> x(all.begin(), all.begin() + n_columns * w.n_cols);
    for (int n_planes : {1, 2}) {
      const std::vector<float> y = product(expected, pool, w, x, n_planes);
      const auto what = [&] {
        return name_of(kernels, w.dtype) + " [" + std::to_string(w.n_rows) + ", " + std::to_string(w.n_cols) + "] x " +
               std::to_string(n_columns) + ", planes " + std::to_string(n_planes);
      };
      ASSERT_TRUE(testing::same_bits(product(matmul, pool, w, x, n_planes), y)) << what();
      std::vector<float> out(y.size(), -12345.0f);
      const MatmulTask task = {w.dtype, w.bytes.data(), w.n_rows, out.data(), w.n_rows, packed.data()};
      matmul.run({x.data(), w.n_cols, n_columns, w.n_cols, n_planes}, {&task, 1}, pool);
      ASSERT_TRUE(testing::same_bits(out, y)) << "packed, " << what();
    }
  }
}

TEST(Matmul, AmxGivesTheBitsOfAvx512) {
  if (!can_run(Isa::kAvx512)) GTEST_SKIP() << "this CPU has no AVX-512";
  std::array<int, 64> every_count;
  for (int i = 0; i < 64; ++i) every_count[i] = i + 1;
  for (const Kernels& kernels : runnable_kernels()) {
    if (kernels.tiles == TestTiles::kNone && kernels.isa != Isa::kAmx) continue;
    for (DType dtype : kQuantised) {
      // Chains of unequal length, without any block, and of more than one run of blocks.
      const auto weights = [=](int n_rows, int n_blocks) {
        const int block = block_size(dtype).n_elements;
        return random_weights(dtype, n_rows, (32 * n_blocks + block - 1) / block * block, 101);
      };
      expect_the_bits_of_avx512(kernels, weights(3, 6), every_count, 1);
      expect_the_bits_of_avx512(kernels, weights(35, 2), std::array{8, 9, 31}, 2);
      expect_the_bits_of_avx512(kernels, weights(50, 39), std::array{7, 16, 33}, 3);
      expect_the_bits_of_avx512(kernels, weights(17, 1), std::array{12, 201}, 2);
    }
    for (const End& end : kEnds) {
      expect_the_bits_of_avx512(kernels, mxfp4_at(end, 35, 576), std::array{8, 9, 31}, 2, end.x_scale);
    }
  }
}

TEST(Matmul, AmxAsItShipsGivesTheBitsOfAvx512) {
  if (!can_run(Isa::kAvx512)) GTEST_SKIP() << "this CPU has no AVX-512";
  if (!TrappedTiles::can_trap()) GTEST_SKIP() << "this CPU has AMX: AmxGivesTheBitsOfAvx512 runs on it";
  const TrappedTiles tiles;
  for (DType dtype : kQuantised) {
    const int before = TrappedTiles::n_trapped();
    const Weights w = random_weights(dtype, 19, block_size(dtype).n_elements == 256 ? 768 : 704, 107);
    expect_the_bits_of_avx512({Isa::kAvx512, TestTiles::kTrapped}, w, std::array{8, 9, 29}, 2);
    EXPECT_GT(TrappedTiles::n_trapped(), before);
  }
}

TEST(Matmul, RunsOnTheTilesOfTheCpu) {
  if (!can_run(Isa::kAmx)) {
    GTEST_SKIP() << "THIS CPU HAS NO AMX, OR ITS SYSTEM HIDES IT: the AMX kernels ran on emulated tiles only";
  }
  EXPECT_NE(best_isa(), Isa::kAmx);
}
#endif

TEST(Matmul, RunsTheIsaAskedFor) {
  EXPECT_EQ(&Matmul(Isa::kGeneric).kernels(), &generic::kMatmul);
#if defined(COMMISSURE_X86_KERNELS)
  if (can_run(Isa::kAvx2)) {
    EXPECT_EQ(&Matmul(Isa::kAvx2).kernels(), &avx2::kMatmul);
  }
  if (can_run(Isa::kAvx512)) {
    EXPECT_EQ(&Matmul(Isa::kAvx512).kernels(), &avx512::kMatmul);
    EXPECT_EQ(Matmul(Isa::kAvx512).wide_kernels(), nullptr);
  }
  if (can_run(Isa::kAmx)) {
    EXPECT_EQ(&Matmul(Isa::kAmx).kernels(), &avx512::kMatmul);
    EXPECT_EQ(Matmul(Isa::kAmx).wide_kernels(), &amx::kWide);
  }
#endif
}

TEST(Matmul, DoesNotDependOnTheNumberOfThreads) {
  for (DType dtype : {DType::kQ4_1, DType::kQ6_K, DType::kF32}) {
    const Weights w = random_weights(dtype, 50, 256, 23);
    for (int n_columns : {2, 20}) {
      const std::vector<float> x = random_columns(n_columns, w.n_cols, 29);
      EXPECT_EQ(product({best_isa()}, w, x, 1), product({best_isa()}, w, x, 3));
    }
  }
}

TEST(Matmul, RunsShapesOfEverySize) {
  ThreadPool pool(3);
  for (const Kernels& kernels : runnable_kernels()) {
    Matmul matmul = kernels.make();
    for (DType dtype : {DType::kQ8_0, DType::kMXFP4}) {
      for (int n_rows : {1, 2, 15, 16, 17, 31}) {
        for (int n_blocks : {1, 2, 3, 4, 5, 6, 7}) {
          const Weights w = random_weights(dtype, n_rows, 32 * n_blocks, 31);
          for (int n_columns : {1, 7, 14}) {
            const std::vector<float> x = random_columns(n_columns, w.n_cols, 37);
            const std::vector<float> y = product(matmul, pool, w, x);
            const int r = n_rows - 1, c = n_columns - 1;
            const Exact exact = exact_dot(w, r, &x[c * w.n_cols]);
            ASSERT_NEAR(y[c * n_rows + r], exact.value, exact.bound) << name_of(kernels, w.dtype);
          }
        }
      }
    }
    const Weights odd = random_weights(DType::kBF16, 5, 37, 41);  // float rows of any length
    const std::vector<float> x = random_columns(3, 37, 43);
    const Exact exact = exact_dot(odd, 4, &x[74]);
    EXPECT_NEAR(product(matmul, pool, odd, x)[14], exact.value, exact.bound);
  }
}

/// Weights, stored or packed, lie against a page that cannot be read (support/guarded_new.cc), 16 rows of them exactly.
void expect_own_outputs_only(Matmul& matmul, const Weights& w, std::span<const std::byte> packed, int n_columns) {
  const auto rows = to_size(w.n_rows), stride = rows + 5;
  const std::vector<float> x = random_columns(n_columns, w.n_cols, 53);
  std::vector<float> out(to_size(n_columns) * stride, 7.0f);
  ThreadPool pool(2);
  const MatmulTask task = {w.dtype,      w.bytes.data(), w.n_rows, out.data(), static_cast<std::int64_t>(stride),
                           packed.data()};
  matmul.run({x.data(), w.n_cols, n_columns, w.n_cols}, {&task, 1}, pool);
  for (std::size_t i = 0; i < out.size(); ++i) EXPECT_EQ(out[i] == 7.0f, i % stride >= rows) << i;
}

TEST(Matmul, WritesOnlyItsOwnOutputs) {
  ThreadPool pool(1);
  for (const Kernels& kernels : runnable_kernels()) {
    Matmul matmul = kernels.make();
    for (DType dtype : {DType::kQ5_0, DType::kMXFP4}) {
      for (int n_rows : {16, 19}) {
        for (int n_blocks = 1; n_blocks <= 7; ++n_blocks) {
          const Weights w = random_weights(dtype, n_rows, 32 * n_blocks, 47);
          for (int n_columns : {1, 2, 13}) {
            SCOPED_TRACE(name_of(kernels, dtype) + " [" + std::to_string(n_rows) + ", " + std::to_string(w.n_cols) +
                         "] x " + std::to_string(n_columns));
            expect_own_outputs_only(matmul, w, {}, n_columns);
            if (matmul.packed_bytes(dtype, n_rows, w.n_cols) == 0) continue;
            expect_own_outputs_only(matmul, w, pack(matmul, pool, w, n_rows), n_columns);
          }
        }
      }
    }
  }
}

TEST(Matmul, SharesOneInputAmongTasks) {
  const Weights a = random_weights(DType::kQ4_0, 20, 256, 59), b = random_weights(DType::kQ6_K, 33, 256, 61),
                c = random_weights(DType::kF16, 8, 256, 67);
  for (int n_columns : {1, 8}) {
    const std::vector<float> x = random_columns(n_columns, 256, 71);
    std::vector<MatmulTask> tasks;
    std::vector<std::vector<float>> outs;
    for (const Weights* w : {&a, &b, &c}) outs.emplace_back(n_columns * w->n_rows);
    int i = 0;
    for (const Weights* w : {&a, &b, &c}) {
      tasks.push_back({w->dtype, w->bytes.data(), w->n_rows, outs[i++].data(), w->n_rows});
    }
    Matmul matmul(best_isa());
    ThreadPool pool(2);
    matmul.run({x.data(), 256, n_columns, 256}, tasks, pool);
    EXPECT_EQ(outs[0], product({best_isa()}, a, x));
    EXPECT_EQ(outs[1], product({best_isa()}, b, x));
    EXPECT_EQ(outs[2], product({best_isa()}, c, x));
  }
}

TEST(MatmulDeathTest, WhatIsPackedAloneIsNotMultipliedWithWhatIsNot) {
  const Weights w = random_weights(DType::kQ8_0, 16, 64, 79);
  Matmul matmul(best_isa());
  ThreadPool pool(1);
  std::vector<std::byte> packed(matmul.packed_bytes(w.dtype, w.n_rows, w.n_cols));
  if (packed.empty()) GTEST_SKIP() << "these kernels have no packed layout";
  matmul.pack_weights(w.dtype, w.bytes.data(), w.n_rows, w.n_cols, packed.data(), pool);
  const std::vector<float> x = random_columns(1, 64, 83);
  std::vector<float> out(32);
  const MatmulTask tasks[] = {
      {.dtype = w.dtype, .weight = nullptr, .n_rows = 16, .out = out.data(), .out_stride = 16, .packed = packed.data()},
      {.dtype = w.dtype,
       .weight = w.bytes.data(),
       .n_rows = 16,
       .out = out.data() + 16,
       .out_stride = 16,
       .packed = nullptr}};
  matmul.run({x.data(), 64, 1, 64}, {tasks, 1}, pool);
  EXPECT_DEATH(matmul.run({x.data(), 64, 1, 64}, tasks, pool), "packed_alone");
}

TEST(Matmul, SurvivesZerosAndShowsNonFiniteInputs) {
  for (const Kernels& kernels : runnable_kernels()) {
    const Weights w = random_weights(DType::kQ8_0, 16, 64, 73);
    for (int n_columns : {1, 12}) {
      std::vector<float> x(64 * n_columns, 0.0f);
      for (float y : product(kernels, w, x)) EXPECT_EQ(y, 0.0f);
      for (float bad : {INFINITY, -INFINITY, NAN}) {
        x[5] = bad;
        const std::vector<float> y = product(kernels, w, x);
        for (int r = 0; r < 16; ++r) EXPECT_TRUE(std::isnan(y[r])) << kernels.name();
        if (n_columns > 1) {
          EXPECT_EQ(y[16], 0.0f);  // the neighbour is untouched
        }
      }
    }
  }
}

}  // namespace
}  // namespace commissure::cpu
