#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/device/args.h"

namespace commissure::cuda {

/// A matrix on the card: quantised ones packed for the tensor cores, float ones as rows filled up to 32 values.
class CudaMatrix final : public Matrix {
 public:
  CudaMatrix(DType dtype, std::int64_t n_rows, std::int64_t n_cols, DeviceBuffer memory)
      : dtype_(dtype), n_rows_(n_rows), n_cols_(n_cols), memory_(std::move(memory)) {}
  std::int64_t n_rows() const override { return n_rows_; }
  std::int64_t n_cols() const override { return n_cols_; }
  DType dtype() const override { return dtype_; }
  DevicePtr data() const { return memory_.ptr(); }

 private:
  DType dtype_;
  std::int64_t n_rows_, n_cols_;
  DeviceBuffer memory_;
};

/// What attention launches: tiles of queries and the spans they fold.
struct AttendPlan {
  std::vector<AttendItem> items;
  std::vector<AttendItem> joins;  ///< of tiles whose spans several items share
  int n_partials = 0;
};

/// Cuts a step's attention into items: one a tile of 16 queries, or one a span and tile where there are fewer tiles
/// than `n_wanted` and the sequence has several spans, as long as they leave at most `max_partials` results to join.
/// The cut changes no bit.
///   tables  where each sequence's block table begins
AttendPlan plan_attention(const StepShape& shape, std::span<const std::int32_t> tables, int heads_per_kv, int window,
                          int n_wanted, int max_partials);

/// Memory of a backend that goes back to its spare buffers, which outlive it: what is queued next may write to it, as
/// the card does one thing after the other.
class Borrowed {
 public:
  Borrowed() = default;
  Borrowed(std::vector<DeviceBuffer>& spare, DeviceBuffer memory) : spare_(&spare), memory_(std::move(memory)) {}
  Borrowed(Borrowed&& other) noexcept { *this = std::move(other); }
  Borrowed& operator=(Borrowed&& other) noexcept {
    std::swap(spare_, other.spare_);
    std::swap(memory_, other.memory_);
    return *this;
  }
  ~Borrowed() {
    if (spare_ != nullptr) spare_->push_back(std::move(memory_));
  }
  DevicePtr ptr() const { return memory_.ptr(); }

 private:
  std::vector<DeviceBuffer>* spare_ = nullptr;
  DeviceBuffer memory_;
};

/// A step's integers on the card.
class CudaStepIndex final : public StepIndex {
 public:
  explicit CudaStepIndex(StepShape shape) : shape_(std::move(shape)) {}

  StepShape shape_;
  std::vector<std::int32_t> sequence_tables;
  Borrowed memory;  ///< tokens, positions, tables (one each a row), then all blocks
  DevicePtr tokens, positions, tables, blocks;

  /// Attention's items on the card: layers of one shape share them.
  struct Items {
    AttendPlan plan;
    Borrowed memory;
    DevicePtr items, joins;
  };
  mutable std::map<std::tuple<int, int, int, int>, Items> items;  ///< by layout of heads and window
};

/// The operations on one card. Every operation is queued; fetch() waits. A row's bits depend on that row alone: kernels
/// keep the order of decision 1 whatever the width. The first error of the card stays: every later fetch() returns it.
/// A lack of memory is one step's: the fetch() that ends it returns it.
/// Threading: one thread at a time.
class CudaBackend final : public Backend {
 public:
  CudaBackend(std::unique_ptr<Device> device, std::string isa) : device_(std::move(device)), isa_(std::move(isa)) {}

  BackendInfo info() const override { return {"cuda", isa_, 1}; }
  /// An error after which every step fails: the card is lost. Threading: any thread.
  Status health() const { return device_->lasting_failure(); }
  /// What can be allocated on the card now. Errors: kInternal, the driver's own.
  Result<std::size_t> free_bytes() const { return device_->free_bytes(); }

  Result<DeviceBuffer> allocate(std::size_t n_bytes) override;
  void release(DevicePtr ptr, std::size_t n_bytes) override;
  void upload(DevicePtr to, std::span<const std::byte> from) override;
  Result<std::unique_ptr<Matrix>> load_matrix(const MatrixSource& source) override;
  using Backend::load_vector;
  Result<DeviceBuffer> load_vector(const MatrixSource& source, float add, float scale) override;
  Status check_heads(const HeadLayout& heads) const override;
  Status check_delta(const DeltaShape& shape) const override;
  std::size_t kv_block_bytes(const HeadLayout& heads, KvType type) const override;
  std::unique_ptr<StepIndex> make_step_index(const StepShape& shape) override;

  void embed(const Matrix& table, const StepIndex& index, float scale, Rows out) override;
  void rms_norm(Rows x, DevicePtr weight, float eps, Rows out) override;
  using Backend::matmul;
  void matmul(Rows x, std::span<const MatmulJob> jobs, InputPlanes planes) override;
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
  Result<std::span<const std::byte>> fetch(DevicePtr from, std::size_t n_bytes) override;

 private:
  /// Memory that operations use between two launches; grows, and is kept. Null where there is none: then nothing is
  /// queued until fetch(), which returns the error.
  DevicePtr scratch(DeviceBuffer& which, std::size_t n_bytes);

  /// The form of x that `format` multiplies; quantised formats share one.
  struct Input {
    DevicePtr values, scales, sums;
    int n_planes = 1;
  };
  Input pack_input(Rows x, bool is_bf16, int n_planes);
  /// `second`: where the second plane's products go instead of being added; null: they are added.
  void multiply(Rows x, const Input& input, const MatmulJob& job, DevicePtr second);
  void uncapped_logits(Rows x, const Matrix& weight, std::span<const LogitsUse> uses, float softcap, Rows out);
  void multiply_floats(Rows x, const MatmulJob& job);
  const CudaStepIndex::Items* items_of(const CudaStepIndex& index, const HeadLayout& heads, int window);
  Result<CudaStepIndex::Items> make_items(const CudaStepIndex& index, const HeadLayout& heads, int window);
  Result<DeviceBuffer> upload_new(std::span<const std::byte> bytes);
  /// As upload_new(), to memory of an earlier step where some is large enough.
  Result<Borrowed> upload_for_step(std::span<const std::byte> bytes);

  std::unique_ptr<Device> device_;
  std::string isa_;
  DeviceBuffer input_, partials_, second_, small_;          // scratch
  std::vector<DeviceBuffer> spare_;                         // of steps that are over
  std::map<std::vector<float>, DeviceBuffer> frequencies_;  // of rotations met so far
  std::vector<std::byte> fetched_;
};

}  // namespace commissure::cuda
