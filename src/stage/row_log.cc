#include "stage/row_log.h"

#include <algorithm>
#include <utility>

#include "core/index.h"

namespace commissure {

std::size_t RowLog::block_bytes(int width) { return n_elements(kBlockPositions, width) * sizeof(bf16); }

Result<RowLog> RowLog::create(std::int32_t n_blocks, int width) {
  RowLog log;
  log.width_ = width;
  log.n_blocks_ = n_blocks;
  log.n_bytes_ = to_size(n_blocks) * block_bytes(width);
  log.rows_.reset(static_cast<bf16*>(std::malloc(log.n_bytes_)));  // untouched: not resident
  if (!log.rows_) {
    return Error(Code::kResourceExhausted, "no memory for a log of ", log.n_bytes_,
                 " bytes of rows handed on (ask for fewer KV blocks)");
  }
  return log;
}

bf16* RowLog::row(std::int32_t block, int row_in_block) const {
  const auto at = to_size(block) * kBlockPositions + to_size(row_in_block);
  return rows_.get() + at * to_size(width_);
}

void RowLog::write(const StepBatch& batch, const std::vector<SequenceState>& states, std::span<const bf16> rows) {
  const auto width = to_size(width_);
  for (std::size_t i = 0; i < batch.slices.size(); ++i) {
    const RowSpan written = batch.slices[i].rows();
    for (int entry = written.first_entry(); entry < written.end_entry(); ++entry) {
      const RowSpan here = written.in_entry(entry);
      const std::size_t n_values = to_size(here.n_rows()) * width;
      std::ranges::copy(rows.first(n_values), row(states[i].blocks[entry], here.first));
      rows = rows.subspan(n_values);
    }
  }
}

Result<std::vector<bf16>> RowLog::read(const StepBatch& batch) const {
  const auto width = to_size(width_);
  std::vector<bf16> rows;
  rows.reserve(to_size(batch.n_rows()) * width);
  for (const SequenceRows& slice : batch.slices) {
    const RowSpan wanted = slice.rows();
    for (int entry = wanted.first_entry(); entry < wanted.end_entry(); ++entry) {
      const BlockId block = slice.new_blocks[entry];
      if (block.value < 0 || block.value >= n_blocks_) {
        return Error(Code::kDataLoss, "step ", batch.step.value, ", sequence ", slice.sequence.value, ": block ",
                     block.value, " of ", n_blocks_, " is unknown");
      }
      const RowSpan here = wanted.in_entry(entry);
      const bf16* const from = row(block.value, here.first);
      rows.insert(rows.end(), from, from + to_size(here.n_rows()) * width);
    }
  }
  return rows;
}

}  // namespace commissure
