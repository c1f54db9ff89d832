#pragma once

#include <cstddef>
#include <span>

#include "core/dtype.h"

namespace commissure {

/// Whether quantise() writes this format.
inline bool can_quantise_to(DType dtype) { return dtype == DType::kQ8_0 || dtype == DType::kNF4; }

/// Rounds values to Q8_0 (as ggml does: the same bytes, but that a block too small for an f16 scale is zero) or NF4,
/// each block for itself; the same bytes on every machine.
///   from  whole blocks of `dtype`
///   out   row_bytes(dtype, from.size()) bytes
/// False: a value is infinite or NaN, or a block's scale does not fit an f16. `out` is then of no use.
bool quantise(DType dtype, std::span<const float> from, std::byte* out);

}  // namespace commissure
