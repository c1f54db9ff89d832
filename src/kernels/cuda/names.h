#pragma once

#include <array>
#include <initializer_list>
#include <string_view>

#include "core/check.h"
#include "core/dtype.h"
#include "core/index.h"
#include "kernels/backend.h"
#include "kernels/cuda/device/args.h"
#include "kernels/padded_head.h"

/// What kernels of a weight type are called, and how the host writes addresses on the card into their arguments.
namespace commissure::cuda {

/// The widest head that attention has kernels for.
inline constexpr int kMaxHeadDim = 512;

inline int ceil_of(int n, int by) { return (n + by - 1) / by; }

/// Of one span that a tile of queries folded, for all kv heads: [kv head][16 queries][padded head_dim + 2] f32.
inline std::size_t partial_bytes(const HeadLayout& heads) {
  return n_elements(heads.n_kv_heads, kQueries, padded_head_dim(heads.head_dim) + 2) * sizeof(float);
}

/// A kernel's name out of its parts, put together anew for every launch: in no memory but its own.
class KernelName {
 public:
  KernelName(std::initializer_list<std::string_view> parts) {
    for (const std::string_view part : parts) {
      CHECK(part.size() <= text_.size() - n_);
      n_ += part.copy(text_.data() + n_, part.size());
    }
  }
  std::string_view view() const { return {text_.data(), n_}; }

 private:
  std::array<char, 32> text_ = {};
  std::size_t n_ = 0;
};

struct KernelNames {
  DType dtype;
  int format;
  std::string_view suffix;
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
inline int padded_columns(int n_cols) { return ceil_of(n_cols, kBlock) * kBlock; }

}  // namespace commissure::cuda
