#include "stage/sequence_table.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <utility>

#include "core/index.h"

namespace commissure {
namespace {

template <typename... Parts>
Error slice_error(Code code, const StepBatch& batch, const SequenceRows& slice, const Parts&... parts) {
  return Error(code, "step ", batch.step.value, ", sequence ", slice.sequence.value, ": ", parts...);
}

constexpr std::int32_t kAbsent = -1;

/// What a slice says of one of its tables.
struct TableChange {
  std::int32_t start;
  const std::vector<BlockId>& blocks;
};

/// Where a table's blocks lie.
struct Place {
  int first_entry;  ///< that the slice's rows see
  const HeldRows& written;
  const char* name;
  /// No block comes back before the sequence ends, so that no table is longer than the pool: rows that look back on
  /// more positions than there are would be computed for ever.
  bool has_all;
};

Status extend(const StepBatch& batch, const SequenceRows& slice, const TableChange& change, const Place& place,
              std::vector<std::int32_t>& table) {
  const auto lost = [&](const auto&... parts) { return slice_error(Code::kDataLoss, batch, slice, parts...); };
  const auto start = to_size(change.start);
  if (start > table.size()) {
    return lost(place.name, " table continues at ", change.start, ", this stage knows ", table.size(), " entries");
  }
  if (!change.blocks.empty()) table.resize(start);
  for (const BlockId block : change.blocks) {
    if (!place.written.knows(block.value)) {
      return lost(place.name, " ", block.value, " of ", place.written.n_blocks(), " is unknown");
    }
    table.push_back(block.value);
  }
  if (place.has_all && table.size() > place.written.n_blocks()) {
    return lost("a table of ", table.size(), " ", place.name, "s, this stage has ", place.written.n_blocks());
  }
  const std::int64_t end = std::int64_t{slice.first_position} + slice.n_rows();
  const std::int64_t covered = std::ssize(table) * kBlockPositions;
  if (covered < end) return lost(place.name, "s cover ", covered, " positions, rows end at ", end);
  // Only first entries are ever absent.
  if (table[place.first_entry] == kAbsent) {
    return lost("rows see ", place.name, " entry ", place.first_entry, ", which was never sent");
  }
  return {};
}

/// A sequence that begins behind cached rows needs those before `end` here. Stage A may not know yet that this stage
/// lost them: a stream that broke while nothing ran fails no step.
Status check_reused(const StepBatch& batch, const SequenceRows& slice, const Place& place,
                    const std::vector<std::int32_t>& table, std::int32_t end) {
  const RowSpan needed{0, end};
  for (int entry = place.first_entry; entry < needed.end_entry(); ++entry) {
    const std::int32_t block = table[entry];
    const RowSpan here = needed.in_entry(entry);
    if (place.written.has(block, here)) continue;
    return slice_error(Code::kDataLoss, batch, slice, "counts on ", here.end, " rows in ", place.name, " ", block,
                       ", this stage has ", place.written.in_block(block), " of them");
  }
  return {};
}

/// `again`: rows from before, of blocks that may be shared.
void note_written(const SequenceRows& slice, const std::vector<std::int32_t>& table, bool again, HeldRows& written) {
  const RowSpan rows = slice.rows();
  for (int entry = rows.first_entry(); entry < rows.end_entry(); ++entry) {
    const std::int32_t block = table[entry];
    again ? written.rewrite(block, rows.in_entry(entry)) : written.write(block, rows.in_entry(entry));
  }
}

}  // namespace

Result<std::vector<SequenceState>> SequenceTable::prepare(const StepBatch& batch) const {
  TRY(validate(batch));
  std::vector<SequenceState> states;
  states.reserve(batch.slices.size());
  for (const SequenceRows& slice : batch.slices) {
    TRY(check_tokens(batch, slice));
    states.push_back(TRY(prepare_slice(batch, slice)));
  }
  return states;
}

Status SequenceTable::check_written(const StepBatch& batch) const {
  for (const SequenceRows& slice : batch.slices) {
    std::vector<std::int32_t> table;
    const Place all = {0, written_, "block", true};
    TRY(extend(batch, slice, {slice.table_start, slice.new_blocks}, all, table));
    TRY(check_reused(batch, slice, all, table, slice.rows().end));
  }
  return {};
}

Status SequenceTable::check_tokens(const StepBatch& batch, const SequenceRows& slice) const {
  const auto is_outside = [&](TokenId token) { return token.value < 0 || token.value >= n_vocab_; };
  for (const auto* tokens : {&slice.tokens, &slice.targets, &slice.history}) {
    const auto bad = std::find_if(tokens->begin(), tokens->end(), is_outside);
    if (bad == tokens->end()) continue;
    return slice_error(Code::kInvalidArgument, batch, slice, "token id ", bad->value, " is outside the vocabulary of ",
                       n_vocab_);
  }
  return {};
}

Result<SequenceState> SequenceTable::prepare_slice(const StepBatch& batch, const SequenceRows& slice) const {
  const auto lost = [&](const auto&... parts) { return slice_error(Code::kDataLoss, batch, slice, parts...); };
  SequenceState state;
  // table_start 0 recreates; the positions before first_position then lie in blocks that stage A found by prefix.
  if (slice.table_start == 0 && !slice.new_blocks.empty()) {
    state.n_positions = slice.first_position;
  } else {
    const bool is_released =
        std::find(batch.released.begin(), batch.released.end(), slice.sequence) != batch.released.end();
    const auto known = sequences_.find(slice.sequence);
    if (is_released || known == sequences_.end()) return lost("this stage does not know it");
    state = known->second;
  }

  if (slice.first_position > state.n_positions) {
    return lost("rows start at position ", slice.first_position, ", this stage knows ", state.n_positions);
  }
  const std::int64_t end = std::int64_t{slice.first_position} + slice.n_rows();
  if (end > std::numeric_limits<std::int32_t>::max()) return lost("rows end at position ", end, ", which is too far");
  state.n_positions = static_cast<std::int32_t>(end);
  TRY(extend_tables(batch, slice, state));

  if (slice.params) take_params(*slice.params, state);
  if (slice.sample && !state.params) {
    return slice_error(Code::kInvalidArgument, batch, slice, "asks for a sample, but its parameters were never sent");
  }
  if (state.history) TRY(keep_history(batch, slice, state));
  return state;
}

/// The first entry that the slice's rows see in layers with a window.
int SequenceTable::first_seen_entry(const SequenceRows& slice) const {
  return std::max(0, slice.first_position - window_ + 1) / kBlockPositions;
}

Status SequenceTable::extend_tables(const StepBatch& batch, const SequenceRows& slice, SequenceState& state) const {
  const bool is_new = state.blocks.empty();
  const Place all = {0, written_, "block", true};
  TRY(extend(batch, slice, {slice.table_start, slice.new_blocks}, all, state.blocks));
  if (is_new) TRY(check_reused(batch, slice, all, state.blocks, slice.first_position));
  if (window_ == 0 && slice.new_window_blocks.empty()) return {};
  const Place windows = {first_seen_entry(slice), window_written_, "window block", false};
  // Those before the window of a sequence that begins behind cached rows were never sent.
  if (is_new && slice.window_start <= windows.first_entry) {
    state.window_blocks.assign(to_size(slice.window_start), kAbsent);
  }
  TRY(extend(batch, slice, {slice.window_start, slice.new_window_blocks}, windows, state.window_blocks));
  return is_new ? check_reused(batch, slice, windows, state.window_blocks, slice.first_position) : Status();
}

void SequenceTable::take_params(const SamplingParams& params, SequenceState& state) const {
  state.params = std::make_shared<const SamplingParams>(params);
  state.mirostat_mu = params.mirostat.mu;
  state.history = nullptr;
  if (keeps_history_ && needs_history(params)) state.history = std::make_shared<std::vector<TokenId>>();
}

/// Writes the slice's tokens at their positions, as its rows go into the KV blocks.
Status SequenceTable::keep_history(const StepBatch& batch, const SequenceRows& slice, SequenceState& state) const {
  std::vector<TokenId>& history = *state.history;
  if (slice.params) history = slice.history;
  const auto first = to_size(slice.first_position);
  if (history.size() < first) {
    return slice_error(Code::kDataLoss, batch, slice, "rows start at position ", first, ", this stage knows ",
                       history.size(), " tokens, which the sampling parameters need");
  }
  history.resize(first);
  history.insert(history.end(), slice.tokens.begin(), slice.tokens.end());
  return {};
}

void SequenceTable::commit(const StepBatch& batch, std::vector<SequenceState> prepared) {
  for (const SequenceId released : batch.released) sequences_.erase(released);
  for (std::size_t i = 0; i < prepared.size(); ++i) {
    const SequenceRows& slice = batch.slices[i];
    note_written(slice, prepared[i].blocks, batch.is_rebuild(), written_);
    if (window_ > 0) note_written(slice, prepared[i].window_blocks, batch.is_rebuild(), window_written_);
    sequences_.insert_or_assign(slice.sequence, std::move(prepared[i]));
  }
}

void SequenceTable::forget_all_but(StageMemory left) {
  if (left == StageMemory::kSequences) return;
  sequences_.clear();
  if (left == StageMemory::kRows) return;
  written_.forget();
  window_written_.forget();
}

}  // namespace commissure
