#pragma once

#include "core/check.h"
#include "core/dtype.h"
#include "core/index.h"
#include "kernels/backend.h"
#include "kernels/cuda/device/args.h"

/// What kernels of a weight type are called, and how the host writes addresses on the card into their arguments.
namespace commissure::cuda {

/// The widest head that attention has kernels for.
inline constexpr int kMaxHeadDim = 512;

/// What attention may keep of folded spans until they are joined.
inline constexpr std::size_t kMaxPartialBytes = std::size_t{64} << 20;

/// Of one span that a tile of queries folded, for all kv heads: [kv head][16 queries][padded head_dim + 2] f32.
inline std::size_t partial_bytes(const HeadLayout& heads) {
  const int width = (heads.head_dim + 15) / 16 * 16 + 2;
  return n_elements(heads.n_kv_heads, kQueries, width) * sizeof(float);
}

struct KernelNames {
  DType dtype;
  int format;
  const char* suffix;
};

/// Null: there are no kernels for this type.
inline const KernelNames* find_names(DType dtype) {
  static constexpr KernelNames kNames[] = {
      {DType::kQ4_0, kQ4_0, "q4_0"},    {DType::kQ4_1, kQ4_1, "q4_1"}, {DType::kQ5_0, kQ5_0, "q5_0"},
      {DType::kQ5_1, kQ5_1, "q5_1"},    {DType::kQ8_0, kQ8_0, "q8_0"}, {DType::kQ4_K, kQ4_K, "q4_k"},
      {DType::kQ5_K, kQ5_K, "q5_k"},    {DType::kQ6_K, kQ6_K, "q6_k"}, {DType::kNF4, kNF4, "nf4"},
      {DType::kMXFP4, kMXFP4, "mxfp4"}, {DType::kBF16, kBF16, "bf16"}, {DType::kF16, -1, "f16"},
      {DType::kF32, -1, "f32"}};
  for (const KernelNames& names : kNames) {
    if (names.dtype == dtype) return &names;
  }
  return nullptr;
}

/// Of a matrix's type, which load_matrix() has looked for.
inline const KernelNames& names_of(DType dtype) {
  const KernelNames* names = find_names(dtype);
  CHECK(names != nullptr);
  return *names;
}

/// An address on the card as a kernel's argument has it; the host never follows it.
template <typename T>
T* at(DevicePtr ptr) {
  return reinterpret_cast<T*>(ptr.value);
}

/// Columns of a float matrix on the card: whole blocks of 32.
inline int padded_columns(int n_cols) { return (n_cols + kBlock - 1) / kBlock * kBlock; }

}  // namespace commissure::cuda
