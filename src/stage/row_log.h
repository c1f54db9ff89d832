#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <vector>

#include "core/dtype.h"
#include "core/result.h"
#include "stage/sequence_table.h"
#include "step/step_batch.h"

namespace commissure {

/// The rows that a stage handed on, kept in host memory by the KV block and position they belong to. The next stage
/// gets them again when it lost its keys and values. The rows of one block are bf16 [64, width], about as large as
/// one more layer's keys and values. Pages become resident when a block is first written.
/// Threading: one thread at a time.
class RowLog {
 public:
  /// A log that is off: it has no blocks and takes no rows.
  RowLog() = default;
  /// Errors: kResourceExhausted, naming the bytes.
  static Result<RowLog> create(std::int32_t n_blocks, int width);

  bool is_on() const { return rows_ != nullptr; }
  std::size_t n_bytes() const { return n_bytes_; }
  static std::size_t block_bytes(int width);

  /// Notes `rows`, bf16 [batch.n_rows(), width]; `states` has the block table of each slice.
  void write(const StepBatch& batch, const std::vector<SequenceState>& states, std::span<const bf16> rows);

  /// The rows noted for the batch's positions, slice after slice, bf16 [batch.n_rows(), width]. Each slice has its
  /// whole table. For a row that was never noted it returns whatever lies there: SequenceTable::check_written tells
  /// whether all rows were. Errors: kDataLoss, a block id is outside the pool.
  Result<std::vector<bf16>> read(const StepBatch& batch) const;

 private:
  struct Free {
    void operator()(bf16* rows) const { std::free(rows); }
  };
  bf16* row(std::int32_t block, int row_in_block) const;

  int width_ = 0;
  std::int32_t n_blocks_ = 0;
  std::size_t n_bytes_ = 0;
  std::unique_ptr<bf16[], Free> rows_;  // [n_blocks, 64, width]
};

}  // namespace commissure
