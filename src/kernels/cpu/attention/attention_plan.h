#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/index.h"
#include "kernels/backend.h"
#include "kernels/cpu/attention/attention.h"

namespace commissure::cpu {

/// Bytes of one kv head's part of a block.
std::size_t head_block_bytes(const KvLayer& layer);

/// Who does what in one attention call: every thread gets an equal, contiguous share of the keys to read, so that it
/// reads long streams, and a row's keys are cut between two threads where a share ends inside them.
/// Threading: make() from one thread; the rest from any until the next make().
class AttentionPlan {
 public:
  struct Call {
    Rows q;
    const StepShape& shape;
    const KvLayer& layer;
    const AttendOptions& options;
    Rows out;
  };

  /// `may_cut`: the kernels can combine() the parts of a row.
  void make(const Call& call, int n_parts, bool may_cut);

  /// What the thread `part` attends to, in order.
  std::span<const AttendItem> share(int part) const;
  /// What to combine when all threads are done.
  std::span<const AttendItem> cut() const { return cut_; }
  /// attend_scratch_size() floats of the thread's own.
  float* scratch(int part) { return scratch_[scratch_stride_ * to_size(part)].floats; }

 private:
  void add_tiles(const Call& call, int n_parts);
  void deal_out(int n_parts, bool may_cut);
  void place_partials();
  void chain(int n_parts);

  struct alignas(64) Line {
    static constexpr std::size_t kFloats = 16;
    float floats[kFloats];
  };
  std::vector<AttendItem> tiles_;    // rows x heads that fold their keys together, with all their spans
  std::vector<AttendItem> items_;    // pieces of tiles, thread by thread
  std::vector<std::size_t> bounds_;  // [n_parts + 1] of the threads' shares in items_
  std::vector<AttendItem> cut_;      // tiles of more than one piece
  std::vector<std::size_t> pieces_;  // the first piece of each of them in items_
  std::vector<Line> partials_;
  std::vector<Line> scratch_;
  std::size_t scratch_stride_ = 0;  // lines of one thread
};

}  // namespace commissure::cpu
