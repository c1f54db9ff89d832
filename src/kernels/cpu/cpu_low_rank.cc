#include <algorithm>
#include <cstring>
#include <utility>

#include "core/check.h"
#include "core/index.h"
#include "kernels/check_source.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/rows/rows.h"
#include "kernels/low_rank.h"

// The part of the backend that adds adapters to products.

namespace commissure::cpu {

/// Both matrices in memory of their own: the first as stored, the second in panels (LowRankUp).
class CpuLowRank final : public LowRank {
 public:
  CpuLowRank(const LowRankSource& source, DeviceBuffer down, DeviceBuffer up, DeviceBuffer gain)
      : scale(source.scale),
        rank(static_cast<int>(source.down.n_rows)),
        n_inputs(static_cast<int>(source.down.n_cols)),
        n_outputs(static_cast<int>(source.up.n_rows)),
        down_type(source.down.dtype),
        up_type(source.up.dtype),
        down(std::move(down)),
        up(std::move(up)),
        gain(std::move(gain)) {}
  std::size_t n_bytes() const override { return down.n_bytes() + up.n_bytes() + gain.n_bytes(); }
  int n_panels() const { return (n_outputs + kLowRankPanel - 1) / kLowRankPanel; }

  const float scale;
  const int rank, n_inputs, n_outputs;
  const DType down_type, up_type;
  const DeviceBuffer down, up, gain;
};

namespace {

/// Below this many multiplications one thread is sooner done than several have started.
constexpr std::int64_t kSerialProducts = 64 * 1024;
/// What a thread takes at once: of x some rows, of the first matrix some rows, of the second some panels.
constexpr int kRowsAtOnce = 16, kRanksAtOnce = 8, kPanelsAtOnce = 16;

const CpuLowRank& weight_of(const LowRankJob& job) { return static_cast<const CpuLowRank&>(*job.weight); }

Status check_sources(const LowRankSource& source) {
  for (const MatrixSource* matrix : {&source.down, &source.up}) {
    TRY(check_stored(*matrix, matrix->dtype == DType::kF32 || matrix->dtype == DType::kBF16));
  }
  const std::int64_t rank = source.down.n_rows;
  const bool gain_fits = source.gain.empty() || std::cmp_equal(source.gain.size(), source.up.n_rows);
  if (rank == source.up.n_cols && rank <= kMaxAdapterRank && gain_fits) return {};
  return Error(Code::kInvalidArgument, source.up.name, ": [", source.up.n_rows, ", ", source.up.n_cols, "] behind [",
               rank, ", ", source.down.n_cols, "] with ", source.gain.size(), " factors; a rank is at most ",
               kMaxAdapterRank);
}

/// The second matrix, [outputs, rank], in panels.
void write_panels(const MatrixSource& up, std::byte* to) {
  const auto width = to_size(block_size(up.dtype).n_bytes), rank = to_size(up.n_cols);
  for (std::size_t output = 0; output < to_size(up.n_rows); ++output) {
    const std::size_t panel = output / kLowRankPanel, lane = output % kLowRankPanel;
    for (std::size_t j = 0; j < rank; ++j) {
      std::memcpy(to + ((panel * rank + j) * kLowRankPanel + lane) * width,
                  up.data.bytes.data() + (output * rank + j) * width, width);
    }
  }
}

}  // namespace

Result<std::unique_ptr<LowRank>> CpuBackend::load_low_rank(const LowRankSource& source) {
  TRY(check_sources(source));
  DeviceBuffer down = TRY(allocate(source.down.data.bytes.size()));
  upload(down.ptr(), source.down.data.bytes);
  const std::size_t n_outputs = round_up(to_size(source.up.n_rows), kLowRankPanel);
  DeviceBuffer up = TRY(allocate(n_outputs * row_bytes(source.up.dtype, source.up.n_cols)));
  write_panels(source.up, address<std::byte>(up.ptr()));
  DeviceBuffer gain = TRY(allocate(source.gain.size_bytes()));
  upload(gain.ptr(), std::as_bytes(source.gain));
  return std::make_unique<CpuLowRank>(source, std::move(down), std::move(up), std::move(gain));
}

/// Parts of one phase in the order of their jobs, with what was to do before each of them.
class LowRankWork {
 public:
  struct Item {
    const LowRankJob* job;
    float* hidden;      ///< of the first row
    int row, n_rows;    ///< of the job's rows
    int first, last;    ///< rows of the first matrix, or panels of the second
    std::int64_t cost;  ///< of the items before
  };

