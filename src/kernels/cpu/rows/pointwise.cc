#include "kernels/cpu/rows/pointwise.h"

#include "kernels/clamped_swiglu.h"
#include "kernels/cpu/isa/simd.h"

/// Row kernels, compiled once per ISA. Plain loops where the compiler vectorises by itself: without contraction it may
/// not change a bit. f32x16 where an order of sums or a vector exp must be spelled out.
namespace commissure::cpu::COMMISSURE_ISA_NS {

namespace {

f32x16 load_first(const float* p, int n) { return n == kLanes ? load(p) : load_partial(p, n); }

void store_first(float* p, f32x16 a, int n) {
  if (n == kLanes) {
    store(p, a);
  } else {
    store_partial(p, a, n);
  }
}

/// Calls f(i, n) for the vectors of a row: n lanes from index i, 16 but for the last.
template <typename F>
void each_vector(int n, F f) {
  int i = 0;
  for (; i + kLanes <= n; i += kLanes) f(i, kLanes);
  if (i < n) f(i, n - i);
}

float inverse_rms(const float* x, float eps, int n) {
  // Four sums hide the latency of the fused multiply-add; their order is part of the result.
  f32x16 sums[4] = {set1(0.0f), set1(0.0f), set1(0.0f), set1(0.0f)};
  int i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      const f32x16 v = load(x + i + k * kLanes);
      sums[k] = fma(v, v, sums[k]);
    }
  }
  for (; i < n; i += kLanes) {
    const f32x16 v = load_first(x + i, n - i < kLanes ? n - i : kLanes);
    sums[0] = fma(v, v, sums[0]);
  }
  const float sum = reduce_add((sums[0] + sums[1]) + (sums[2] + sums[3]));
  return 1.0f / __builtin_sqrtf(sum / static_cast<float>(n) + eps);
}

void rms_norm(const float* x, const float* weight, float eps, int n, float* out) {
  const float inverse = inverse_rms(x, eps, n);
  for (int i = 0; i < n; ++i) out[i] = x[i] * inverse * weight[i];
}

