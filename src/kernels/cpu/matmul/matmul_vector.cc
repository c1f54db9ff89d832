#include "kernels/cpu/matmul/matmul_few.h"
#include "kernels/cpu/matmul/matmul_float.h"
#include "kernels/cpu/matmul/matmul_kernels.h"
#include "kernels/cpu/matmul/matmul_pack.h"
#include "kernels/cpu/matmul/matmul_packed.h"
#include "kernels/cpu/matmul/matmul_quantise.h"
#include "kernels/cpu/matmul/matmul_tile.h"

/// Matmul for AVX2 and AVX-512: one source, compiled for each.
namespace commissure::cpu::COMMISSURE_ISA_NS {
namespace {

void few_of(const MatmulPart& part) {
  with_format(part.dtype, [&](auto format) { few<decltype(format)>(part); });
}

void tile_of(const MatmulPart& part) {
  with_format(part.dtype, [&](auto format) { tile<decltype(format)>(part); });
}

void floats_of(const MatmulPart& part) {
  switch (part.dtype) {
    case DType::kF32: return floats<WeightF32>(part);
    case DType::kF16: return floats<WeightF16>(part);
    case DType::kBF16: return floats<WeightBF16>(part);
    default: return;
  }
}

void packed_of(const MatmulPart& part) {
  with_format(part.dtype, [&](auto format) { packed<decltype(format)>(part); });
}

std::size_t packed_tile_bytes_of(DType dtype, int n_cols) {
  std::size_t n_bytes = 0;
  with_format(dtype, [&](auto format) { n_bytes = PackedSizes<decltype(format)>::tile(n_cols / kBlock); });
  return n_bytes;
}

void pack_rows_of(const MatmulPart& part, std::byte* out) {
  with_format(part.dtype, [&](auto format) { pack_rows<decltype(format)>(part, out); });
}

}  // namespace

const MatmulKernels kMatmul = {.tile_width = kTileWidth,
                               .min_tile_columns = 5,
                               .pack_few = pack_few,
                               .pack_tile = pack_tile,
                               .few = few_of,
                               .tile = tile_of,
                               .floats = floats_of,
                               .packed = packed_of,
                               .screen = packed<FormatScreen>,
                               .packed_tile_bytes = packed_tile_bytes_of,
                               .pack_weights = pack_rows_of};

}  // namespace commissure::cpu::COMMISSURE_ISA_NS
