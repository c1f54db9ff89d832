#include <cstdint>

#include "core/dtype.h"
#include "kernels/cpu/matmul/low_rank.h"

namespace commissure::cpu::reference {
namespace {

double value_at(DType dtype, const std::byte* values, std::ptrdiff_t i) {
  if (dtype == DType::kBF16) return static_cast<double>(to_float(reinterpret_cast<const bf16*>(values)[i]));
  return static_cast<double>(reinterpret_cast<const float*>(values)[i]);
}

void down(const MatmulPart& part) {
  for (int column = 0; column < part.n_columns; ++column) {
    for (std::int64_t row = 0; row < part.n_rows; ++row) {
      const std::byte* const weights = part.weights + row * static_cast<std::ptrdiff_t>(part.row_bytes);
      double sum = 0.0;
      for (int i = 0; i < part.n_cols; ++i) {
        sum += value_at(part.dtype, weights, i) * static_cast<double>(part.x[column * part.x_stride + i]);
      }
      part.out[column * part.out_stride + row] = static_cast<float>(sum);
    }
  }
}

double sum_of(const LowRankUp& part, int row, int output) {
  double sum = 0.0;
  for (int j = 0; j < part.rank; ++j) {
    const std::ptrdiff_t panel = output / kLowRankPanel, lane = output % kLowRankPanel;
    sum += value_at(part.dtype, part.panels, (panel * part.rank + j) * kLowRankPanel + lane) *
           static_cast<double>(part.hidden[std::ptrdiff_t{row} * part.rank + j]);
  }
  return sum * static_cast<double>(part.factor);
}

void up(const LowRankUp& part) {
  const int end = part.last_panel * kLowRankPanel;
  for (int row = 0; row < part.n_rows; ++row) {
    for (int output = part.first_panel * kLowRankPanel; output < end && output < part.n_outputs; ++output) {
      float& out = part.out[row * part.out_stride + output];
      double added = sum_of(part, row, output);
      if (part.gain != nullptr) {
        const double gain = static_cast<double>(part.gain[output]);
        double base = static_cast<double>(out);
        if (part.bias != nullptr) base -= static_cast<double>(part.bias[output]) * static_cast<double>(part.bias_scale);
        added = (gain - 1.0) * base + gain * added;
      }
      out = static_cast<float>(static_cast<double>(out) + static_cast<double>(part.scale) * added);
    }
  }
}

}  // namespace

const LowRankKernels kLowRank = {down, up};

}  // namespace commissure::cpu::reference
