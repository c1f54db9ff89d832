#include "kernels/cpu/matmul/low_rank.h"

#include "kernels/cpu/isa/simd.h"
#include "kernels/cpu/matmul/matmul_float.h"

namespace commissure::cpu::COMMISSURE_ISA_NS {
namespace {

static_assert(kLowRankPanel == kLanes);

f32x16 load_first(const float* p, int n) { return n == kLanes ? load(p) : load_partial(p, n); }

/// The sums of one row and panel join the row's outputs.
void join(const LowRankUp& part, int panel, int row, f32x16 sum) {
  const int first = panel * kLanes;
  const int n = part.n_outputs - first < kLanes ? part.n_outputs - first : kLanes;
  float* const out = part.out + row * part.out_stride + first;
  const f32x16 old = load_first(out, n);
  f32x16 added = sum * set1(part.factor);
  if (part.gain != nullptr) {
    f32x16 base = old;
    if (part.bias != nullptr) base = base - load_first(part.bias + first, n) * set1(part.bias_scale);
    const f32x16 gain = load_first(part.gain + first, n);
    added = fma(gain - set1(1.0f), base, gain * added);
  }
  const f32x16 joined = fma(set1(part.scale), added, old);
  if (n == kLanes) {
    store(out, joined);
  } else {
    store_partial(out, joined, n);
  }
}

template <typename Weight, int kPanels, int kRows>
void up_block(const LowRankUp& part, int panel, int row) {
  using Value = typename Weight::Value;
  const Value* weights[kPanels];
  f32x16 sums[kRows][kPanels];
  for (int p = 0; p < kPanels; ++p) {
    weights[p] = reinterpret_cast<const Value*>(part.panels) + std::ptrdiff_t{panel + p} * part.rank * kLanes;
    for (int r = 0; r < kRows; ++r) sums[r][p] = set1(0.0f);
  }
  const float* const hidden = part.hidden + std::ptrdiff_t{row} * part.rank;
  for (int j = 0; j < part.rank; ++j) {
    f32x16 v[kPanels];
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) v[p] = Weight::load16(weights[p] + std::ptrdiff_t{j} * kLanes);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const f32x16 h = set1(hidden[std::ptrdiff_t{r} * part.rank + j]);
#pragma GCC unroll 4
      for (int p = 0; p < kPanels; ++p) sums[r][p] = fma(v[p], h, sums[r][p]);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int p = 0; p < kPanels; ++p) join(part, panel + p, row + r, sums[r][p]);
  }
}

#if defined(__AVX512F__)
constexpr int kRowBlock = 4;
#else
constexpr int kRowBlock = 2;  // two registers per vector
#endif

/// All rows for kPanels panels, which stay in the nearest cache meanwhile.
template <typename Weight, int kPanels>
void up_panels(const LowRankUp& part, int panel) {
  int row = 0;
  if constexpr (kPanels > 2) {
    // Two panels and some rows at a time fit the registers.
    for (; row + kRowBlock <= part.n_rows; row += kRowBlock) {
      for (int p = 0; p < kPanels; p += 2) up_block<Weight, 2, kRowBlock>(part, panel + p, row);
    }
  }
  for (; row < part.n_rows; ++row) up_block<Weight, kPanels, 1>(part, panel, row);
}

template <typename Weight>
void up_of(const LowRankUp& part) {
  int panel = part.first_panel;
  for (; panel + 4 <= part.last_panel; panel += 4) up_panels<Weight, 4>(part, panel);
  for (; panel < part.last_panel; ++panel) up_panels<Weight, 1>(part, panel);
}

/// As floats(), but some weight rows at a time for few columns, too: an adapter's rows are short and often in the
/// cache, where a single chain of sums would wait for itself.
template <typename Weight>
void down_of(const MatmulPart& part) {
  constexpr int kRows = 4;
  std::int64_t row = 0;
  if (part.n_columns >= kFloatBlock) {
    for (; row + kFloatBlock <= part.n_rows; row += kFloatBlock) float_rows<Weight, kFloatBlock>(part, row);
  } else {
    for (; row + kRows <= part.n_rows; row += kRows) {
      const std::byte* const rows = part.weights + row * static_cast<std::ptrdiff_t>(part.row_bytes);
      for (int c = 0; c < part.n_columns; ++c) {
        float_block<Weight, kRows, 1>(part, rows, part.x + c * part.x_stride, part.out + c * part.out_stride + row);
      }
    }
  }
  for (; row < part.n_rows; ++row) float_rows<Weight, 1>(part, row);
}

void down(const MatmulPart& part) {
  if (part.dtype == DType::kBF16) return down_of<WeightBF16>(part);
  down_of<WeightF32>(part);
}

void up(const LowRankUp& part) {
  if (part.dtype == DType::kBF16) return up_of<WeightBF16>(part);
  up_of<WeightF32>(part);
}

}  // namespace

const LowRankKernels kLowRank = {down, up};

}  // namespace commissure::cpu::COMMISSURE_ISA_NS
