#pragma once

#include "kernels/cpu/matmul/matmul_kernels.h"

/// Kernels of adapters, of one instruction set. Both keep one order of every sum, whatever the rows beside: `down` that
/// of float weights (matmul_kernels.h), `up` adds the inputs of its matrix in rising order, each output by itself.
/// This header meets compilers with wider instruction sets, hence plain pointers and no std classes.
namespace commissure::cpu {

/// Outputs that lie side by side in the second matrix.
inline constexpr int kLowRankPanel = 16;

/// Some panels of the second matrix, for some rows.
struct LowRankUp {
  DType dtype = DType::kF32;          ///< F32 or BF16
  const std::byte* panels = nullptr;  ///< [n_panels, rank, kLowRankPanel] of the whole matrix, filled up with zeros
  int rank = 0;
  int first_panel = 0, last_panel = 0;
  int n_outputs = 0;              ///< of the whole matrix
  const float* hidden = nullptr;  ///< [n_rows, rank]
  int n_rows = 0;
  float* out = nullptr;  ///< [n_rows, n_outputs], rows out_stride apart
  std::ptrdiff_t out_stride = 0;
  float factor = 1.0f;  ///< multiplies the sums
  float scale = 1.0f;   ///< multiplies what is added
  /// [n_outputs] or null. With it a row gets scale * ((gain - 1) * (out - bias * bias_scale) + gain * factor * sum).
  const float* gain = nullptr;
  const float* bias = nullptr;  ///< [n_outputs] or null
  float bias_scale = 1.0f;
};

struct LowRankKernels {
  /// The first matrix, F32 or BF16, as it is stored.
  void (*down)(const MatmulPart& part);
  void (*up)(const LowRankUp& part);
};

namespace reference {
extern const LowRankKernels kLowRank;
}
namespace generic {
extern const LowRankKernels kLowRank;
}
namespace avx2 {
extern const LowRankKernels kLowRank;
}
namespace avx512 {
extern const LowRankKernels kLowRank;
}

}  // namespace commissure::cpu
