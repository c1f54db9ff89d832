#include "kernels/cpu/head/head_search.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "core/index.h"
#include "kernels/cpu/rows/rows.h"

namespace commissure::cpu {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();
/// A row of a head is read at random for each output that is computed: with more of them than this share, reading all
/// in order is faster.
constexpr int kMaxReachingShare = 8;
/// At most so many calls go by after a search that found too many.
constexpr int kMostSkipped = 32;
/// Asking for one of so many outputs pays; asking for more lowers the floor until too many reach it.
constexpr int kOutputsPerLargest = 4096;

bool asks_for_few(const HeadRows& rows) {
  const int most = std::max(4, rows.out.n_cols / kOutputsPerLargest);
  return std::ranges::all_of(rows.uses, [&](const LogitsUse& use) {
    return use.target < 0 && use.n_largest > 0 && use.n_largest <= std::min(most, rows.out.n_cols);
  });
}

}  // namespace

float floor_below(float top, float range, float softcap) {
  if (softcap == 0.0f) return top - range;
  constexpr double kRoom = 2e-6;  // a kernel's tanh is within some 1e-7
  const double capped = std::tanh(double{top} / softcap) - double{range} / softcap;
  return static_cast<float>(std::atanh(std::max(-1.0, capped - kRoom)) * softcap);  // -infinity: all are that close
}

void ColumnPlanes::resize(int n_rows, int n_cols) {
  n_cols_ = n_cols;
  n_groups_ = column_groups(n_cols);
  groups_.resize(index(n_rows, 0));
}

void ColumnPlanes::pack(const MatmulKernels& kernels, const float* x, int row) {
  kernels.pack_few(x, n_cols_, 2, groups_.data() + index(row, 0));
}

bool HeadSearch::run(const HeadRows& rows, Matmul& matmul, const PointwiseKernels& pointwise, ThreadPool& pool) {
  if (rows.weight->screen.bytes.empty() || rows.x.n_rows > Matmul::kMaxScreenColumns || !asks_for_few(rows)) {
    return false;
  }
  if (n_to_skip_ > 0) {
    --n_to_skip_;
    return false;
  }
  kernels_ = &matmul.kernels();
  pointwise_ = &pointwise;
  n_parts_ = pool.n_threads();
  shares_.resize(rows.x.n_rows * n_parts_);
  floors_.resize(rows.x.n_rows);

  matmul.bounds({.x = row_of(rows.x, 0), .stride = rows.x.stride, .n_columns = rows.x.n_rows, .n_cols = rows.x.n_cols},
                {.dtype = rows.weight->dtype,
                 .n_rows = rows.weight->n_rows,
                 .out = row_of(rows.out, 0),
                 .out_stride = rows.out.stride,
                 .packed = rows.weight->screen.bytes.data()},
                pool);
  if (is_quantised(rows.weight->dtype)) {
    planes_.resize(rows.x.n_rows, rows.x.n_cols);
    for (int row = 0; row < rows.x.n_rows; ++row) planes_.pack(*kernels_, row_of(rows.x, row), row);
  }
  const auto for_shares = [&](auto f) {
    pool.run([&](int part, int n_parts) {
      const auto [first, last] = share(rows.out.n_cols, part, n_parts);
      for (int row = 0; row < rows.x.n_rows; ++row) f(row, first, last, share_of(row, part));
    });
  };
  for_shares([&](int row, int first, int last, Share& share) { look_at_best(rows, row, first, last, share); });
  for (int row = 0; row < rows.x.n_rows; ++row) {
    if (!find_floor(rows, row)) return false;
  }
  for_shares([&](int row, int first, int last, Share& share) { look_at_reaching(rows, row, first, last, share); });
  if (std::ranges::any_of(shares_, &Share::is_full)) {
    n_to_skip_ = n_failed_;
    n_failed_ = std::min(2 * n_failed_ + 1, kMostSkipped);
    return false;
  }
  n_failed_ = 0;
  for_shares([&](int row, int first, int last, Share& share) { put(rows, row, first, last, share); });
  return true;
}

