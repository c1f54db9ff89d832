#pragma once

#include <cstdint>

/// Row kernels of one instruction set: everything of a step that is neither a matmul nor attention. Each call handles
/// one row, so that a row's bits cannot depend on its neighbours; the backend spreads rows over threads.
/// This header meets compilers with wider instruction sets, hence plain pointers and no std classes.
namespace commissure::cpu {

/// What happens to every head of one row between its projection and attention.
struct HeadRotation {
  int head_dim = 0;
  const float* norm = nullptr;   ///< [head_dim] weight of the per-head RMS norm, or null: no norm
  float eps = 0.0f;              ///< of the per-head RMS norm
  const float* table = nullptr;  ///< [2 * n_pairs] of this row's position: cosines, then sines
  int n_pairs = 0;               ///< the first 2 * n_pairs values of a head turn, the others pass through
  bool interleaved = false;      ///< pairs (2i, 2i + 1) instead of (i, i + n_pairs)
};

/// What happens to y on its way into the residual stream, and to the sum.
struct Residual {
  const float* norm = nullptr;  ///< weight of an RMS norm of y, or null
  float eps = 0.0f;
  bool round_to_bf16 = false;
};

struct PointwiseKernels {
  /// out = x / rms(x) * weight; out may be x.
  void (*rms_norm)(const float* x, const float* weight, float eps, int n, float* out);
  /// out = (x - mean) / deviation * weight + bias; out may be x.
  void (*layer_norm)(const float* x, const float* weight, const float* bias, float eps, int n, float* out);
  /// In place on `row` [n_heads * head_dim].
  void (*norm_rope)(float* row, int n_heads, const HeadRotation& rotation);
  /// out = silu(gate) * up; out may be gate or up.
  void (*gated_silu)(const float* gate, const float* up, int n, float* out);
  /// out = gelu(gate) * up with gelu's tanh form; out may be gate or up.
  void (*gated_gelu)(const float* gate, const float* up, int n, float* out);
  /// Activation::kClampedSwiglu; out may be gate or up.
  void (*gated_clamped)(const float* gate, const float* up, int n, float* out);
  /// out = sigmoid(gate) * up; out may be gate or up.
  void (*gated_sigmoid)(const float* gate, const float* up, int n, float* out);
  /// x += y, as `residual` says.
  void (*add)(float* x, const float* y, const Residual& residual, int n);
  /// x += scale * y, fused where the ISA can.
  void (*add_scaled)(float* x, const float* y, float scale, int n);
  /// x *= factor, rounded to bf16.
  void (*scale)(float* x, float factor, int n);
  /// The largest of n values; NaN counts as -infinity.
  float (*maximum)(const float* x, int n);
  /// Index of the first value above `floor`, n when there is none. NaN is not above anything.
  int (*first_above)(const float* x, int n, float floor);
  /// In place: x = cap * tanh(x / cap); -infinity stays.
  void (*soft_cap)(float* x, int n, float cap);
  void (*unpack_bf16)(const std::uint16_t* from, int n, float* out);
  /// Rounds to nearest even; NaN stays NaN.
  void (*pack_bf16)(const float* from, int n, std::uint16_t* out);
};

namespace reference {
extern const PointwiseKernels kPointwise;
}
namespace generic {
extern const PointwiseKernels kPointwise;
}
namespace avx2 {
extern const PointwiseKernels kPointwise;
}
namespace avx512 {
extern const PointwiseKernels kPointwise;
}

}  // namespace commissure::cpu
