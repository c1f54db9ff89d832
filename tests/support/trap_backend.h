#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/backend.h"

/// A backend whose memory nobody else can touch: every page it hands out is inaccessible except while one of its
/// operations runs, so code that follows a DevicePtr by itself dies at that instruction, as it would on a GPU.
/// fetch() copies to the host. Wraps a CPU backend and computes exactly what that one computes.
/// Threading: as the wrapped backend's.
namespace commissure {

class TrapBackend : public Backend {
 public:
  explicit TrapBackend(std::unique_ptr<Backend> inner) : inner_(std::move(inner)) {}

  BackendInfo info() const override { return inner_->info(); }
  void wake() override { inner_->wake(); }

  Result<DeviceBuffer> allocate(std::size_t n_bytes) override;
  void release(DevicePtr ptr, std::size_t n_bytes) override;
  void upload(DevicePtr to, std::span<const std::byte> from) override;
  Result<std::unique_ptr<Matrix>> load_matrix(const MatrixSource& source) override;
  using Backend::load_vector;
  Result<DeviceBuffer> load_vector(const MatrixSource& source, float add, float scale) override;
  std::size_t kv_block_bytes(const HeadLayout& heads, KvType type) const override;
  std::unique_ptr<StepIndex> make_step_index(const StepShape& shape) override;

  void embed(const Matrix& table, const StepIndex& index, float scale, Rows out) override;
  void rms_norm(Rows x, DevicePtr weight, float eps, Rows out) override;
  using Backend::matmul;
  void matmul(Rows x, std::span<const MatmulJob> jobs, InputPlanes planes) override;
  void logits(Rows x, const Matrix& weight, std::span<const LogitsUse> uses, float softcap, Rows out) override;
  void rope_table(const RopeSpec& rope, const StepIndex& index, Rows out) override;
  void norm_rope(Rows x, int n_heads, DevicePtr norm, float eps, const RopeSpec& rope, Rows table) override;
  void append_kv(Rows keys, Rows values, const StepIndex& index, const KvLayer& layer) override;
  void attend(Rows q, const StepIndex& index, const KvLayer& layer, const AttendOptions& options, Rows out) override;
  void delta_net(const DeltaInputs& in, const DeltaWeights& weights, const StepIndex& index, const StateLayer& states,
                 Rows mixed, Rows out) override;
  void gated(Activation activation, Rows gate, Rows up, Rows out) override;
  void add(Rows x, Rows y, DevicePtr norm, float eps, bool round) override;
  void clear(Rows x) override;
  void scatter_add(Rows x, std::span<const std::int32_t> rows, std::span<const float> weights, Rows y) override;
  void scale(Rows x, DevicePtr factor) override;
  void gather(Rows x, std::span<const std::int32_t> rows, Rows out) override;
  void unpack_bf16(DevicePtr from, Rows out) override;
  void pack_bf16(Rows x, DevicePtr to) override;
  Result<std::span<const std::byte>> fetch(DevicePtr from, std::size_t n_bytes) override;

 private:
  /// While one lives, the memory is open.
  class Opened;
  void protect(int protection);

  std::unique_ptr<Backend> inner_;
  std::map<std::uintptr_t, std::size_t> regions_;  // address -> bytes
  std::vector<std::byte> fetched_;
};

}  // namespace commissure
