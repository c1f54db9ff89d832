#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "core/dtype.h"
#include "core/ids.h"
#include "core/index.h"

namespace commissure {

/// The hidden rows that go from one stage to the next: bf16 [n_rows, d_model], row after row. Some models' rows carry
/// more than the residual stream (model/boundary_layout.h); d_model counts all of it.
/// The bytes are immutable and shared, so a boundary moves between threads and into the wire without a copy.
struct Boundary {
  StepId step;
  int n_rows = 0;
  int d_model = 0;
  std::span<const bf16> values;       ///< n_rows * d_model, kept alive by `owner`
  std::shared_ptr<const void> owner;  ///< shared, since the wire's buffers are reference counted too

  bool empty() const { return n_rows == 0; }
  std::span<const bf16> row(int r) const { return values.subspan(n_elements(r, d_model), d_model); }
};

/// A boundary that owns `values`.
inline Boundary make_boundary(StepId step, int n_rows, int d_model, std::vector<bf16> values) {
  auto owner = std::make_shared<const std::vector<bf16>>(std::move(values));
  return {step, n_rows, d_model, std::span<const bf16>(*owner), owner};
}

}  // namespace commissure
