#pragma once

#include <cstddef>

/// Kernels of a gated delta net, of one instruction set. The backend parts the work: a convolution by rows, the states
/// by sequences, heads and columns, which never mix, so that a state's bits depend on its own rows alone. This header
/// meets compilers with wider instruction sets, hence plain pointers and no std classes.
namespace commissure::cpu {

/// Columns of a head's state that one task advances; its last task may have fewer, in sixteens.
inline constexpr int kDeltaColumns = 32;

/// Some columns of one value head's state, through rows of one sequence in their order. A state lies [key_dim, columns
/// of the task], one task's behind the other's.
struct DeltaTask {
  const float* query = nullptr;  ///< of the first row [key_dim]; the rows of query, key and value lie `stride` apart
  const float* key = nullptr;
  const float* value = nullptr;  ///< [n_columns]
  std::ptrdiff_t stride = 0;
  const float* decay = nullptr;  ///< of the first row, in (0, 1]; decay and beta lie `gate_stride` apart
  const float* beta = nullptr;   ///< in (0, 1)
  std::ptrdiff_t gate_stride = 0;
  const float* from = nullptr;  ///< null: zeros
  float* to = nullptr;          ///< not `from`
  float* out = nullptr;         ///< of the first row [n_columns]
  std::ptrdiff_t out_stride = 0;
  int key_dim = 0;    ///< a multiple of 16
  int n_columns = 0;  ///< 16 or 32
  int n_rows = 0;
};

struct DeltaKernels {
  /// out[c] = silu(sum over j of weights[j * n + c] * taps[j][c]); a tap that is null counts as zeros.
  void (*convolve)(const float* const* taps, const float* weights, int n_taps, int n, float* out);
  /// In place on [n_heads, dim]: x = x / sqrt(sum of squares + 1e-6) * scale. dim is a multiple of 16.
  void (*to_unit)(float* x, int n_heads, int dim, float scale);
  void (*advance)(const DeltaTask& task);
};

namespace reference {
extern const DeltaKernels kDelta;
}
namespace generic {
extern const DeltaKernels kDelta;
}
namespace avx2 {
extern const DeltaKernels kDelta;
}
namespace avx512 {
extern const DeltaKernels kDelta;
}

}  // namespace commissure::cpu