  void clear() {
    items_.clear();
    total_ = 0;
  }
  /// `n_parts` parts of a job's matrix, some at a time, for all its rows; `cost` of a part for one row.
  void add(const LowRankJob& job, float* hidden, int n_parts, int parts_at_once, std::int64_t cost) {
    const std::ptrdiff_t rank = weight_of(job).rank;
    for (int first = 0; first < n_parts; first += parts_at_once) {
      const int last = std::min(n_parts, first + parts_at_once);
      for (int row = 0; row < job.n_rows; row += kRowsAtOnce) {
        const int n_rows = std::min(job.n_rows - row, kRowsAtOnce);
        items_.push_back({&job, hidden + row * rank, row, n_rows, first, last, total_});
        total_ += cost * n_rows * (last - first);
      }
    }
  }
  /// Calls f for every item, on the caller where that is soonest done.
  template <typename F>
  void run(ThreadPool& pool, F f) const {
    if (total_ < kSerialProducts) return static_cast<void>(std::ranges::for_each(items_, f));
    pool.run([&](int part, int n_parts) {
      const auto begin = std::ranges::lower_bound(items_, total_ * part / n_parts, {}, &Item::cost);
      const auto end = part + 1 == n_parts
                           ? items_.end()
                           : std::ranges::lower_bound(items_, total_ * (part + 1) / n_parts, {}, &Item::cost);
      std::for_each(begin, end, f);
    });
  }

 private:
  std::vector<Item> items_;
  std::int64_t total_ = 0;
};

namespace {

void run_down(const LowRankKernels& kernels, Rows x, const LowRankWork::Item& item) {
  const CpuLowRank& weight = weight_of(*item.job);
  const std::size_t stride = row_bytes(weight.down_type, weight.n_inputs);
  MatmulPart part;
  part.dtype = weight.down_type;
  part.weights = address<std::byte>(weight.down.ptr()) + to_size(item.first) * stride;
  part.row_bytes = stride;
  part.n_rows = item.last - item.first;
  part.n_cols = weight.n_inputs;
  part.n_columns = item.n_rows;
  part.x = row_of(x, item.job->first_row + item.row);
  part.x_stride = x.stride;
  part.out = item.hidden + item.first;
  part.out_stride = weight.rank;
  kernels.down(part);
}

void run_up(const LowRankKernels& kernels, const LowRankWork::Item& item) {
  const LowRankJob& job = *item.job;
  const CpuLowRank& weight = weight_of(job);
  kernels.up({.dtype = weight.up_type,
              .panels = address<std::byte>(weight.up.ptr()),
              .rank = weight.rank,
              .first_panel = item.first,
              .last_panel = item.last,
              .n_outputs = weight.n_outputs,
              .hidden = item.hidden,
              .n_rows = item.n_rows,
              .out = row_of(job.product.out, job.first_row + item.row),
              .out_stride = job.product.out.stride,
              .factor = weight.scale * job.product.scale,
              .scale = job.scale,
              .gain = address<const float>(weight.gain.ptr()),
              .bias = address<const float>(job.product.bias),
              .bias_scale = job.product.scale});
}

}  // namespace

void CpuBackend::add_low_rank(Rows x, std::span<const LowRankJob> jobs) {
  std::size_t n_hidden = 0;
  for (const LowRankJob& job : jobs) {
    const CpuLowRank& weight = weight_of(job);
    CHECK(weight.n_inputs == x.n_cols && weight.n_outputs == job.product.out.n_cols);
    CHECK(job.first_row >= 0 && job.n_rows >= 0 && job.first_row + job.n_rows <= x.n_rows);
    n_hidden += n_elements(job.n_rows, weight.rank);
  }
  hidden_.resize(n_hidden);
  LowRankWork downs, ups;
  float* hidden = hidden_.data();
  for (const LowRankJob& job : jobs) {
    const CpuLowRank& weight = weight_of(job);
    downs.add(job, hidden, weight.rank, kRanksAtOnce, weight.n_inputs);
    ups.add(job, hidden, weight.n_panels(), kPanelsAtOnce, std::int64_t{kLowRankPanel} * weight.rank);
    hidden += n_elements(job.n_rows, weight.rank);
  }
  downs.run(pool_, [&](const LowRankWork::Item& item) { run_down(*kernels_.low_rank, x, item); });
  ups.run(pool_, [&](const LowRankWork::Item& item) { run_up(*kernels_.low_rank, item); });
}

}  // namespace commissure::cpu
