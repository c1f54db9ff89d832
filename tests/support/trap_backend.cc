#include "support/trap_backend.h"

#include <sys/mman.h>

#include <cstring>

#include "core/check.h"

namespace commissure {

namespace {

void* memory_at(DevicePtr ptr) { return reinterpret_cast<void*>(ptr.value); }

}  // namespace

class TrapBackend::Opened {
 public:
  explicit Opened(TrapBackend& backend) : backend_(backend) { backend_.protect(PROT_READ | PROT_WRITE); }
  ~Opened() { backend_.protect(PROT_NONE); }
  Opened(const Opened&) = delete;
  Opened& operator=(const Opened&) = delete;

 private:
  TrapBackend& backend_;
};

void TrapBackend::protect(int protection) {
  for (const auto& [address, n_bytes] : regions_) {
    CHECK(mprotect(memory_at({address}), n_bytes, protection) == 0);
  }
}

Result<DeviceBuffer> TrapBackend::allocate(std::size_t n_bytes) {
  if (n_bytes == 0) return DeviceBuffer();
  void* memory = mmap(nullptr, n_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return Error(Code::kResourceExhausted, "no memory for a buffer of ", n_bytes, " bytes");
  const auto address = reinterpret_cast<std::uintptr_t>(memory);
  regions_[address] = n_bytes;
  return DeviceBuffer(*this, {address}, n_bytes);
}

void TrapBackend::release(DevicePtr ptr, std::size_t n_bytes) {
  CHECK(regions_.erase(ptr.value) == 1);
  munmap(memory_at(ptr), n_bytes);
}

void TrapBackend::upload(DevicePtr to, std::span<const std::byte> from) {
  const Opened opened(*this);
  inner_->upload(to, from);
}

Result<std::unique_ptr<Matrix>> TrapBackend::load_matrix(const MatrixSource& source) {
  return inner_->load_matrix(source);
}

Result<DeviceBuffer> TrapBackend::load_vector(const MatrixSource& source, float add, float scale) {
  const DeviceBuffer open = TRY(inner_->load_vector(source, add, scale));
  DeviceBuffer closed = TRY(allocate(open.n_bytes()));
  upload(closed.ptr(), TRY(inner_->fetch(open.ptr(), open.n_bytes())));
  return closed;
}

std::size_t TrapBackend::kv_block_bytes(const HeadLayout& heads, KvType type) const {
  return inner_->kv_block_bytes(heads, type);
}

std::unique_ptr<StepIndex> TrapBackend::make_step_index(const StepShape& shape) {
  return inner_->make_step_index(shape);
}

void TrapBackend::embed(const Matrix& table, const StepIndex& index, float scale, Rows out) {
  const Opened opened(*this);
  inner_->embed(table, index, scale, out);
}

void TrapBackend::rms_norm(Rows x, DevicePtr weight, float eps, Rows out) {
  const Opened opened(*this);
  inner_->rms_norm(x, weight, eps, out);
}

void TrapBackend::matmul(Rows x, std::span<const MatmulJob> jobs, InputPlanes planes) {
  const Opened opened(*this);
  inner_->matmul(x, jobs, planes);
}

void TrapBackend::logits(Rows x, const Matrix& weight, std::span<const LogitsUse> uses, float softcap, Rows out) {
  const Opened opened(*this);
  inner_->logits(x, weight, uses, softcap, out);
}

void TrapBackend::rope_table(const RopeSpec& rope, const StepIndex& index, Rows out) {
  const Opened opened(*this);
  inner_->rope_table(rope, index, out);
}

void TrapBackend::norm_rope(Rows x, int n_heads, DevicePtr norm, float eps, const RopeSpec& rope, Rows table) {
  const Opened opened(*this);
  inner_->norm_rope(x, n_heads, norm, eps, rope, table);
}

void TrapBackend::append_kv(Rows keys, Rows values, const StepIndex& index, const KvLayer& layer) {
  const Opened opened(*this);
  inner_->append_kv(keys, values, index, layer);
}

void TrapBackend::attend(Rows q, const StepIndex& index, const KvLayer& layer, const AttendOptions& options, Rows out) {
  const Opened opened(*this);
  inner_->attend(q, index, layer, options, out);
}

void TrapBackend::delta_net(const DeltaInputs& in, const DeltaWeights& weights, const StepIndex& index,
                            const StateLayer& states, Rows mixed, Rows out) {
  const Opened opened(*this);
  inner_->delta_net(in, weights, index, states, mixed, out);
}

void TrapBackend::gated(Activation activation, Rows gate, Rows up, Rows out) {
  const Opened opened(*this);
  inner_->gated(activation, gate, up, out);
}

void TrapBackend::add(Rows x, Rows y, DevicePtr norm, float eps, bool round) {
  const Opened opened(*this);
  inner_->add(x, y, norm, eps, round);
}

void TrapBackend::clear(Rows x) {
  const Opened opened(*this);
  inner_->clear(x);
}

void TrapBackend::scatter_add(Rows x, std::span<const std::int32_t> rows, std::span<const float> weights, Rows y) {
  const Opened opened(*this);
  inner_->scatter_add(x, rows, weights, y);
}

void TrapBackend::scale(Rows x, DevicePtr factor) {
  const Opened opened(*this);
  inner_->scale(x, factor);
}

void TrapBackend::gather(Rows x, std::span<const std::int32_t> rows, Rows out) {
  const Opened opened(*this);
  inner_->gather(x, rows, out);
}

void TrapBackend::unpack_bf16(DevicePtr from, Rows out) {
  const Opened opened(*this);
  inner_->unpack_bf16(from, out);
}

void TrapBackend::pack_bf16(Rows x, DevicePtr to) {
  const Opened opened(*this);
  inner_->pack_bf16(x, to);
}

Result<std::span<const std::byte>> TrapBackend::fetch(DevicePtr from, std::size_t n_bytes) {
  const Opened opened(*this);
  const std::span<const std::byte> bytes = TRY(inner_->fetch(from, n_bytes));
  fetched_.assign(bytes.begin(), bytes.end());
  return std::span<const std::byte>(fetched_);
}

}  // namespace commissure
