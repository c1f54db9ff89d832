#include <algorithm>

#include "core/index.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/rows/rows.h"
#include "kernels/quant.h"

// The head. Its product over the whole vocabulary takes one int8 plane of x; a second plane would double the widest
// product of a step for the sake of a few hundred values. So those get theirs one by one.

namespace commissure::cpu {

void CpuBackend::logits(Rows x, const Matrix& weight, std::span<const LogitsUse> uses, float softcap, Rows out) {
  const MatrixSource& source = static_cast<const CpuMatrix&>(weight).source();
  if (!matmul_ || !head_search_.run({&source, x, uses, softcap, out}, *matmul_, *kernels_.pointwise, pool_)) {
    uncapped_logits(x, weight, uses, softcap, out);
  }
  if (softcap == 0.0f) return;
  pool_.run([&](int part, int n_parts) {
    const auto [first, last] = share(out.n_cols, part, n_parts);
    for (int row = 0; row < out.n_rows; ++row) {
      kernels_.pointwise->soft_cap(row_of(out, row) + first, last - first, softcap);
    }
  });
}

void CpuBackend::uncapped_logits(Rows x, const Matrix& weight, std::span<const LogitsUse> uses, float softcap,
                                 Rows out) {
  const MatmulJob job{&weight, out};
  const bool refines = matmul_ && is_quantised(weight.dtype());
  matmul(x, {&job, 1}, refines ? InputPlanes::kOne : InputPlanes::kAll);
  if (!refines) return;

  refine_.planes.resize(x.n_rows, x.n_cols);
  refine_.maxima.resize(n_elements(x.n_rows, pool_.n_threads()));
  pool_.run([&](int part, int n_parts) {
    const auto [first, last] = share(out.n_cols, part, n_parts);
    for (int row = 0; row < x.n_rows; ++row) {
      refine_.maxima[row * n_parts + part] = kernels_.pointwise->maximum(row_of(out, row) + first, last - first);
      if (row % n_parts == part) refine_.planes.pack(matmul_->kernels(), row_of(x, row), row);
    }
  });
  pool_.run([&](int part, int n_parts) {
    const auto [first, last] = share(out.n_cols, part, n_parts);
    for (int row = 0; row < x.n_rows; ++row) {
      const float* maxima = refine_.maxima.data() + row * n_parts;
      const float floor = floor_below(*std::max_element(maxima, maxima + n_parts), kRefinedRange, softcap);
      float* values = row_of(out, row);
      const std::int32_t target = uses[row].target;
      const bool target_is_low = target >= first && target < last && !(values[target] > floor);
      for (int i = first; i < last; ++i) {
        i += kernels_.pointwise->first_above(values + i, last - i, floor);
        if (i < last) refine(weight, i, row, values);
      }
      if (target_is_low) refine(weight, target, row, values);
    }
  });
}

void CpuBackend::refine(const Matrix& weight, int output, int row, float* values) {
  const MatrixSource& source = static_cast<const CpuMatrix&>(weight).source();
  const std::size_t stride = row_bytes(source.dtype, source.n_cols);
  float fine = 0.0f;
  matmul_->kernels().few({.dtype = source.dtype,
                          .weights = source.data.bytes.data() + output * stride,
                          .row_bytes = stride,
                          .n_rows = 1,
                          .n_cols = static_cast<int>(source.n_cols),
                          .n_columns = 1,
                          .packed = reinterpret_cast<const std::byte*>(refine_.planes.plane(row, 1)),
                          .out = &fine});
  values[output] += fine;
}

}  // namespace commissure::cpu
