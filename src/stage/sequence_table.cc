#include "stage/sequence_table.h"

#include <algorithm>
#include <limits>

namespace commissure {
namespace {

template <typename... Parts>
Error slice_error(Code code, const StepBatch& batch, const SequenceRows& slice, const Parts&... parts) {
  return Error(code, "step ", batch.step.value, ", sequence ", slice.sequence.value, ": ", parts...);
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

  const auto table_start = static_cast<std::size_t>(slice.table_start);
  if (table_start > state.blocks.size()) {
    return lost("block table continues at ", slice.table_start, ", this stage knows ", state.blocks.size(), " entries");
  }
  if (slice.first_position > state.n_positions) {
    return lost("rows start at position ", slice.first_position, ", this stage knows ", state.n_positions);
  }
  state.blocks.resize(slice.new_blocks.empty() ? state.blocks.size() : table_start);
  for (const BlockId block : slice.new_blocks) {
    if (block.value < 0 || block.value >= n_blocks_)
      return lost("block ", block.value, " of ", n_blocks_, " is unknown");
    state.blocks.push_back(block.value);
  }
  const std::int64_t end = std::int64_t{slice.first_position} + slice.n_rows();
  const std::int64_t covered = static_cast<std::int64_t>(state.blocks.size()) * kBlockPositions;
  if (covered < end) return lost("blocks cover ", covered, " positions, rows end at ", end);
  if (end > std::numeric_limits<std::int32_t>::max()) return lost("rows end at position ", end, ", which is too far");
  state.n_positions = static_cast<std::int32_t>(end);
  if (slice.table_start == 0 && !slice.new_blocks.empty()) TRY(check_reused(batch, slice, state));

  if (slice.params) take_params(*slice.params, state);
  if (slice.sample && !state.params) {
    return slice_error(Code::kInvalidArgument, batch, slice, "asks for a sample, but its parameters were never sent");
  }
  if (state.history) TRY(keep_history(batch, slice, state));
  return state;
}

/// A sequence that begins behind cached rows needs them here. Stage A may not know yet that this stage lost them: a
/// stream that broke while nothing ran fails no step.
Status SequenceTable::check_reused(const StepBatch& batch, const SequenceRows& slice,
                                   const SequenceState& state) const {
  for (std::int32_t entry = 0, rest = slice.first_position; rest > 0; ++entry, rest -= kBlockPositions) {
    const std::int32_t block = state.blocks[static_cast<std::size_t>(entry)];
    const std::int32_t n_written = n_written_[static_cast<std::size_t>(block)];
    const std::int32_t needed = std::min(rest, kBlockPositions);
    if (n_written >= needed) continue;
    return slice_error(Code::kDataLoss, batch, slice, "begins behind ", needed, " rows in block ", block,
                       ", this stage has ", n_written, " of them");
  }
  return {};
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
  const auto first = static_cast<std::size_t>(slice.first_position);
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
    const std::int32_t end = prepared[i].n_positions;
    const std::int32_t last = (end - 1) / kBlockPositions;
    for (std::int32_t entry = slice.first_position / kBlockPositions; entry <= last; ++entry) {
      const std::int32_t block = prepared[i].blocks[static_cast<std::size_t>(entry)];
      n_written_[static_cast<std::size_t>(block)] = std::min(end - entry * kBlockPositions, kBlockPositions);
    }
    sequences_.insert_or_assign(slice.sequence, std::move(prepared[i]));
  }
}

void SequenceTable::clear() {
  sequences_.clear();
  std::ranges::fill(n_written_, 0);
}

}  // namespace commissure
