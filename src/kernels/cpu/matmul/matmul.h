#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/dtype.h"
#include "core/thread_pool.h"
#include "kernels/cpu/isa/cpu_features.h"
#include "kernels/cpu/matmul/matmul_bf16.h"
#include "kernels/cpu/matmul/matmul_kernels.h"

namespace commissure::cpu {

/// x: f32 [n_columns, n_cols], rows `stride` floats apart. A "column" is one token's vector.
struct MatmulInput {
  const float* x = nullptr;
  std::ptrdiff_t stride = 0;
  int n_columns = 0;
  int n_cols = 0;
  int n_planes = 1;        ///< 2: quantised weights multiply x as two int8 planes, about 16 bits
  bool keeps_f32 = false;  ///< bf16 weights multiply x in f32 instead of rounded to bf16
};

/// One product: out[column * out_stride + row] = weight[row] . x[column].
struct MatmulTask {
  DType dtype = DType::kF32;
  const std::byte* weight = nullptr;  ///< [n_rows, n_cols] as the checkpoint stores it
  std::int64_t n_rows = 0;
  float* out = nullptr;
  std::ptrdiff_t out_stride = 0;
  const std::byte* packed = nullptr;  ///< the weights as Matmul::pack_weights wrote them, or null
};

/// Products of weights as stored, or packed for the kernels, with f32 activations. Stored weights are unpacked on the
/// fly, so the only memory besides the checkpoint's own pages is a scratch of at most some MiB. Packed and stored
/// weights give the same bits.
///
/// Quantised weights multiply x rounded to int8 per 32 values, in one plane or two; bf16 weights multiply x rounded to
/// bf16 unless the input keeps f32; f16 and f32 weights multiply x in f32. A column's result does not depend on the
/// other columns, nor on the number of threads; avx2, avx512 and amx give the same bits.
/// Threading: one thread at a time; the pool's threads share the work.
class Matmul {
 public:
  /// `isa` can run here and is not kReference; the reference has its own plain loops.
  explicit Matmul(Isa isa);
  /// For tests: runs `bf16` for bf16 weights and `wide` for inputs of many columns instead of the CPU's best kernels.
  /// Null `bf16`: bf16 weights multiply x in f32. Null `wide`: many columns run on the ISA's own kernels.
  Matmul(Isa isa, const Bf16Kernels* bf16, const WideKernels* wide);

  /// All tasks read the same x; n_cols is a multiple of each dtype's block.
  void run(const MatmulInput& x, std::span<const MatmulTask> tasks, ThreadPool& pool);

  /// Whether there is a kernel for weights of this type.
  static bool supports(DType dtype);

  /// Bytes of a quantised matrix in the packed layout of these kernels, its rows filled up to a multiple of 16; 0: the
  /// kernels have no packed layout for it.
  std::size_t packed_bytes(DType dtype, std::int64_t n_rows, std::int64_t n_cols) const;
  /// Writes packed_bytes() bytes to `out`. `weight` as in MatmulTask.
  void pack_weights(DType dtype, const std::byte* weight, std::int64_t n_rows, int n_cols, std::byte* out,
                    ThreadPool& pool) const;

  /// Bytes of a matrix's screen (screen.h); 0: matrices of this dtype have no screen, or these kernels read none.
  std::size_t screen_bytes(DType dtype, std::int64_t n_rows, std::int64_t n_cols) const;
  /// Writes screen_bytes() bytes to `out`. False: the weights allow no screen (see screen_row).
  bool pack_screen(DType dtype, const std::byte* weight, std::int64_t n_rows, int n_cols, std::byte* out,
                   ThreadPool& pool) const;
  /// Upper bounds of products instead of products: `task.packed` is the screen of a task.dtype matrix. One plane, at
  /// most kMaxScreenColumns columns.
  void bounds(const MatmulInput& x, const MatmulTask& task, ThreadPool& pool);
  static constexpr int kMaxScreenColumns = 4;

  /// The kernels that run: those of the ISA asked for.
  const MatmulKernels& kernels() const { return *kernels_; }
  /// The kernels that run for quantised weights and inputs of many columns, or null.
  const WideKernels* wide_kernels() const { return wide_; }

 private:
  /// How x is packed for quantised weights, and what then multiplies them.
  struct Form {
    int width;  ///< packed columns side by side
    void (*pack)(const float* x, std::ptrdiff_t x_stride, int n_cols, int n_columns, int n_planes, std::byte* out);
    void (*multiply)(const MatmulPart& part);
  };
  /// Without `pack`, columns lie one by one as pack_few writes them.
  Form form_of(int n_packed, int n_planes, bool reads_packed) const;
  void run_columns(const MatmulInput& x, std::span<const MatmulTask> tasks, ThreadPool& pool);
  /// All tasks share one form of x, hence one answer: whether those with quantised weights, if any, are all packed.
  bool are_packed(std::span<const MatmulTask> tasks) const;
  void pack(const MatmulInput& x, const Form& form, ThreadPool& pool);
  void pack_bf16(const MatmulInput& x, ThreadPool& pool);
  void reserve(std::size_t packed_bytes, std::size_t tile_bytes, int n_threads);

  struct Free {
    void operator()(std::byte* p) const;
  };

  const MatmulKernels* kernels_;
  const Bf16Kernels* bf16_;                     // null: this ISA has none
  const WideKernels* wide_;                     // null: this ISA has none
  std::vector<std::uint16_t> bf16_input_;       // x for bf16 weights, rounded
  std::unique_ptr<std::byte[], Free> scratch_;  // packed columns, then one tile per thread
  std::size_t scratch_bytes_ = 0;
  std::byte* tiles_ = nullptr;
  std::size_t tile_stride_ = 0;
};

}  // namespace commissure::cpu
