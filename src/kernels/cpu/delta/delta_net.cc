#include "kernels/cpu/delta/delta_net.h"

#include "kernels/cpu/isa/simd.h"

/// Delta net kernels, compiled once per ISA. Every sum has one order: over taps and over key dimensions upwards, where
/// even and odd dimensions have a sum of their own, which hides the latency of the fused multiply-add.
namespace commissure::cpu::COMMISSURE_ISA_NS {

namespace {

f32x16 load_first(const float* p, int n) { return n == kLanes ? load(p) : load_partial(p, n); }

void convolve(const float* const* taps, const float* weights, int n_taps, int n, float* out) {
  for (int c = 0; c < n; c += kLanes) {
    const int k = n - c < kLanes ? n - c : kLanes;
    f32x16 sum = set1(0.0f);
    for (int tap = 0; tap < n_taps; ++tap) {
      if (taps[tap] == nullptr) continue;
      sum = fma(load_first(weights + static_cast<std::ptrdiff_t>(tap) * n + c, k), load_first(taps[tap] + c, k), sum);
    }
    const f32x16 result = sum / (set1(1.0f) + exp(set1(0.0f) - sum));
    k == kLanes ? store(out + c, result) : store_partial(out + c, result, k);
  }
}

void to_unit(float* x, int n_heads, int dim, float scale) {
  for (int head = 0; head < n_heads; ++head, x += dim) {
    f32x16 sum = set1(0.0f);
    for (int i = 0; i < dim; i += kLanes) sum = fma(load(x + i), load(x + i), sum);
    const f32x16 factor = set1(scale / __builtin_sqrtf(reduce_add(sum) + 1e-6f));
    for (int i = 0; i < dim; i += kLanes) store(x + i, load(x + i) * factor);
  }
}

/// `n` vectors of columns.
template <int n>
void advance_columns(const DeltaTask& task) {
  constexpr int kWidth = n * kLanes;
  const int key_dim = task.key_dim;
  const float* from = task.from;
  if (from == nullptr) {
    for (int i = 0; i < key_dim * kWidth; i += kLanes) store(task.to + i, set1(0.0f));
    from = task.to;
  }
  for (int row = 0; row < task.n_rows; ++row, from = task.to) {
    const float* const key = task.key + row * task.stride;
    const float* const query = task.query + row * task.stride;
    const float* const value = task.value + row * task.stride;
    float* const out = task.out + row * task.out_stride;
    const f32x16 decay = set1(task.decay[row * task.gate_stride]), beta = set1(task.beta[row * task.gate_stride]);
    f32x16 held[2][n], seen[2][n], change[n];
    for (int v = 0; v < n; ++v) held[0][v] = held[1][v] = seen[0][v] = seen[1][v] = set1(0.0f);
    for (int i = 0; i < key_dim; i += 2) {
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
        const f32x16 k = set1(key[i + half]);
#pragma GCC unroll 2
        for (int v = 0; v < n; ++v) {
          held[half][v] = fma(k, load(from + (i + half) * kWidth + v * kLanes), held[half][v]);
        }
      }
    }
    for (int v = 0; v < n; ++v) change[v] = beta * (load(value + v * kLanes) - decay * (held[0][v] + held[1][v]));
    for (int i = 0; i < key_dim; i += 2) {
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
        const f32x16 k = set1(key[i + half]), q = set1(query[i + half]);
#pragma GCC unroll 2
        for (int v = 0; v < n; ++v) {
          const std::ptrdiff_t at = (i + half) * kWidth + v * kLanes;
          const f32x16 state = fma(k, change[v], decay * load(from + at));
          store(task.to + at, state);
          seen[half][v] = fma(q, state, seen[half][v]);
        }
      }
    }
    for (int v = 0; v < n; ++v) store(out + v * kLanes, seen[0][v] + seen[1][v]);
  }
}

void advance(const DeltaTask& task) {
  task.n_columns == kDeltaColumns ? advance_columns<2>(task) : advance_columns<1>(task);
}

}  // namespace

const DeltaKernels kDelta = {convolve, to_unit, advance};

}  // namespace commissure::cpu::COMMISSURE_ISA_NS
