#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/ids.h"
#include "core/index.h"
#include "core/result.h"
#include "core/trace_parent.h"
#include "step/adapter.h"
#include "step/held_rows.h"
#include "step/image_rows.h"
#include "step/sampling_params.h"
#include "step/stage_plan.h"
#include "step/token_mask.h"

namespace commissure {

/// The rows of one sequence in one step: consecutive positions, prefill or decode alike.
///
/// A stage keeps per sequence only its block table, and a slice carries everything that changes it:
/// `table_start` entries stay as the stage knows them, `new_blocks` follow them. A slice with
/// table_start 0 (re)creates the sequence, so replay needs no special message.
///
/// Layers with a sliding window have blocks of their own, from another pool, in a second table whose entry i holds the
/// same positions as entry i of the first. A block that lies wholly behind the window of all rows to come may be given
/// to another sequence: no stage reads it again. In a model without such layers the second table is empty.
struct SequenceRows {
  SequenceId sequence;
  std::int32_t first_position = 0;
  std::vector<TokenId> tokens;      ///< one per row; never empty
  std::int32_t table_start = 0;     ///< first block table entry carried here
  std::vector<BlockId> new_blocks;  ///< table entries from table_start on; covers all rows of the slice

  /// Draw the token that follows the last row. Implies params were sent in this or an earlier slice.
  bool sample = false;
  /// Sent with the first slice of a sequence and whenever it is recreated; the last stage keeps them.
  std::optional<SamplingParams> params;
  /// Tokens to score, one per row (the token at the row's position + 1), or empty: prompt log-probabilities. The row
  /// that `sample` draws from has any token here, which changes no bit of what is drawn; nobody reads its score.
  std::vector<TokenId> targets;
  /// With params that need it (needs_history): the tokens before first_position whose rows are not sent again, since a
  /// stage has them already.
  std::vector<TokenId> history = {};
  /// Every stage reports a checksum of these rows after each of its layers (StageTiming::checksums).
  bool sum_layers = false;
  /// The second table's change, as table_start and new_blocks are the first one's. In a new sequence the entries before
  /// window_start are absent.
  std::int32_t window_start = 0;
  std::vector<BlockId> new_window_blocks = {};
  /// With `sample`: the tokens that may be drawn, as a grammar says; empty: any.
  TokenMask mask = {};
  /// The images that some of the rows belong to, in rising order of position.
  std::vector<SliceImage> images = {};
  /// The same in all slices of a sequence; none: the base model. Every stage has it loaded (StageLink::load_adapter).
  AdapterUse adapter = {};

  int n_rows() const { return count_of(tokens); }
  /// Of a slice whose end is known to fit into a position (SequenceTable).
  RowSpan rows() const { return {first_position, first_position + n_rows()}; }
  bool operator==(const SequenceRows&) const = default;
};

/// A slice whose rows belong to a sampled trace, for stages that send spans to a collector themselves.
struct SliceTrace {
  std::int32_t slice = 0;   ///< place among the batch's slices
  std::int32_t choice = 0;  ///< index of the sequence among its request's choices
  TraceParent parent = {};  ///< the request's span
  bool operator==(const SliceTrace&) const = default;
};

/// One batch for one pass through all stages: prefill and decode rows mixed. Rows are numbered slice
/// after slice; row r of the boundary belongs to the r-th token.
///
/// A rebuild step is for stages that lost their keys and values: it repeats rows that were answered before, and only
/// these stages compute them. The stage before them sends the rows that it handed on the first time (RowLog); through
/// all other stages the step passes without rows. A rebuild step draws and scores nothing, and each of its slices
/// brings its whole block table.
struct StepBatch {
  StepId step;
  std::vector<SequenceRows> slices;
  std::vector<SequenceId> released;     ///< forget these before running the step (finished, cancelled, preempted)
  StageSpan rebuild = {};               ///< empty: a plain step, for all stages
  std::vector<SliceTrace> traces = {};  ///< in the order of the slices, at most one for each

  int n_rows() const;
  bool is_rebuild() const { return !rebuild.empty(); }
  /// Whether stage `index` runs its layers, and so gets rows unless it is the first.
  bool is_computed_by(int index) const { return rebuild.empty() || rebuild.contains(index); }
  bool operator==(const StepBatch&) const = default;
};

/// Structural checks that need no state: non-empty slices, no sequence twice, positions and tables that cover the
/// rows, targets that match, traces of slices that there are. Errors: kInvalidArgument naming the sequence.
Status validate(const StepBatch& batch);

}  // namespace commissure
