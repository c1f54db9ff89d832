#pragma once

#include <span>
#include <vector>

#include "core/thread_pool.h"
#include "kernels/backend.h"
#include "kernels/cpu/matmul/matmul.h"
#include "kernels/cpu/rows/pointwise.h"

namespace commissure::cpu {

/// Rows of activations as two int8 planes each, for MatmulKernels::few.
class ColumnPlanes {
 public:
  /// Makes room for `n_rows` rows of n_cols values; pack() fills one.
  void resize(int n_rows, int n_cols);
  void pack(const MatmulKernels& kernels, const float* x, int row);
  const ColumnGroup* plane(int row, int plane) const { return groups_.data() + index(row, plane); }

 private:
  std::ptrdiff_t index(int row, int plane) const { return (2 * std::ptrdiff_t{row} + plane) * n_groups_; }
  int n_cols_ = 0;
  int n_groups_ = 0;                 // of a plane
  std::vector<ColumnGroup> groups_;  // [n_rows, 2, n_groups]
};

/// One call of Backend::logits.
struct HeadRows {
  const MatrixSource* weight = nullptr;
  Rows x;
  std::span<const LogitsUse> uses;  ///< one per row
  float softcap = 0.0f;             ///< of Backend::logits, which comes later: logits that it makes equal are found
  Rows out;
};

/// A value such that the soft cap leaves no logit below it as close to what it leaves `top` as `range`, whichever
/// kernel computes it; without a cap (0), top - range.
float floor_below(float top, float range, float softcap);

/// Finds the largest logits of a row without reading the whole head. The head's screen (screen.h) gives an upper bound
/// of every logit. First the outputs with the largest bounds are computed: the smallest logit that must be found is at
/// least the n-th largest of theirs, the floor. Then every output whose bound reaches the floor is computed. Every
/// logit that is found has the same bits as when the whole head is computed.
/// Threading: one thread at a time; the pool's threads share the work.
class HeadSearch {
 public:
  /// Leaves in `out` what Backend::logits promises. False: `out` holds nothing of use and the whole head has to be
  /// read, because it has no screen, `uses` asks for more than a few largest logits of a few rows, x is not finite, or
  /// the bounds are too close to each other to tell outputs apart.
  bool run(const HeadRows& rows, Matmul& matmul, const PointwiseKernels& pointwise, ThreadPool& pool);

 private:
  struct Output {
    int index;
    float coarse;  ///< the product with x's first plane
    float fine;    ///< the product with x's second plane
  };
  /// One row's outputs in one thread's share of the head.
  struct Share {
    std::vector<int> best;        // a heap by bound, the smallest in front
    std::vector<int> reaching;    // outputs whose bound reaches the floor
    std::vector<Output> outputs;  // of `best`, then of `reaching`
    float top = 0.0f;             // largest coarse product
    bool is_full = false;         // too many outputs reach the floor
  };

  Share& share_of(int row, int part) { return shares_[row * n_parts_ + part]; }
  /// The n outputs of [first, last) with the largest bounds, computed.
  void look_at_best(const HeadRows& rows, int row, int first, int last, Share& share) const;
  /// All outputs of [first, last) that may be among the largest, computed.
  void look_at_reaching(const HeadRows& rows, int row, int first, int last, Share& share) const;
  void compute(const HeadRows& rows, int row, const std::vector<int>& outputs, Share& share) const;
  Output product(const HeadRows& rows, int row, int output) const;
  /// Sets the row's floor: the n_largest-th largest logit among the outputs computed so far. False if fewer were
  /// computed.
  bool find_floor(const HeadRows& rows, int row);
  void put(const HeadRows& rows, int row, int first, int last, const Share& share);

  const MatmulKernels* kernels_ = nullptr;
  const PointwiseKernels* pointwise_ = nullptr;
  int n_parts_ = 1;
  // A search that finds too many outputs costs more than it saves. One such search is a hard place in a text; many in a
  // row mean a model with flat distributions, where searches are tried less and less often.
  int n_to_skip_ = 0;
  int n_failed_ = 0;
  ColumnPlanes planes_;
  std::vector<Share> shares_;   // [n_rows, n_parts]
  std::vector<float> floors_;   // by row
  std::vector<float> reached_;  // scratch of find_floor()
};

}  // namespace commissure::cpu
