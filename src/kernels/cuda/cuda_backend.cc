#include "kernels/cuda/cuda_backend.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/check.h"
#include "core/dtype.h"
#include "core/index.h"
#include "kernels/card_bytes.h"
#include "kernels/check_source.h"
#include "kernels/cuda/names.h"
#include "kernels/quant.h"

/// Memory, weights and a step's integers; operations.cc has the operations.
namespace commissure::cuda {

Result<DeviceBuffer> CudaBackend::allocate(std::size_t n_bytes) {
  if (n_bytes == 0) return DeviceBuffer();
  const DriverPtr at = TRY(device_->allocate(n_bytes));
  return DeviceBuffer(*this, {static_cast<std::uintptr_t>(at)}, n_bytes);
}

void CudaBackend::release(DevicePtr ptr, std::size_t) { device_->release(ptr.value); }

void CudaBackend::upload(DevicePtr to, std::span<const std::byte> from) {
  device_->copy_in(to.value, from.data(), from.size());
}

Result<DeviceBuffer> CudaBackend::upload_new(std::span<const std::byte> bytes) {
  DeviceBuffer buffer = TRY(allocate(bytes.size()));
  upload(buffer.ptr(), bytes);
  return buffer;
}

Result<Borrowed> CudaBackend::upload_for_step(std::span<const std::byte> bytes) {
  constexpr std::size_t kLeastBytes = 4096;
  const std::size_t n_bytes = std::max(kLeastBytes, std::bit_ceil(bytes.size()));
  const auto enough = [&](const DeviceBuffer& buffer) { return buffer.n_bytes() >= n_bytes; };
  auto found = std::ranges::find_if(spare_, enough);
  if (found == spare_.end()) {
    if (!spare_.empty()) spare_.pop_back();  // too small for what steps have become
    spare_.push_back(TRY(allocate(n_bytes)));
    found = std::prev(spare_.end());
  }
  DeviceBuffer memory = std::move(*found);
  spare_.erase(found);
  upload(memory.ptr(), bytes);
  return Borrowed(spare_, std::move(memory));
}

DevicePtr CudaBackend::scratch(DeviceBuffer& which, std::size_t n_bytes) {
  if (n_bytes <= which.n_bytes()) return which.ptr();
  which = {};
  auto made = allocate(card_scratch(n_bytes));
  if (!made) {
    device_->give_up(made.error());
    return {};
  }
  which = std::move(*made);
  return which.ptr();
}

namespace {

/// The rows with zeros behind them, `n_bytes` together.
std::vector<std::byte> wider_rows(const MatrixSource& source, std::size_t n_bytes) {
  const std::size_t n_rows = to_size(source.n_rows);
  const std::size_t width = source.data.bytes.size() / n_rows, stride = n_bytes / n_rows;
  std::vector<std::byte> wide(n_bytes);
  for (std::size_t row = 0; row < n_rows; ++row) {
    std::memcpy(wide.data() + row * stride, source.data.bytes.data() + row * width, width);
  }
  return wide;
}

}  // namespace

Result<std::unique_ptr<Matrix>> CudaBackend::load_matrix(const MatrixSource& source) {
  TRY(check_stored(source, find_names(source.dtype) != nullptr));
  const int n_rows = static_cast<int>(source.n_rows), n_cols = static_cast<int>(source.n_cols);
  const CardMatrix sizes = card_matrix(source.dtype, n_rows, n_cols);
  DeviceBuffer memory = TRY(allocate(sizes.n_bytes));
  DeviceBuffer stored;
  if (is_quantised(source.dtype)) {
    stored = TRY(allocate(sizes.stored_bytes));
    upload(stored.ptr(), source.data.bytes);
    device_->launch(KernelName{"repack_", names_of(source.dtype).suffix}.view(), {ceil_of(n_rows, kTileRows)}, 128,
                    RepackArgs{at<const std::uint8_t>(stored.ptr()), at<std::uint8_t>(memory.ptr()), n_rows, n_cols});
  } else if (sizes.n_bytes == source.data.bytes.size()) {
    upload(memory.ptr(), source.data.bytes);
  } else {
    upload(memory.ptr(), wider_rows(source, sizes.n_bytes));
  }
  TRY(device_->wait());
  return std::make_unique<CudaMatrix>(source.dtype, n_rows, n_cols, std::move(memory));
}

Result<DeviceBuffer> CudaBackend::load_vector(const MatrixSource& source, float add, float scale) {
  TRY(check_stored(source, find_names(source.dtype) != nullptr));
  if (is_quantised(source.dtype)) {
    return Error(Code::kUnimplemented, source.name, ": a ", dtype_name(source.dtype),
                 " vector; expected F32, F16 or BF16");
  }
  std::vector<float> values(n_elements(source.n_rows, source.n_cols));
  dequantise(source.dtype, source.data.bytes.data(), values);
  for (float& value : values) value = (value + add) * scale;
  DeviceBuffer vector = TRY(upload_new(std::as_bytes(std::span(values))));
  TRY(device_->wait());
  return vector;
}

Status CudaBackend::check_heads(const HeadLayout& heads) const {
  if (heads.head_dim <= kMaxHeadDim) return {};
  return Error(Code::kUnimplemented, "GPU: heads of ", heads.head_dim,
               " are wider than its attention takes: ", kMaxHeadDim);
}

Status CudaBackend::check_delta(const DeltaShape& shape) const {
  if (shape.n_value_heads == 0) return {};
  return Error(Code::kUnimplemented, "GPU: there are no kernels for gated delta nets yet; --device cpu computes them");
}

std::size_t CudaBackend::kv_block_bytes(const HeadLayout& heads, KvType type) const {
  return kPositions * kv_position_bytes(type, heads.n_kv_heads, heads.head_dim);
}

std::unique_ptr<StepIndex> CudaBackend::make_step_index(const StepShape& shape) {
  auto index = std::make_unique<CudaStepIndex>(shape);
  const std::size_t n_rows = shape.tokens.size();
  std::vector<std::int32_t> integers(shape.tokens);
  std::vector<std::int32_t> tables, blocks;
  for (const SequenceSpan& span : shape.sequences) {
    CHECK(span.seen_end() >= span.first_position + span.n_rows);
    CHECK(std::cmp_less_equal(span.seen_end(), span.blocks.size() * kPositions));
    index->sequence_tables.push_back(count_of(blocks));
    for (int row = 0; row < span.n_rows; ++row) {
      integers.push_back(span.first_position + row);
      tables.push_back(count_of(blocks));
    }
    blocks.insert(blocks.end(), span.blocks.begin(), span.blocks.end());
  }
  CHECK(integers.size() == 2 * n_rows);
  integers.insert(integers.end(), tables.begin(), tables.end());
  integers.insert(integers.end(), blocks.begin(), blocks.end());
  auto memory = upload_for_step(std::as_bytes(std::span(integers)));
  if (!memory) {
    device_->give_up(memory.error());
    return index;
  }
  index->memory = std::move(*memory);
  index->tokens = index->memory.ptr();
  index->positions = index->tokens.offset(n_rows * sizeof(std::int32_t));
  index->tables = index->positions.offset(n_rows * sizeof(std::int32_t));
  index->blocks = index->tables.offset(n_rows * sizeof(std::int32_t));
  return index;
}

Result<CudaStepIndex::Items> CudaBackend::make_items(const CudaStepIndex& index, const HeadLayout& heads, int window) {
  CudaStepIndex::Items made;
  // Two blocks of threads for each multiprocessor hide each other's waiting.
  const int n_wanted = std::max(1, 2 * device_->n_multiprocessors() / heads.n_kv_heads);
  const auto max_partials = static_cast<int>(kMaxPartialBytes / partial_bytes(heads));
  made.plan = plan_attention(index.shape_, index.sequence_tables, heads.n_heads / heads.n_kv_heads, window, n_wanted,
                             max_partials);
  std::vector<AttendItem> all(made.plan.items);
  all.insert(all.end(), made.plan.joins.begin(), made.plan.joins.end());
  made.memory = TRY(upload_for_step(std::as_bytes(std::span(all))));
  made.items = made.memory.ptr();
  made.joins = made.items.offset(made.plan.items.size() * sizeof(AttendItem));
  return made;
}

const CudaStepIndex::Items* CudaBackend::items_of(const CudaStepIndex& index, const HeadLayout& heads, int window) {
  const auto key = std::tuple(heads.n_heads, heads.n_kv_heads, heads.head_dim, window);
  if (const auto found = index.items.find(key); found != index.items.end()) return &found->second;
  auto made = make_items(index, heads, window);
  if (made) return &index.items.emplace(key, std::move(*made)).first->second;
  device_->give_up(made.error());
  return nullptr;
}

Result<std::span<const std::byte>> CudaBackend::fetch(DevicePtr from, std::size_t n_bytes) {
  fetched_.resize(n_bytes);
  device_->copy_out(fetched_.data(), from.value, n_bytes);
  TRY(device_->wait());
  return std::span<const std::byte>(fetched_);
}

}  // namespace commissure::cuda
