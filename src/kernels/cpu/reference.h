#pragma once

#include "kernels/backend.h"
#include "kernels/cpu/attention/attention.h"
#include "kernels/cpu/rows/pointwise.h"

/// The slow twin that judges every fast kernel: plain loops, sums in double, the library's exp and tanh. This header
/// has its matmul; its other kernels are reference::kPointwise and reference::kAttention.
namespace commissure::cpu::reference {

/// Outputs [first, last) of y = W x for every row of x: exact dequantisation, f32 activations.
///   x    [n_rows, weight.n_cols]
///   out  [n_rows, weight.n_rows]
void matmul(const MatrixSource& weight, Rows x, Rows out, int first, int last);

}  // namespace commissure::cpu::reference
