#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "core/ids.h"
#include "core/result.h"
#include "stage/kv_pool.h"
#include "step/step_batch.h"

namespace commissure {

/// Which places of a stage's recurrent layers hold the state of which sequence, behind how many of its rows. A state
/// cannot be turned back, and a row that is applied twice spoils it: so a step reads the state in front of a slice's
/// first row from one place of the sequence and writes the one behind its last row to the other, and the position alone
/// says which of the two is read. A slice that comes again finds the state that it began with; a slice that begins
/// anywhere else is refused. At position 0 a sequence begins anew, whatever was there.
/// Threading: the executor thread only.
class StateTable {
 public:
  /// For so many sequences at once; 0: the model has no recurrent layers, and nothing is kept.
  explicit StateTable(std::int32_t n_sequences);

  /// Places in every recurrent layer's StateLayer, as a SequenceSpan has them.
  struct Move {
    std::int32_t from = -1;
    std::int32_t to = -1;
  };

  /// Where the slices' states come from and go to, in their order; released sequences are forgotten. What lies in the
  /// places they go to is lost from here on, whether the step succeeds or not. Errors: kDataLoss, a slice goes on where
  /// no state is, which is as before then: the sequence must be computed again; kResourceExhausted, more sequences than
  /// there is room for.
  Result<std::vector<Move>> begin(const StepBatch& batch);
  /// The step of the last begin() succeeded.
  void commit(const StepBatch& batch);

  /// Forgets all but what `left` names. Without the sequences, states stay for those that go on behind the same rows.
  void forget_all_but(StageMemory left);

  std::size_t size() const { return sequences_.size(); }

 private:
  /// One sequence's places: 2 * room and the one behind it.
  struct Entry {
    std::int32_t room = 0;
    std::array<std::optional<std::int32_t>, kStatePlaces> rows = {};  ///< of each place: its state is behind so many
    bool is_known = true;  ///< since the stage forgot its sequences, a slice named it
    std::uint64_t last_use = 0;
  };

  Result<Move> move_of(const StepBatch& batch, const SequenceRows& slice,
                       const std::unordered_set<SequenceId>& released) const;
  /// A room for a sequence that has none.
  Result<Entry*> take_room(const StepBatch& batch, SequenceId sequence);
  void forget(SequenceId sequence);

  std::unordered_map<SequenceId, Entry> sequences_;
  std::vector<std::int32_t> free_;  // a stack: pages that were used are used again
  std::uint64_t n_uses_ = 0;
  bool is_on_ = false;
};

}  // namespace commissure
