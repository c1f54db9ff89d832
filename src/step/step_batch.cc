#include "step/step_batch.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdint>
#include <iterator>
#include <string>
#include <unordered_set>
#include <utility>

namespace commissure {

int StepBatch::n_rows() const {
  int total = 0;
  for (const SequenceRows& slice : slices) total += slice.n_rows();
  return total;
}

namespace {

/// What is wrong with the images of a slice; empty: nothing.
std::string image_problem(const SequenceRows& slice) {
  std::int64_t end_before = 0;
  const std::int64_t end = std::int64_t{slice.first_position} + slice.n_rows();
  for (const SliceImage& image : slice.images) {
    const std::int64_t first = image.first_position, image_end = first + image.n_rows;
    if (image.n_rows < 1 || first < end_before || first >= end || image_end <= slice.first_position) {
      return fmt::format("an image of {} rows at {}, after {}, in rows {} to {}", image.n_rows, first, end_before,
                         slice.first_position, end);
    }
    if (image.see_each_other && image_end > end) {
      return fmt::format("rows end at {} in the midst of an image that ends at {}", end, image_end);
    }
    if (image.rows != nullptr && image.rows->n_rows != image.n_rows) {
      return fmt::format("an image of {} rows has {}", image.n_rows, image.rows->n_rows);
    }
    end_before = image_end;
  }
  return "";
}

}  // namespace

Status validate(const StepBatch& batch) {
  const StageSpan& rebuild = batch.rebuild;
  if (rebuild != StageSpan() && (rebuild.empty() || rebuild.first < 1 || rebuild.last >= kMaxStages)) {
    return Error(Code::kInvalidArgument, "step ", batch.step.value, " rebuilds stages ", rebuild.first, " to ",
                 rebuild.last, " of 1 to ", kMaxStages - 1);
  }
  std::int32_t last_traced = -1;
  for (const SliceTrace& trace : batch.traces) {
    if (trace.slice <= last_traced || std::cmp_greater_equal(trace.slice, batch.slices.size())) {
      return Error(Code::kInvalidArgument, "step ", batch.step.value, " traces slice ", trace.slice, " after ",
                   last_traced, ", of ", batch.slices.size());
    }
    last_traced = trace.slice;
  }
  std::unordered_set<SequenceId> seen;
  for (const SequenceRows& slice : batch.slices) {
    const auto invalid = [&](auto&&... what) {
      return Error(Code::kInvalidArgument, "step ", batch.step.value, ", sequence ", slice.sequence.value, ": ",
                   what...);
    };
    if (!seen.insert(slice.sequence).second) return invalid("appears twice");
    if (slice.tokens.empty()) return invalid("has no rows");
    if (slice.first_position < 0 || slice.table_start < 0 || slice.window_start < 0) {
      return invalid("negative position or table start");
    }
    const std::int64_t end = std::int64_t{slice.first_position} + slice.n_rows();
    for (const auto& [start, blocks] :
         {std::pair(slice.table_start, &slice.new_blocks), std::pair(slice.window_start, &slice.new_window_blocks)}) {
      const std::int64_t covered = (std::int64_t{start} + std::ssize(*blocks)) * kBlockPositions;
      if (!blocks->empty() && covered < end) {
        return invalid("blocks cover ", covered, " positions, rows end at ", end);
      }
    }
    if (batch.is_rebuild() && (slice.table_start != 0 || slice.new_blocks.empty() || slice.sample ||
                               !slice.targets.empty() || slice.sum_layers)) {
      return invalid("a step that rebuilds brings whole tables and asks for nothing");
    }
    if (!slice.targets.empty() && slice.targets.size() != slice.tokens.size()) {
      return invalid(slice.targets.size(), " targets for ", slice.tokens.size(), " rows");
    }
    if (!slice.history.empty() && (!slice.params || std::ssize(slice.history) != slice.first_position)) {
      return invalid(slice.history.size(), " tokens of history before position ", slice.first_position);
    }
    if (const std::string problem = image_problem(slice); !problem.empty()) return invalid(problem);
    if (!slice.mask.empty() && !slice.sample) return invalid("a mask, where no token is drawn");
    if (!std::isfinite(slice.adapter.scale)) return invalid("an adapter's scale that is no number");
    if (slice.params) {
      if (Status status = validate(*slice.params); !status) return std::move(status).error();
    }
  }
  return {};
}

}  // namespace commissure
