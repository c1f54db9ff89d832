#include "kernels/cpu/matmul/matmul.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>

#include "core/check.h"
#include "core/index.h"
#include "kernels/cpu/matmul/screen.h"
#include "kernels/cpu/rows/rows.h"

namespace commissure::cpu {
namespace {

/// Weight rows are dealt out in tiles of 16.
constexpr std::int64_t kTileRows = 16;
/// Packed columns of one pass; wider inputs take several passes over the weights.
constexpr std::size_t kMaxPackedBytes = std::size_t{16} << 20;
/// Below this many values one thread packs alone: it takes about as long as calling the pool.
constexpr std::int64_t kSerialPackValues = 4096;

std::size_t groups_of(int n_cols) { return to_size(column_groups(n_cols)); }

const MatmulKernels& kernels_of(Isa isa) {
  switch (isa) {
#if defined(COMMISSURE_X86_KERNELS)
    case Isa::kAvx2: return avx2::kMatmul;
    case Isa::kAvx512:
    case Isa::kAmx: return avx512::kMatmul;
#endif
    default: return generic::kMatmul;
  }
}

const Bf16Kernels* bf16_kernels_of(Isa isa) {
#if defined(COMMISSURE_X86_KERNELS)
  if (isa == Isa::kAvx512 || isa == Isa::kAmx) return has_bf16_products() ? &avx512bf16::kBf16 : &avx512::kBf16;
  if (isa == Isa::kAvx2) return &avx2::kBf16;
#endif
  return nullptr;
}

const WideKernels* wide_kernels_of([[maybe_unused]] Isa isa) {
#if defined(COMMISSURE_X86_KERNELS)
  if (isa == Isa::kAmx) return &amx::kWide;
#endif
  return nullptr;
}

/// The part's share of a matrix, in whole tiles; shares are contiguous so that each thread reads one linear stream.
std::pair<std::int64_t, std::int64_t> share_rows(std::int64_t n_rows, int part, int n_parts) {
  const std::int64_t n_tiles = (n_rows + kTileRows - 1) / kTileRows;
  const auto bound = [&](int i) { return std::min(n_rows, n_tiles * i / n_parts * kTileRows); };
  return {bound(part), bound(part + 1)};
}

}  // namespace

void Matmul::Free::operator()(std::byte* p) const { std::free(p); }

Matmul::Matmul(Isa isa) : Matmul(isa, bf16_kernels_of(isa), wide_kernels_of(isa)) {}

Matmul::Matmul(Isa isa, const Bf16Kernels* bf16, const WideKernels* wide)
    : kernels_(&kernels_of(isa)), bf16_(bf16), wide_(wide) {
  CHECK(isa != Isa::kReference && can_run(isa));
}

bool Matmul::supports(DType dtype) { return dtype != DType::kI32 && dtype != DType::kU8; }

void Matmul::run(const MatmulInput& x, std::span<const MatmulTask> tasks, ThreadPool& pool) {
  const std::size_t column_bytes = groups_of(x.n_cols) * sizeof(ColumnGroup) * x.n_planes + 64;
  const int max_columns = static_cast<int>(std::max<std::size_t>(kMaxPackedBytes / column_bytes, 64));
  MatmulTask shifted[8];
  for (int first = 0; first < x.n_columns; first += max_columns) {
    MatmulInput columns = x;
    columns.x += first * x.stride;
    columns.n_columns = std::min(max_columns, x.n_columns - first);
    for (std::size_t done = 0; done < tasks.size(); done += std::size(shifted)) {
      const std::size_t n = std::min(std::size(shifted), tasks.size() - done);
      for (std::size_t i = 0; i < n; ++i) {
        shifted[i] = tasks[done + i];
        shifted[i].out += first * shifted[i].out_stride;
      }
      run_columns(columns, {shifted, n}, pool);
    }
  }
}

Matmul::Form Matmul::form_of(int n_packed, int n_planes, bool reads_packed) const {
  if (wide_ != nullptr && n_packed >= wide_->min_columns) {
    return {wide_->width, wide_->pack, reads_packed ? wide_->packed : wide_->stored};
  }
  if (reads_packed) return {kernels_->tile_width, kernels_->pack_tile, kernels_->packed};
  if (kernels_->tile_width > 0 && n_packed >= kernels_->min_tile_columns) {
    return {kernels_->tile_width, kernels_->pack_tile, kernels_->tile};
  }
  return {n_planes, nullptr, kernels_->few};
}

void Matmul::run_columns(const MatmulInput& x, std::span<const MatmulTask> tasks, ThreadPool& pool) {
  const int n_packed = x.n_columns * x.n_planes;
  const bool reads_packed = are_packed(tasks);
  const Form form = form_of(n_packed, x.n_planes, reads_packed);
  const bool any_quantised =
      std::any_of(tasks.begin(), tasks.end(), [](const MatmulTask& task) { return is_quantised(task.dtype); });
  if (any_quantised) pack(x, form, pool);
  const auto rounds_x = [&](const MatmulTask& task) {
    return bf16_ != nullptr && task.dtype == DType::kBF16 && !x.keeps_f32;
  };
  if (std::any_of(tasks.begin(), tasks.end(), rounds_x)) pack_bf16(x, pool);

  pool.run([&](int part, int n_parts) {
    for (const MatmulTask& task : tasks) {
      const auto [first, last] = share_rows(task.n_rows, part, n_parts);
      if (first == last) continue;
      const std::size_t stride = row_bytes(task.dtype, x.n_cols);
      MatmulPart share = {.dtype = task.dtype,
                          .weights = task.weight == nullptr ? nullptr : task.weight + first * stride,
                          .row_bytes = stride,
                          .n_rows = last - first,
                          .n_cols = x.n_cols,
                          .n_columns = is_quantised(task.dtype) ? n_packed : x.n_columns,
                          .n_planes = x.n_planes,
                          .x = x.x,
                          .x_stride = x.stride,
                          .packed = scratch_.get(),
                          .out = task.out + first,
                          .out_stride = task.out_stride,
                          .tile = tiles_ + part * tile_stride_};
      if (rounds_x(task)) {
        share.packed = reinterpret_cast<const std::byte*>(bf16_input_.data());
        bf16_->multiply(share);
      } else if (!is_quantised(task.dtype)) {
        kernels_->floats(share);
      } else {
        if (reads_packed) {
          share.packed_weights = task.packed + first / kTileRows * kernels_->packed_tile_bytes(task.dtype, x.n_cols);
        }
        form.multiply(share);
      }
    }
  });
}

bool Matmul::are_packed(std::span<const MatmulTask> tasks) const {
  const auto quantised = [](const MatmulTask& task) { return is_quantised(task.dtype); };
  const auto unpacked = [&](const MatmulTask& task) { return quantised(task) && task.packed == nullptr; };
  const auto packed_alone = [&](const MatmulTask& task) { return quantised(task) && task.weight == nullptr; };
  // Its tasks' neighbours have to be packed then, too: load_weights sees to it.
  CHECK(std::none_of(tasks.begin(), tasks.end(), packed_alone) || std::none_of(tasks.begin(), tasks.end(), unpacked));
  return kernels_->packed != nullptr && std::any_of(tasks.begin(), tasks.end(), quantised) &&
         std::none_of(tasks.begin(), tasks.end(), unpacked);
}

void Matmul::pack(const MatmulInput& x, const Form& form, ThreadPool& pool) {
  const int n_packed = x.n_columns * x.n_planes, width = form.width;
  const bool in_tiles = form.pack != nullptr;
  const std::size_t group_bytes = width * (in_tiles ? n_elements(x.n_cols / kBlock, kTileBytesPerBlock)
                                                    : groups_of(x.n_cols) * sizeof(ColumnGroup));
  const int n_groups = (n_packed + width - 1) / width;
  reserve(group_bytes * n_groups, tile_bytes(x.n_cols), pool.n_threads());

  const auto pack_groups = [&](int first, int last) {
    for (int group = first; group < last; ++group) {
      std::byte* out = scratch_.get() + group * group_bytes;
      const float* from = x.x + static_cast<std::ptrdiff_t>(group) * (width / x.n_planes) * x.stride;
      if (in_tiles) {
        form.pack(from, x.stride, x.n_cols, std::min(width, n_packed - group * width), x.n_planes, out);
      } else {
        kernels_->pack_few(from, x.n_cols, x.n_planes, reinterpret_cast<ColumnGroup*>(out));
      }
    }
  };
  if (std::int64_t{n_packed} * x.n_cols <= kSerialPackValues) return pack_groups(0, n_groups);
  pool.run([&](int part, int n_parts) { pack_groups(n_groups * part / n_parts, n_groups * (part + 1) / n_parts); });
}

void Matmul::pack_bf16(const MatmulInput& x, ThreadPool& pool) {
  const std::size_t stride = round_up(x.n_cols, 32);
  bf16_input_.resize(stride * x.n_columns);
  const auto pack_columns = [&](int first, int last) {
    for (int c = first; c < last; ++c) {
      bf16_->pack(x.x + c * x.stride, x.n_cols, bf16_input_.data() + c * stride);
    }
  };
  if (std::int64_t{x.n_columns} * x.n_cols <= 4 * kSerialPackValues) return pack_columns(0, x.n_columns);
  pool.run(
      [&](int part, int n_parts) { pack_columns(x.n_columns * part / n_parts, x.n_columns * (part + 1) / n_parts); });
}

std::size_t Matmul::packed_bytes(DType dtype, std::int64_t n_rows, std::int64_t n_cols) const {
  if (kernels_->packed == nullptr || !is_quantised(dtype)) return 0;
  return (n_rows + kTileRows - 1) / kTileRows * kernels_->packed_tile_bytes(dtype, static_cast<int>(n_cols));
}

void Matmul::pack_weights(DType dtype, const std::byte* weight, std::int64_t n_rows, int n_cols, std::byte* out,
                          ThreadPool& pool) const {
  CHECK(packed_bytes(dtype, n_rows, n_cols) > 0);
  const std::size_t stride = row_bytes(dtype, n_cols), tile_stride = kernels_->packed_tile_bytes(dtype, n_cols);
  pool.run([&](int part, int n_parts) {
    const auto [first, last] = share_rows(n_rows, part, n_parts);
    kernels_->pack_weights({.dtype = dtype,
                            .weights = weight + first * stride,
                            .row_bytes = stride,
                            .n_rows = last - first,
                            .n_cols = n_cols},
                           out + first / kTileRows * tile_stride);
  });
}

std::size_t Matmul::screen_bytes(DType dtype, std::int64_t n_rows, std::int64_t n_cols) const {
  return has_screen(dtype) && n_cols % kBlock == 0 ? packed_bytes(DType::kQ5_0, n_rows, n_cols) : 0;
}

bool Matmul::pack_screen(DType dtype, const std::byte* weight, std::int64_t n_rows, int n_cols, std::byte* out,
                         ThreadPool& pool) const {
  CHECK(screen_bytes(dtype, n_rows, n_cols) > 0);
  const std::size_t stride = row_bytes(dtype, n_cols), screened_stride = row_bytes(DType::kQ5_0, n_cols);
  const std::size_t tile_stride = kernels_->packed_tile_bytes(DType::kQ5_0, n_cols);
  std::atomic<bool> is_sound = true;
  pool.run([&](int part, int n_parts) {
    const auto [first, last] = share_rows(n_rows, part, n_parts);
    const int n_blocks = n_cols / kBlock;
    std::vector<BlockQ5_0> rows(kTileRows * n_blocks);
    for (std::int64_t row = first; row < last; row += kTileRows) {
      const std::int64_t n = std::min(kTileRows, last - row);
      for (std::int64_t i = 0; i < n; ++i) {
        const std::byte* from = weight + (row + i) * stride;
        if (!screen_row(dtype, from, n_cols, rows.data() + i * n_blocks)) is_sound = false;
      }
      kernels_->pack_weights({.dtype = DType::kQ5_0,
                              .weights = reinterpret_cast<const std::byte*>(rows.data()),
                              .row_bytes = screened_stride,
                              .n_rows = n,
                              .n_cols = n_cols},
                             out + row / kTileRows * tile_stride);
    }
  });
  return is_sound;
}

void Matmul::bounds(const MatmulInput& x, const MatmulTask& task, ThreadPool& pool) {
  CHECK(kernels_->screen != nullptr && x.n_columns <= kMaxScreenColumns && x.n_planes == 1);
  pack(x, {kernels_->tile_width, kernels_->pack_tile, kernels_->screen}, pool);
  pack_bounds(task.dtype, x.x, x.stride, x.n_cols, x.n_columns, scratch_.get());
  const std::size_t tile_stride = kernels_->packed_tile_bytes(DType::kQ5_0, x.n_cols);
  pool.run([&](int part, int n_parts) {
    const auto [first, last] = share_rows(task.n_rows, part, n_parts);
    if (first == last) return;
    kernels_->screen({.dtype = DType::kQ5_0,
                      .packed_weights = task.packed + first / kTileRows * tile_stride,
                      .n_rows = last - first,
                      .n_cols = x.n_cols,
                      .n_columns = x.n_columns,
                      .packed = scratch_.get(),
                      .out = task.out + first,
                      .out_stride = task.out_stride,
                      .tile = tiles_ + part * tile_stride_});
  });
}

void Matmul::reserve(std::size_t packed_bytes, std::size_t tile_bytes, int n_threads) {
  packed_bytes = round_up(packed_bytes, 64);
  // A page apart, so that threads never share a line or alias each other's tile in the cache sets of the packed
  // columns.
  const std::size_t stride = round_up(tile_bytes, 4096) + 4096;
  const std::size_t n_bytes = packed_bytes + stride * n_threads;
  if (n_bytes > scratch_bytes_) {
    scratch_.reset(static_cast<std::byte*>(std::aligned_alloc(4096, round_up(n_bytes, 4096))));
    CHECK(scratch_ != nullptr);
    scratch_bytes_ = round_up(n_bytes, 4096);
  }
  tile_stride_ = stride;
  tiles_ = scratch_.get() + packed_bytes;
}

}  // namespace commissure::cpu
