#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "core/check.h"
#include "core/index.h"
#include "kernels/check_source.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/rows/rows.h"
#include "kernels/quant.h"

/// The memory half of CpuBackend: buffers and weights.
namespace commissure::cpu {

namespace {

bool has_kernels(const MatrixSource& source) { return Matmul::supports(source.dtype); }

/// The source with its values on their natural boundary: kernels read F32, F16 and BF16 as such. Files nearly always
/// align them already; one that does not costs a copy.
MatrixSource aligned(const MatrixSource& source) {
  const auto bytes = source.data.bytes;
  const auto alignment = static_cast<std::uintptr_t>(block_size(source.dtype).n_bytes);
  if (is_quantised(source.dtype) || reinterpret_cast<std::uintptr_t>(bytes.data()) % alignment == 0) return source;
  auto copy = std::make_shared<std::vector<std::byte>>(bytes.begin(), bytes.end());
  MatrixSource moved = source;
  moved.data = {*copy, copy};
  return moved;
}

/// A buffer's pages: it lies against their end, and the page behind it is nobody's, so that a kernel that runs over the
/// end (by more than the rounding to kAlignment) dies at that instruction.
///   | unused | the buffer, rounded up to kAlignment | guard page |
struct GuardedPages {
  static constexpr std::size_t kAlignment = 64;  // what Backend::allocate promises

  explicit GuardedPages(std::size_t n_bytes)
      : n_open(round_up(n_bytes, page)), offset(n_open - round_up(n_bytes, kAlignment)), n_mapped(n_open + page) {}

  std::size_t page = to_size(sysconf(_SC_PAGESIZE));
  std::size_t n_open, offset, n_mapped;
};

}  // namespace

Result<DeviceBuffer> CpuBackend::allocate(std::size_t n_bytes) {
  if (n_bytes == 0) return DeviceBuffer();
  // No sum below can overflow, and no machine has more.
  constexpr std::size_t kMaxBytes = std::numeric_limits<std::size_t>::max() / 4;
  const GuardedPages pages(std::min(n_bytes, kMaxBytes));
  void* memory = mmap(nullptr, pages.n_mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    return Error(Code::kResourceExhausted, "no memory for a buffer of ", n_bytes, " bytes");
  }
  auto* begin = static_cast<std::byte*>(memory);
  if (mprotect(begin + pages.n_open, pages.page, PROT_NONE) != 0) {
    munmap(memory, pages.n_mapped);
    return Error(Code::kResourceExhausted, "the system's limit of mappings (vm.max_map_count) is reached");
  }
  return DeviceBuffer(*this, {reinterpret_cast<std::uintptr_t>(begin + pages.offset)}, n_bytes);
}

void CpuBackend::release(DevicePtr ptr, std::size_t n_bytes) {
  const GuardedPages pages(n_bytes);
  munmap(address<std::byte>(ptr) - pages.offset, pages.n_mapped);
}

void CpuBackend::upload(DevicePtr to, std::span<const std::byte> from) {
  if (!from.empty()) std::memcpy(address<void>(to), from.data(), from.size());
}

Result<std::unique_ptr<Matrix>> CpuBackend::load_matrix(const MatrixSource& source) {
  const bool is_packed_alone = source.data.bytes.empty() && !source.packed.bytes.empty();
  TRY((is_packed_alone ? check_shape : check_stored)(source, has_kernels(source)));
  if (const std::size_t n = source.packed.bytes.size(); n != 0 && n != packed_bytes(source)) {
    return Error(Code::kInvalidArgument, source.name, ": ", n, " packed bytes, expected ", packed_bytes(source));
  }
  if (const std::size_t n = source.screen.bytes.size(); n != 0 && n != screen_bytes(source)) {
    return Error(Code::kInvalidArgument, source.name, ": a screen of ", n, " bytes, expected ", screen_bytes(source));
  }
  return std::make_unique<CpuMatrix>(aligned(source));
}

std::string CpuBackend::packed_layout() const {
  return matmul_ && matmul_->packed_bytes(DType::kQ8_0, 16, 32) > 0 ? "r16-2" : "";
}

std::size_t CpuBackend::packed_bytes(const MatrixSource& source) const {
  if (!matmul_ || !is_quantised(source.dtype) || !check_shape(source, has_kernels(source))) return 0;
  return matmul_->packed_bytes(source.dtype, source.n_rows, source.n_cols);
}

void CpuBackend::pack_matrix(const MatrixSource& source, std::span<std::byte> out) {
  CHECK(packed_bytes(source) == out.size() && !out.empty());
  matmul_->pack_weights(source.dtype, source.data.bytes.data(), source.n_rows, static_cast<int>(source.n_cols),
                        out.data(), pool_);
}

std::size_t CpuBackend::screen_bytes(const MatrixSource& source) const {
  if (!matmul_ || !check_stored(source, has_kernels(source))) return 0;
  return matmul_->screen_bytes(source.dtype, source.n_rows, source.n_cols);
}

bool CpuBackend::pack_screen(const MatrixSource& source, std::span<std::byte> out) {
  CHECK(screen_bytes(source) == out.size() && !out.empty());
  return matmul_->pack_screen(source.dtype, aligned(source).data.bytes.data(), source.n_rows,
                              static_cast<int>(source.n_cols), out.data(), pool_);
}

Result<DeviceBuffer> CpuBackend::load_vector(const MatrixSource& source, float add, float scale) {
  TRY(check_stored(source, has_kernels(source)));
  if (is_quantised(source.dtype)) {
    return Error(Code::kUnimplemented, source.name, ": a ", dtype_name(source.dtype),
                 " vector; expected F32, F16 or BF16");
  }
  const std::size_t n = n_elements(source.n_rows, source.n_cols);
  DeviceBuffer buffer = TRY(allocate(n * sizeof(float)));
  const std::span<float> values(address<float>(buffer.ptr()), n);
  dequantise(source.dtype, aligned(source).data.bytes.data(), values);
  for (float& value : values) value = (value + add) * scale;
  return buffer;
}

std::size_t CpuBackend::kv_block_bytes(const HeadLayout& heads, KvType type) const {
  return kBlockPositions * kv_position_bytes(type, heads.n_kv_heads, heads.head_dim);
}

std::unique_ptr<StepIndex> CpuBackend::make_step_index(const StepShape& shape) {
  return std::make_unique<CpuStepIndex>(shape);
}

}  // namespace commissure::cpu
