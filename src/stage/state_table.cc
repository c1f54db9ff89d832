#include "stage/state_table.h"

#include <algorithm>
#include <string>

#include "core/index.h"

namespace commissure {
namespace {

template <typename... Parts>
Error slice_error(Code code, const StepBatch& batch, SequenceId sequence, const Parts&... parts) {
  return Error(code, "step ", batch.step.value, ", sequence ", sequence.value, ": ", parts...);
}

std::string rows_text(const std::optional<std::int32_t>& rows) { return rows ? std::to_string(*rows) : "none"; }

}  // namespace

StateTable::StateTable(std::int32_t n_sequences) : is_on_(n_sequences > 0) {
  for (std::int32_t room = n_sequences; room-- > 0;) free_.push_back(room);
}

/// Of a sequence that goes on. `to` is the place that is not read.
Result<StateTable::Move> StateTable::move_of(const StepBatch& batch, const SequenceRows& slice,
                                             const std::unordered_set<SequenceId>& released) const {
  const auto known = sequences_.find(slice.sequence);
  if (known == sequences_.end() || released.contains(slice.sequence)) {
    return slice_error(Code::kDataLoss, batch, slice.sequence, "goes on at position ", slice.first_position,
                       ", this stage has no recurrent state of it");
  }
  const Entry& entry = known->second;
  for (std::int32_t place = 0; place < kStatePlaces; ++place) {
    if (entry.rows[to_size(place)] != slice.first_position) continue;
    return Move{kStatePlaces * entry.room + place, kStatePlaces * entry.room + 1 - place};
  }
  return slice_error(Code::kDataLoss, batch, slice.sequence, "goes on at position ", slice.first_position,
                     ", this stage has its recurrent state behind ", rows_text(entry.rows[0]), " and ",
                     rows_text(entry.rows[1]), " rows");
}

Result<StateTable::Entry*> StateTable::take_room(const StepBatch& batch, SequenceId sequence) {
  if (free_.empty()) {
    // Of those that nobody named since the stage forgot its sequences, most have ended.
    auto oldest = sequences_.end();
    for (auto it = sequences_.begin(); it != sequences_.end(); ++it) {
      if (it->second.is_known) continue;
      if (oldest == sequences_.end() || it->second.last_use < oldest->second.last_use) oldest = it;
    }
    if (oldest == sequences_.end()) {
      return slice_error(Code::kResourceExhausted, batch, sequence, "there is room for the recurrent states of ",
                         sequences_.size(), " sequences; give all stages the same --max-num-seqs");
    }
    forget(oldest->first);
  }
  Entry& entry = sequences_.emplace(sequence, Entry{.room = free_.back()}).first->second;
  free_.pop_back();  // not before: there may have been no memory for the entry
  return &entry;
}

Result<std::vector<StateTable::Move>> StateTable::begin(const StepBatch& batch) {
  std::vector<Move> moves(batch.slices.size());
  if (!is_on_) return moves;
  const std::unordered_set<SequenceId> released(batch.released.begin(), batch.released.end());
  for (std::size_t i = 0; i < moves.size(); ++i) {
    if (batch.slices[i].first_position > 0) moves[i] = TRY(move_of(batch, batch.slices[i], released));
  }
  std::unordered_set<SequenceId> named;
  for (const SequenceRows& slice : batch.slices) {
    named.insert(slice.sequence);
    // Before rooms are given to others: its move is settled.
    if (const auto known = sequences_.find(slice.sequence); known != sequences_.end()) known->second.is_known = true;
  }
  for (const SequenceId sequence : batch.released) {
    if (!named.contains(sequence)) forget(sequence);
  }
  for (std::size_t i = 0; i < moves.size(); ++i) {
    const SequenceRows& slice = batch.slices[i];
    const auto known = sequences_.find(slice.sequence);
    Entry& entry = known != sequences_.end() ? known->second : *TRY(take_room(batch, slice.sequence));
    entry.last_use = ++n_uses_;
    if (slice.first_position == 0) {
      moves[i] = {-1, kStatePlaces * entry.room};
      entry.rows = {};
    }
    entry.rows[to_size(moves[i].to % kStatePlaces)].reset();
  }
  return moves;
}

void StateTable::commit(const StepBatch& batch) {
  if (!is_on_) return;
  for (const SequenceRows& slice : batch.slices) {
    Entry& entry = sequences_.at(slice.sequence);
    // The place that begin() emptied; of a sequence that begins, both are empty.
    entry.rows[entry.rows[0] ? 1 : 0] = slice.rows().end;
  }
}

void StateTable::forget(SequenceId sequence) {
  const auto known = sequences_.find(sequence);
  if (known == sequences_.end()) return;
  free_.push_back(known->second.room);
  sequences_.erase(known);
}

void StateTable::forget_all_but(StageMemory left) {
  if (left == StageMemory::kSequences) return;
  for (auto& [sequence, entry] : sequences_) entry.is_known = false;
  if (left == StageMemory::kRows) return;
  while (!sequences_.empty()) forget(sequences_.begin()->first);
}

}  // namespace commissure
