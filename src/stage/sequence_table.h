#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "core/ids.h"
#include "core/result.h"
#include "stage/kv_pool.h"
#include "step/step_batch.h"

namespace commissure {

/// All a stage knows of one sequence.
struct SequenceState {
  std::vector<std::int32_t> blocks;  ///< block table: entry i holds positions [64 i, 64 i + 64)
  /// The block table of the layers with a sliding window: -1 where no block was sent; the block of an entry behind the
  /// window may belong to another sequence by now. Empty where the model has no such layers.
  std::vector<std::int32_t> window_blocks;
  std::int32_t n_positions = 0;  ///< positions whose keys and values are in the cache
  /// The parameters last sent; only the last stage uses them. Shared by the states of one sequence, hence never
  /// changed.
  std::shared_ptr<const SamplingParams> params;
  /// Tokens by position, where the parameters need them. Shared by the states of one sequence, like its KV blocks:
  /// entries from n_positions on mean nothing.
  std::shared_ptr<std::vector<TokenId>> history;
  std::optional<float> mirostat_mu;  ///< mirostat's state after the last draw, or as sent
};

/// The sequences of a stage. A step is prepared, then run, and committed once it succeeded, so an error on the way
/// leaves the table as it was.
/// Threading: the executor thread only.
class SequenceTable {
 public:
  /// Accepts block ids below the shape's numbers of blocks and token ids in [0, n_vocab). `keeps_history`: whether this
  /// stage draws tokens and so keeps them.
  SequenceTable(const KvShape& shape, std::int32_t n_vocab, bool keeps_history = true)
      : window_(shape.window),
        n_vocab_(n_vocab),
        keeps_history_(keeps_history),
        written_(shape.n_blocks),
        window_written_(shape.window > 0 ? shape.n_window_blocks : 0) {}

  /// The states that the batch's slices lead to, in their order. Changes nothing.
  /// Errors: kInvalidArgument, the batch is malformed, a token is outside the vocabulary, or a sample is asked for
  /// without parameters; kDataLoss, table or positions leave a gap after what this stage knows, a block id is unknown,
  /// or a sequence begins behind rows that this stage does not have: it must be recreated.
  Result<std::vector<SequenceState>> prepare(const StepBatch& batch) const;

  /// Checks that the rows of the batch, whose slices bring whole tables, were computed here before. Errors: kDataLoss,
  /// a block id is unknown, or rows are missing.
  Status check_written(const StepBatch& batch) const;

  /// Forgets the batch's released sequences and takes over the prepared states.
  void commit(const StepBatch& batch, std::vector<SequenceState> prepared);

  /// Forgets all but what `left` names: without the rows, none counts as written any more.
  void forget_all_but(StageMemory left);
  std::size_t size() const { return sequences_.size(); }

 private:
  Result<SequenceState> prepare_slice(const StepBatch& batch, const SequenceRows& slice) const;
  Status check_tokens(const StepBatch& batch, const SequenceRows& slice) const;
  Status extend_tables(const StepBatch& batch, const SequenceRows& slice, SequenceState& state) const;
  int first_seen_entry(const SequenceRows& slice) const;
  void take_params(const SamplingParams& params, SequenceState& state) const;
  Status keep_history(const StepBatch& batch, const SequenceRows& slice, SequenceState& state) const;

  const int window_;
  const std::int32_t n_vocab_;
  const bool keeps_history_;
  std::unordered_map<SequenceId, SequenceState> sequences_;
  HeldRows written_;
  HeldRows window_written_;
};

}  // namespace commissure
