#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <vector>

#include "core/check.h"
#include "core/index.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/rows/rows.h"

// The part of the backend that runs gated delta nets.

namespace commissure::cpu {

/// One sequence's rows of a step, and where its state lies.
struct StateStretch {
  const SequenceSpan& span;
  const float* from = nullptr;  ///< null: zeros
  float* to = nullptr;
};

namespace {

/// Below this many multiplications one thread is sooner done than several have started.
constexpr std::int64_t kSerialProducts = 64 * 1024;
constexpr std::int64_t kGateProducts = 64;  ///< what a gate's exponentials and logarithm cost, in products

float softplus(float x) { return x > 20.0f ? x : std::log1p(std::exp(x)); }

std::vector<StateStretch> stretches(const StepShape& shape, const StateLayer& states) {
  std::vector<StateStretch> all;
  const auto floats = states.shape.state_floats();
  const auto place = [&](std::int32_t i) { return address<float>(states.data) + to_size(i) * floats; };
  for (const SequenceSpan& span : shape.sequences) {
    CHECK(span.state_to >= 0 && span.state_from != span.state_to);
    all.push_back({span, span.state_from < 0 ? nullptr : place(span.state_from), place(span.state_to)});
  }
  return all;
}

/// The channels of the row that is `back` rows before row `row` of the stretch; null: there is none.
const float* channels_before(const StateStretch& stretch, Rows channels, const DeltaShape& shape, int row, int back) {
  const int at = row - back;
  if (at >= 0) return row_of(channels, stretch.span.first_row + at);
  if (stretch.from == nullptr) return nullptr;
  return stretch.from + (shape.kernel - 1 + at) * std::ptrdiff_t{shape.n_channels()};
}

}  // namespace

/// Convolution, lengths of queries and keys, decay and beta of every row.
void CpuBackend::mix_rows(const DeltaInputs& in, const DeltaWeights& weights, const CpuStepIndex& places,
                          const DeltaShape& shape, std::span<const StateStretch> all, Rows mixed) {
  const float* const rate = address<float>(weights.rate);
  const float* const bias = address<float>(weights.decay_bias);
  const auto mix = [&](int row) {
    const StateStretch& stretch = all[to_size(places.places()[to_size(row)].sequence)];
    std::array<const float*, DeltaShape::kMaxKernel> taps{};
    for (int tap = 0; tap < shape.kernel; ++tap) {
      const int back = shape.kernel - 1 - tap;
      taps[to_size(tap)] = channels_before(stretch, in.channels, shape, row - stretch.span.first_row, back);
    }
    float* const out = row_of(mixed, row);
    kernels_.delta->convolve(taps.data(), address<float>(weights.convolution), shape.kernel, shape.n_channels(), out);
    kernels_.delta->to_unit(out, shape.n_key_heads, shape.key_dim, 1.0f / std::sqrt(static_cast<float>(shape.key_dim)));
    kernels_.delta->to_unit(out + shape.key_width(), shape.n_key_heads, shape.key_dim, 1.0f);
    float *decay = row_of(in.decay, row), *beta = row_of(in.beta, row);
    for (int head = 0; head < shape.n_value_heads; ++head) {
      decay[head] = std::exp(rate[head] * softplus(decay[head] + bias[head]));
      beta[head] = 1.0f / (1.0f + std::exp(-beta[head]));
    }
  };
  const int n_rows = in.channels.n_rows;
  const std::int64_t products =
      std::int64_t{shape.n_channels()} * (shape.kernel + 8) + kGateProducts * shape.n_value_heads;
  if (n_rows == 1 || n_rows * products < kSerialProducts) {
    for (int row = 0; row < n_rows; ++row) mix(row);
    return;
  }
  pool_.run([&](int part, int n_parts) {
    const auto [first, last] = share(n_rows, part, n_parts);
    for (int row = first; row < last; ++row) mix(row);
  });
}

/// The channels that the rows behind the step are convolved with; work for each sequence of it.
void CpuBackend::keep_channels(const DeltaInputs& in, const DeltaShape& shape, std::span<const StateStretch> all) {
  const auto n = to_size(shape.n_channels());
  const auto keep = [&](int sequence) {
    const StateStretch& stretch = all[to_size(sequence)];
    for (int i = 0; i < shape.kernel - 1; ++i) {
      const int back = shape.kernel - 1 - i;
      const float* const from = channels_before(stretch, in.channels, shape, stretch.span.n_rows, back);
      float* const to = stretch.to + to_size(i) * n;
      from == nullptr ? std::memset(to, 0, n * sizeof(float)) : std::memcpy(to, from, n * sizeof(float));
    }
  };
  const int n_sequences = count_of(all);
  if (n_sequences == 1 || std::int64_t{n_sequences} * shape.kernel * shape.n_channels() < kSerialProducts) {
    for (int i = 0; i < n_sequences; ++i) keep(i);
    return;
  }
  pool_.run([&](int part, int n_parts) {
    const auto [first, last] = share(n_sequences, part, n_parts);
    for (int i = first; i < last; ++i) keep(i);
  });
}

void CpuBackend::delta_net(const DeltaInputs& in, const DeltaWeights& weights, const StepIndex& index,
                           const StateLayer& states, Rows mixed, Rows out) {
  const auto& places = static_cast<const CpuStepIndex&>(index);
  const DeltaShape& shape = states.shape;
  const std::vector<StateStretch> all = stretches(places.shape(), states);
  mix_rows(in, weights, places, shape, all, mixed);
  keep_channels(in, shape, all);
  const int n_blocks = (shape.value_dim + kDeltaColumns - 1) / kDeltaColumns;
  const auto n_before = n_elements(shape.kernel - 1, shape.n_channels());
  const auto advance = [&](int i) {
    const StateStretch& stretch = all[to_size(i / (shape.n_value_heads * n_blocks))];
    const int head = i / n_blocks % shape.n_value_heads, column = i % n_blocks * kDeltaColumns;
    const int key_head = shape.is_tiled ? head % shape.n_key_heads : head / (shape.n_value_heads / shape.n_key_heads);
    const std::size_t at =
        n_before + n_elements(head, shape.key_dim) * to_size(shape.value_dim) + n_elements(column, shape.key_dim);
    const int first = stretch.span.first_row, value = head * shape.value_dim + column;
    const float* const row = row_of(mixed, first);
    kernels_.delta->advance({.query = row + key_head * shape.key_dim,
                             .key = row + shape.key_width() + key_head * shape.key_dim,
                             .value = row + 2 * shape.key_width() + value,
                             .stride = mixed.stride,
                             .decay = row_of(in.decay, first) + head,
                             .beta = row_of(in.beta, first) + head,
                             .gate_stride = in.decay.stride,
                             .from = stretch.from == nullptr ? nullptr : stretch.from + at,
                             .to = stretch.to + at,
                             .out = row_of(out, first) + value,
                             .out_stride = out.stride,
                             .key_dim = shape.key_dim,
                             .n_columns = std::min(kDeltaColumns, shape.value_dim - column),
                             .n_rows = stretch.span.n_rows});
  };
  const int n_tasks = count_of(all) * shape.n_value_heads * n_blocks;
  const std::int64_t products = std::int64_t{2} * in.channels.n_rows * shape.value_width() * shape.key_dim;
  if (products < kSerialProducts) {
    for (int i = 0; i < n_tasks; ++i) advance(i);
    return;
  }
  pool_.run([&](int part, int n_parts) {
    const auto [first, last] = share(n_tasks, part, n_parts);
    for (int i = first; i < last; ++i) advance(i);
  });
}

}  // namespace commissure::cpu
