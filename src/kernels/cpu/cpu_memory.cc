#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "core/check.h"
#include "core/index.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/rows/rows.h"
#include "kernels/quant.h"

/// The memory half of CpuBackend: buffers and weights.
namespace commissure::cpu {

namespace {

/// Checks that a tensor [n_rows, n_cols] of the dtype can be.
Status check_shape(const MatrixSource& source) {
  const BlockSize block = block_size(source.dtype);
  if (!Matmul::supports(source.dtype)) {
    return Error(Code::kUnimplemented, source.name, ": no kernel for ", dtype_name(source.dtype), " weights");
  }
  // A kernel counts rows and columns in int.
  constexpr std::int64_t kMaxSide = std::int64_t{1} << 30;
  if (source.n_rows <= 0 || source.n_cols <= 0 || source.n_rows > kMaxSide || source.n_cols > kMaxSide) {
    return Error(Code::kInvalidArgument, source.name, ": impossible shape [", source.n_rows, ", ", source.n_cols, "]");
  }
  if (source.n_cols % block.n_elements != 0) {
    return Error(Code::kInvalidArgument, source.name, ": rows of ", source.n_cols, " values cannot be ",
                 dtype_name(source.dtype), ", whose blocks hold ", block.n_elements);
  }
  return {};
}

/// Checks that the bytes are such a tensor; returns how many values that is.
Result<std::size_t> n_values(const MatrixSource& source) {
  TRY(check_shape(source));
  // At most 2^30 * 2^32: no overflow.
  const std::size_t n_bytes = source.n_rows * row_bytes(source.dtype, source.n_cols);
  if (n_bytes != source.data.bytes.size()) {
    return Error(Code::kInvalidArgument, source.name, ": ", source.data.bytes.size(), " bytes for ", source.n_rows,
                 " x ", source.n_cols, " ", dtype_name(source.dtype), " values, expected ", n_bytes);
  }
  return n_elements(source.n_rows, source.n_cols);
}

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
  is_packed_alone ? TRY(check_shape(source)) : (void)TRY(n_values(source));
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
  if (!matmul_ || !is_quantised(source.dtype) || !check_shape(source)) return 0;
  return matmul_->packed_bytes(source.dtype, source.n_rows, source.n_cols);
}

void CpuBackend::pack_matrix(const MatrixSource& source, std::span<std::byte> out) {
  CHECK(packed_bytes(source) == out.size() && !out.empty());
  matmul_->pack_weights(source.dtype, source.data.bytes.data(), source.n_rows, static_cast<int>(source.n_cols),
                        out.data(), pool_);
}

std::size_t CpuBackend::screen_bytes(const MatrixSource& source) const {
  if (!matmul_ || !n_values(source)) return 0;
  return matmul_->screen_bytes(source.dtype, source.n_rows, source.n_cols);
}

bool CpuBackend::pack_screen(const MatrixSource& source, std::span<std::byte> out) {
  CHECK(screen_bytes(source) == out.size() && !out.empty());
  return matmul_->pack_screen(source.dtype, aligned(source).data.bytes.data(), source.n_rows,
                              static_cast<int>(source.n_cols), out.data(), pool_);
}

Result<DeviceBuffer> CpuBackend::load_vector(const MatrixSource& source, float add, float scale) {
  const std::size_t n = TRY(n_values(source));
  if (is_quantised(source.dtype)) {
    return Error(Code::kUnimplemented, source.name, ": a ", dtype_name(source.dtype),
                 " vector; expected F32, F16 or BF16");
  }
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
