#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/thread_pool.h"
#include "kernels/backend.h"
#include "kernels/cpu/attention/attention.h"
#include "kernels/cpu/attention/attention_plan.h"
#include "kernels/cpu/delta/delta_net.h"
#include "kernels/cpu/head/head_search.h"
#include "kernels/cpu/isa/cpu_features.h"
#include "kernels/cpu/matmul/low_rank.h"
#include "kernels/cpu/matmul/matmul.h"
#include "kernels/cpu/rows/pointwise.h"

namespace commissure::cpu {

/// The row kernels of one instruction set; Matmul finds its own.
struct KernelSet {
  Isa isa = Isa::kReference;
  const PointwiseKernels* pointwise = nullptr;
  const AttentionKernels* attention = nullptr;
  const DeltaKernels* delta = nullptr;
  const LowRankKernels* low_rank = nullptr;
};

/// A matrix in the checkpoint's own bytes, which `source` keeps alive.
class CpuMatrix final : public Matrix {
 public:
  explicit CpuMatrix(MatrixSource source) : source_(std::move(source)) {}
  std::int64_t n_rows() const override { return source_.n_rows; }
  std::int64_t n_cols() const override { return source_.n_cols; }
  DType dtype() const override { return source_.dtype; }
  const MatrixSource& source() const { return source_; }

 private:
  MatrixSource source_;
};

struct StateStretch;

/// A step's integers, with every row's place spelled out.
class CpuStepIndex final : public StepIndex {
 public:
  struct Place {
    int sequence;  ///< index in shape().sequences
    int position;
  };

  explicit CpuStepIndex(StepShape shape);
  const StepShape& shape() const { return shape_; }
  std::span<const Place> places() const { return places_; }

 private:
  StepShape shape_;
  std::vector<Place> places_;  // one per row
};

/// Runs every operation at once, on the calling thread and the pool; device memory is the process's own.
/// Threading: one thread at a time (the executor's).
class CpuBackend final : public Backend {
 public:
  CpuBackend(KernelSet kernels, int n_threads, bool pin);

  BackendInfo info() const override;
  void wake() override { pool_.wake(); }

  Result<DeviceBuffer> allocate(std::size_t n_bytes) override;
  void release(DevicePtr ptr, std::size_t n_bytes) override;
  void upload(DevicePtr to, std::span<const std::byte> from) override;
  Result<std::unique_ptr<Matrix>> load_matrix(const MatrixSource& source) override;
  std::string packed_layout() const override;
  std::size_t packed_bytes(const MatrixSource& source) const override;
  void pack_matrix(const MatrixSource& source, std::span<std::byte> out) override;
  std::size_t screen_bytes(const MatrixSource& source) const override;
  bool pack_screen(const MatrixSource& source, std::span<std::byte> out) override;
  using Backend::load_vector;
  Result<DeviceBuffer> load_vector(const MatrixSource& source, float add, float scale) override;
  Result<std::unique_ptr<LowRank>> load_low_rank(const LowRankSource& source) override;
  std::size_t kv_block_bytes(const HeadLayout& heads, KvType type) const override;
  std::unique_ptr<StepIndex> make_step_index(const StepShape& shape) override;

  void embed(const Matrix& table, const StepIndex& index, float scale, Rows out) override;
  void rms_norm(Rows x, DevicePtr weight, float eps, Rows out) override;
  bool has_layer_norm() const override { return true; }
  void layer_norm(Rows x, DevicePtr weight, DevicePtr bias, float eps, Rows out) override;
  using Backend::matmul;
  void matmul(Rows x, std::span<const MatmulJob> jobs, InputPlanes planes) override;
  void add_low_rank(Rows x, std::span<const LowRankJob> jobs) override;
  using Backend::logits;
  void logits(Rows x, const Matrix& weight, std::span<const LogitsUse> uses, float softcap, Rows out) override;
  void rope_table(const RopeSpec& rope, const StepIndex& index, Rows out) override;
  void norm_rope(Rows x, int n_heads, DevicePtr norm, float eps, const RopeSpec& rope, Rows table) override;
  void append_kv(Rows keys, Rows values, const StepIndex& index, const KvLayer& layer) override;
  void attend(Rows q, const StepIndex& index, const KvLayer& layer, const AttendOptions& options, Rows out) override;
  void delta_net(const DeltaInputs& in, const DeltaWeights& weights, const StepIndex& index, const StateLayer& states,
                 Rows mixed, Rows out) override;
  void gated(Activation activation, Rows gate, Rows up, Rows out) override;
  void add(Rows x, Rows y, DevicePtr norm, float eps, bool round) override;
  void scale(Rows x, DevicePtr factor) override;
  void gather(Rows x, std::span<const std::int32_t> rows, Rows out) override;
  void clear(Rows x) override;
  void scatter_add(Rows x, std::span<const std::int32_t> rows, std::span<const float> weights, Rows y) override;
  void unpack_bf16(DevicePtr from, Rows out) override;
  void pack_bf16(Rows x, DevicePtr to) override;
  void for_each(int n, const std::function<void(int i, int part)>& f) override;
  Result<std::span<const std::byte>> fetch(DevicePtr from, std::size_t n_bytes) override;
  Result<std::span<const std::byte>> peek(DevicePtr from, std::size_t n_bytes) override;

 private:
  /// Calls f(row) for every row: on the caller when all rows together are less work than waking the pool is worth.
  template <typename F>
  void for_rows(int n_rows, int values_per_row, F&& f);

  KernelSet kernels_;
  ThreadPool pool_;
  std::optional<Matmul> matmul_;  // absent: the reference's plain loops

  void mix_rows(const DeltaInputs& in, const DeltaWeights& weights, const CpuStepIndex& places, const DeltaShape& shape,
                std::span<const StateStretch> stretches, Rows mixed);
  void keep_channels(const DeltaInputs& in, const DeltaShape& shape, std::span<const StateStretch> stretches);

  /// Adds biases to finished products and scales them, in the jobs that ask for it.
  void finish_jobs(std::span<const MatmulJob> jobs);

  /// The logits before the soft cap, of which those that the cap leaves near the largest are refined.
  void uncapped_logits(Rows x, const Matrix& weight, std::span<const LogitsUse> uses, float softcap, Rows out);

  /// Adds to values[output] the share of `row`'s rounding error.
  void refine(const Matrix& weight, int output, int row, float* values);

  /// The rows of one logits() call.
  struct Refinement {
    ColumnPlanes planes;
    std::vector<float> maxima;  // [n_rows, n_threads]
  };
  Refinement refine_;  // reused by every logits()
  HeadSearch head_search_;
  std::vector<MatmulTask> tasks_;  // reused by every matmul()
  AttentionPlan attention_plan_;   // reused by every attend()
  std::vector<float> hidden_;      // between the two matrices of add_low_rank()
};

}  // namespace commissure::cpu