void HeadSearch::look_at_best(const HeadRows& rows, int row, int first, int last, Share& share) const {
  const float* bounds = row_of(rows.out, row);
  const std::size_t n = to_size(rows.uses[row].n_largest);
  const auto larger = [bounds](int a, int b) { return bounds[a] > bounds[b]; };
  share.best.clear();
  float lowest = kNever;
  for (int i = first; i < last; ++i) {
    i += pointwise_->first_above(bounds + i, last - i, lowest);
    if (i == last) break;
    share.best.push_back(i);
    std::ranges::push_heap(share.best, larger);
    if (share.best.size() > n) {
      std::ranges::pop_heap(share.best, larger);
      share.best.pop_back();
    }
    if (share.best.size() == n) lowest = bounds[share.best.front()];
  }
  share.outputs.clear();
  compute(rows, row, share.best, share);
}

bool HeadSearch::find_floor(const HeadRows& rows, int row) {
  reached_.clear();
  for (int part = 0; part < n_parts_; ++part) {
    for (const Output& output : share_of(row, part).outputs) {
      reached_.push_back(std::min(output.coarse, output.coarse + output.fine));
    }
  }
  const int n = rows.uses[row].n_largest;
  if (std::ranges::any_of(reached_, [](float value) { return std::isnan(value); })) return false;
  if (std::cmp_less(reached_.size(), n)) return false;
  std::ranges::nth_element(reached_, reached_.begin() + (n - 1), std::ranges::greater());
  floors_[row] = floor_below(reached_[n - 1], 0.0f, rows.softcap);
  return true;
}

void HeadSearch::look_at_reaching(const HeadRows& rows, int row, int first, int last, Share& share) const {
  const float* bounds = row_of(rows.out, row);
  const float below_floor = std::nextafter(floors_[row], kNever);
  const std::size_t most = to_size(rows.out.n_cols / kMaxReachingShare / n_parts_ + 1);
  share.reaching.clear();
  share.is_full = false;
  for (int i = first; i < last; ++i) {
    i += pointwise_->first_above(bounds + i, last - i, below_floor);
    if (i == last) break;
    share.is_full = share.reaching.size() == most;
    if (share.is_full) return;
    share.reaching.push_back(i);
  }
  share.outputs.clear();
  compute(rows, row, share.reaching, share);
  share.top = kNever;
  for (const Output& output : share.outputs) share.top = std::max(share.top, output.coarse);
}

void HeadSearch::compute(const HeadRows& rows, int row, const std::vector<int>& outputs, Share& share) const {
  const std::size_t stride = row_bytes(rows.weight->dtype, rows.weight->n_cols);
  const std::byte* weights = rows.weight->data.bytes.data();
  constexpr std::size_t kAhead = 3;  // they lie apart, so that no prefetcher foresees them
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    if (i + kAhead < outputs.size()) {
      const std::byte* next = weights + outputs[i + kAhead] * stride;
      for (std::size_t at = 0; at < stride; at += 64) __builtin_prefetch(next + at);
    }
    share.outputs.push_back(product(rows, row, outputs[i]));
  }
}

HeadSearch::Output HeadSearch::product(const HeadRows& rows, int row, int output) const {
  const MatrixSource& weight = *rows.weight;
  const std::size_t stride = row_bytes(weight.dtype, weight.n_cols);
  float values[2] = {};
  MatmulPart part = {.dtype = weight.dtype,
                     .weights = weight.data.bytes.data() + output * stride,
                     .row_bytes = stride,
                     .n_rows = 1,
                     .n_cols = static_cast<int>(weight.n_cols),
                     .n_columns = 1,
                     .x = row_of(rows.x, row),
                     .x_stride = rows.x.stride,
                     .out = values,
                     .out_stride = 1};
  if (is_quantised(weight.dtype)) {
    part.n_columns = 2;  // the planes, each by itself
    part.packed = reinterpret_cast<const std::byte*>(planes_.plane(row, 0));
    kernels_->few(part);
  } else {
    kernels_->floats(part);
  }
  return {output, values[0], values[1]};
}

void HeadSearch::put(const HeadRows& rows, int row, int first, int last, const Share& share) {
  float top = kNever;  // the largest of all coarse products is among these: its bound reaches any floor
  for (int part = 0; part < n_parts_; ++part) top = std::max(top, share_of(row, part).top);
  const float refined_floor = floor_below(top, kRefinedRange, rows.softcap);
  float* values = row_of(rows.out, row);
  std::fill(values + first, values + last, kNever);
  for (const Output& output : share.outputs) {
    values[output.index] = output.coarse > refined_floor ? output.coarse + output.fine : output.coarse;
  }
}

}  // namespace commissure::cpu
