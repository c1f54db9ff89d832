#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/matmul/matmul_kernels.h"

/// Products of bf16 weights with x rounded to bf16.
/// This header meets compilers with wider instruction sets, hence plain pointers and no std classes.
namespace commissure::cpu {

struct Bf16Kernels {
  /// Rounds one column to bf16 (nearest even), with zeros up to a multiple of 32.
  void (*pack)(const float* x, int n_cols, std::uint16_t* out);
  /// `part.packed` holds the columns one after the other as pack() wrote them.
  void (*multiply)(const MatmulPart& part);
};

namespace avx2 {
extern const Bf16Kernels kBf16;
}
namespace avx512 {
extern const Bf16Kernels kBf16;
}
/// AVX-512 with vdpbf16ps.
namespace avx512bf16 {
extern const Bf16Kernels kBf16;
}

}  // namespace commissure::cpu