float sum_of(const float* x, int n) {
  f32x16 sums[4] = {set1(0.0f), set1(0.0f), set1(0.0f), set1(0.0f)};  // as in inverse_rms
  int i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    for (int k = 0; k < 4; ++k) sums[k] = sums[k] + load(x + i + k * kLanes);
  }
  for (; i < n; i += kLanes) sums[0] = sums[0] + load_first(x + i, n - i < kLanes ? n - i : kLanes);
  return reduce_add((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

void layer_norm(const float* x, const float* weight, const float* bias, float eps, int n, float* out) {
  const float mean = sum_of(x, n) / static_cast<float>(n);
  for (int i = 0; i < n; ++i) out[i] = x[i] - mean;
  const float inverse = inverse_rms(out, eps, n);  // of what is centred: the deviation
  for (int i = 0; i < n; ++i) out[i] = out[i] * inverse * weight[i] + bias[i];
}

void rotate_halves(float* x, const float* cosines, int n_pairs) {
  const float* sines = cosines + n_pairs;
  each_vector(n_pairs, [&](int i, int n) {
    const f32x16 a = load_first(x + i, n), b = load_first(x + n_pairs + i, n);
    const f32x16 c = load_first(cosines + i, n), s = load_first(sines + i, n);
    store_first(x + i, a * c - b * s, n);
    store_first(x + n_pairs + i, b * c + a * s, n);
  });
}

void rotate_neighbours(float* x, const float* cosines, int n_pairs) {
  const float* sines = cosines + n_pairs;
  for (int i = 0; i < n_pairs; ++i) {
    const float a = x[2 * i], b = x[2 * i + 1];
    x[2 * i] = a * cosines[i] - b * sines[i];
    x[2 * i + 1] = b * cosines[i] + a * sines[i];
  }
}

void norm_rope(float* row, int n_heads, const HeadRotation& rotation) {
  for (int head = 0; head < n_heads; ++head, row += rotation.head_dim) {
    if (rotation.norm != nullptr) rms_norm(row, rotation.norm, rotation.eps, rotation.head_dim, row);
    if (rotation.interleaved) {
      rotate_neighbours(row, rotation.table, rotation.n_pairs);
    } else {
      rotate_halves(row, rotation.table, rotation.n_pairs);
    }
  }
}

f32x16 silu(f32x16 x) { return x / (set1(1.0f) + exp(set1(0.0f) - x)); }

/// 0.5 x (1 + tanh u) is x / (1 + e^-2u), which needs no tanh and does not cancel where gelu is small.
f32x16 gelu(f32x16 x) {
  const f32x16 cubic = fma(x * x * x, set1(0.044715f), x);
  return x / (set1(1.0f) + exp(cubic * set1(-1.5957691216f)));  // -2 sqrt(2 / pi)
}

void gated_silu(const float* gate, const float* up, int n, float* out) {
  each_vector(n, [&](int i, int k) { store_first(out + i, silu(load_first(gate + i, k)) * load_first(up + i, k), k); });
}

void gated_gelu(const float* gate, const float* up, int n, float* out) {
  each_vector(n, [&](int i, int k) { store_first(out + i, gelu(load_first(gate + i, k)) * load_first(up + i, k), k); });
}

void gated_clamped(const float* gate, const float* up, int n, float* out) {
  const f32x16 highest = set1(kSwigluLimit), lowest = set1(-kSwigluLimit), one = set1(1.0f);
  each_vector(n, [&](int i, int k) {  // min and max keep a NaN that stands second
    const f32x16 g = min(highest, load_first(gate + i, k)), u = max(lowest, min(highest, load_first(up + i, k)));
    store_first(out + i, g / (one + exp(g * set1(-kSwigluAlpha))) * (u + one), k);
  });
}

void gated_sigmoid(const float* gate, const float* up, int n, float* out) {
  const f32x16 zero = set1(0.0f), one = set1(1.0f);
  each_vector(n, [&](int i, int k) {
    store_first(out + i, load_first(up + i, k) / (one + exp(zero - load_first(gate + i, k))), k);
  });
}

void pack_bf16(const float* from, int n, std::uint16_t* out) {
  int i = 0;
  for (; i + kLanes <= n; i += kLanes) store_bf16(out + i, load(from + i));
  if (i == n) return;
  std::uint16_t last[kLanes];
  store_bf16(last, load_partial(from + i, n - i));
  for (int k = 0; i + k < n; ++k) out[i + k] = last[k];
}

void unpack_bf16(const std::uint16_t* from, int n, float* out) {
  for (int i = 0; i < n; ++i) {
    const std::uint32_t bits = static_cast<std::uint32_t>(from[i]) << 16;
    __builtin_memcpy(out + i, &bits, sizeof bits);
  }
}

void add(float* x, const float* y, const Residual& residual, int n) {
  const f32x16 inverse = set1(residual.norm != nullptr ? inverse_rms(y, residual.eps, n) : 1.0f);
  each_vector(n, [&](int i, int k) {
    f32x16 addend = load_first(y + i, k);
    if (residual.norm != nullptr) addend = addend * inverse * load_first(residual.norm + i, k);
    const f32x16 sum = load_first(x + i, k) + addend;
    store_first(x + i, residual.round_to_bf16 ? round_to_bf16(sum) : sum, k);
  });
}

void add_scaled(float* x, const float* y, float scale, int n) {
  const f32x16 factor = set1(scale);
  each_vector(n, [&](int i, int k) { store_first(x + i, fma(factor, load_first(y + i, k), load_first(x + i, k)), k); });
}

void scale(float* x, float factor, int n) {
  each_vector(n, [&](int i, int k) { store_first(x + i, round_to_bf16(load_first(x + i, k) * set1(factor)), k); });
}

constexpr float kLowest = -__builtin_inff();

float maximum(const float* x, int n) {
  f32x16 best[2] = {set1(kLowest), set1(kLowest)};
  int i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    for (int k = 0; k < 2; ++k) best[k] = max(load(x + i + k * kLanes), best[k]);
  }
  float largest = reduce_max(max(best[0], best[1]));
  for (; i < n; ++i) largest = x[i] > largest ? x[i] : largest;
  return largest;
}

int first_above(const float* x, int n, float floor) {
  constexpr int kRun = 4 * kLanes;  // few runs hold a value above: one look at their largest passes over the others
  int i = 0;
  for (; i + kRun <= n; i += kRun) {
    f32x16 best = set1(kLowest);
    for (int k = 0; k < kRun; k += kLanes) best = max(load(x + i + k), best);
    if (reduce_max(best) > floor) break;
  }
  for (; i < n && !(x[i] > floor); ++i) {
  }
  return i;
}

/// tanh u is 1 - 2 / (1 + e^2u), within some 1e-7: what counts is the distance between logits.
void soft_cap(float* x, int n, float cap) {
  const f32x16 highest = set1(cap), doubled = set1(2.0f * cap), inverse = set1(2.0f / cap),
               lowest = set1(-3.4028235e38f);
  each_vector(n, [&](int i, int k) {
    const f32x16 v = load_first(x + i, k);
    if (reduce_max(v) == kLowest) return;  // most of a searched head
    store_first(x + i, select_less(v, lowest, v, highest - doubled / (set1(1.0f) + exp(v * inverse))), k);
  });
}

}  // namespace

const PointwiseKernels kPointwise = {rms_norm,      layer_norm,    norm_rope, gated_silu,  gated_gelu,
                                     gated_clamped, gated_sigmoid, add,       add_scaled,  scale,
                                     maximum,       first_above,   soft_cap,  unpack_bf16, pack_bf16};

}  // namespace commissure::cpu::COMMISSURE_ISA_NS
