#include <cmath>
#include <vector>

#include "kernels/cpu/delta/delta_net.h"

// The slow twin: the formulas as they are written, sums in double.

namespace commissure::cpu::reference {

namespace {

void convolve(const float* const* taps, const float* weights, int n_taps, int n, float* out) {
  for (int c = 0; c < n; ++c) {
    double sum = 0.0;
    for (int tap = 0; tap < n_taps; ++tap) {
      if (taps[tap] == nullptr) continue;
      sum += static_cast<double>(weights[static_cast<std::ptrdiff_t>(tap) * n + c]) * static_cast<double>(taps[tap][c]);
    }
    out[c] = static_cast<float>(sum / (1.0 + std::exp(-sum)));
  }
}

void to_unit(float* x, int n_heads, int dim, float scale) {
  for (int head = 0; head < n_heads; ++head, x += dim) {
    double sum = 0.0;
    for (int i = 0; i < dim; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    const auto factor = static_cast<float>(static_cast<double>(scale) / std::sqrt(sum + 1e-6));
    for (int i = 0; i < dim; ++i) x[i] *= factor;
  }
}

void advance_row(const DeltaTask& task, const float* from, int row) {
  const std::ptrdiff_t at = row * task.stride, gate = row * task.gate_stride;
  const int n = task.n_columns;
  for (int column = 0; column < n; ++column) {
    const auto state = [&](int i) { return from == nullptr ? 0.0f : from[i * n + column]; };
    double held = 0.0, seen = 0.0;
    for (int i = 0; i < task.key_dim; ++i) {
      held += static_cast<double>(task.decay[gate] * state(i)) * static_cast<double>(task.key[at + i]);
    }
    const float change = task.beta[gate] * (task.value[at + column] - static_cast<float>(held));
    for (int i = 0; i < task.key_dim; ++i) {
      const float after = task.decay[gate] * state(i) + task.key[at + i] * change;
      task.to[i * n + column] = after;
      seen += static_cast<double>(after) * static_cast<double>(task.query[at + i]);
    }
    task.out[row * task.out_stride + column] = static_cast<float>(seen);
  }
}

void advance(const DeltaTask& task) {
  for (int row = 0; row < task.n_rows; ++row) advance_row(task, row == 0 ? task.from : task.to, row);
}

}  // namespace

const DeltaKernels kDelta = {convolve, to_unit, advance};

}  // namespace commissure::cpu::reference
