#include <algorithm>
#include <set>
#include <span>

#include "core/check.h"
#include "core/index.h"
#include "sched/scheduler.h"

// The part of the scheduler that goes on after the chain broke.

namespace commissure {

namespace {

/// The blocks that these rows lie in.
std::span<const BlockId> blocks_of(const Sequence& sequence, RowSpan rows) {
  return std::span(sequence.blocks)
      .subspan(to_size(rows.first_entry()), to_size(rows.end_entry() - rows.first_entry()));
}

}  // namespace

void Scheduler::suspend() {
  while (!in_flight_.empty()) fail_step();
}

void Scheduler::restart() {
  suspend();
  resume(kAllStages);
}

void Scheduler::resume(StageSpan lost) {
  CHECK(in_flight_.empty());
  const auto is_unfinished = [](const Sequence* s) { return s->rebuilt.n_answered < s->n_to_rebuild; };
  if (std::ranges::any_of(running_, is_unfinished)) lost = lost | lost_;  // of the break before
  lost_ = lost;
  rebuilt_last_ = false;
  if (!lost.empty()) forget_prefixes();
  const auto may_go_on = [&](const Sequence* sequence) {
    // Of an image the stages get all rows again or none; behind cached blocks it may have been begun in its midst.
    const int n_rows = sequence->rows.n_answered;
    const bool cuts_image = !lost.empty() && sequence->uncut(0, n_rows, n_rows) != n_rows;
    return !lost.contains(0) && !cuts_image && !(options_.keeps_states && sequence->n_lost_slices > 1);
  };
  for (Sequence* sequence : running_) may_go_on(sequence) ? resume_sequence(*sequence) : send_back(*sequence);
  std::erase_if(running_, [this](const Sequence* sequence) { return waiting_.contains(rank_of(*sequence)); });
}

/// Back to the rows that were answered, with the same blocks.
void Scheduler::resume_sequence(Sequence& sequence) {
  windows_.end(sequence.lost_windows);
  sequence.rows.drop_unanswered();
  sequence.was_known = sequence.is_known();
  sequence.n_blocks_sent = 0;
  sequence.window.n_sent = 0;
  sequence.params_sent = false;
  sequence.n_to_rebuild = lost_.empty() ? 0 : sequence.rows.n_answered;
  sequence.rebuilt.forget();
  sequence.n_lost_slices = 0;
  ++sequence.life;
}

/// Rows that lost stages have to compute again, of as many sequences as fit. A full step: whoever goes on already waits
/// a little longer for a token, so that the others wait far less for their next one. None when there are none, or when
/// those left wait for blocks that others give back.
std::optional<StepBatch> Scheduler::next_rebuild_step() {
  StepBatch batch;
  begin_step(batch);
  batch.rebuild = lost_;
  int budget = options_.max_step_rows;
  std::set<BlockId> written;
  const std::vector<Sequence*> running = running_;  // which one may leave
  for (Sequence* sequence : running) {
    if (budget <= 0) break;
    if (sequence->is_rebuilt() || !take_lost_windows(*sequence)) continue;
    const int n_sent = sequence->rebuilt.n_sent, n_most = std::min(budget, rebuild_limit(*sequence) - n_sent);
    const int n_rows = sequence->uncut(n_sent, n_most, n_most);
    if (n_rows <= 0) continue;
    // Rows of a shared beginning are computed for one sequence at a time: threads write the rows of a step side by
    // side.
    const std::span<const BlockId> blocks = blocks_of(*sequence, sequence->rebuilt.next(n_rows));
    if (std::ranges::any_of(blocks, [&](BlockId block) { return written.contains(block); })) continue;
    const SliceSize size{.n_rows = n_rows,
                         .n_blocks = 2 * blocks_for(sequence->rebuilt.next(n_rows).end),
                         .n_images = count_of(sequence->spec.images)};
    if (!room_.fits(size)) break;
    room_.take(size);
    written.insert(blocks.begin(), blocks.end());
    add_rebuild_slice(batch, *sequence, n_rows);
    budget -= n_rows;
  }
  if (batch.slices.empty()) return std::nullopt;
  next_step_ = next_step_.next();
  note_in_flight(batch, 0, 0);
  return batch;
}

/// Whether a sequence has the blocks that it needs for rows from before its window; claims them. One sequence at a time
/// has such. Where there are not even enough for one, it is computed again whole.
bool Scheduler::take_lost_windows(Sequence& sequence) {
  if (sequence.window.first == 0 || sequence.lost_windows.n_claimed > 0) return true;
  if (std::ranges::any_of(running_, [](const Sequence* s) { return s->lost_windows.n_claimed > 0; })) return false;
  const int claim = windows_.n_needed(sequence.n_to_rebuild, sequence.most_at_once());
  if (!windows_.may_claim(claim)) {
    std::erase(running_, &sequence);
    send_back(sequence);
    ++n_preemptions_;
    return false;
  }
  windows_.begin(sequence.lost_windows, 0, {}, claim, sequence.most_at_once());
  return true;
}

/// Position up to which rows may be computed again now.
int Scheduler::rebuild_limit(const Sequence& sequence) const {
  const int n_gone = sequence.window.first * kBlockPositions;
  const int limit = windows_.limit(sequence.lost_windows);
  return n_gone == 0 || limit >= n_gone ? sequence.n_to_rebuild : limit;
}

void Scheduler::add_rebuild_slice(StepBatch& batch, Sequence& sequence, int n_rows) {
  latest_.push_back(sequence.spec.id);
  SequenceRows& slice = batch.slices.emplace_back();
  const RowSpan rows = sequence.rebuilt.next(n_rows);
  const auto [first, end] = rows;
  const WindowTable& window = sequence.window;
  slice.sequence = sequence.spec.id;
  slice.first_position = first;
  slice.tokens.assign(sequence.tokens.begin() + first, sequence.tokens.begin() + end);
  slice.images = sequence.images_of(rows);
  slice.adapter = sequence.spec.adapter;
  slice.new_blocks.assign(sequence.blocks.begin(), sequence.blocks.begin() + blocks_for(end));
  if (windows_.is_on()) {
    CHECK(windows_.grow(sequence.lost_windows, std::min(end, window.first * kBlockPositions)));
    slice.window_start = windows_.first_seen(first);
    for (int entry = slice.window_start; entry < blocks_for(end); ++entry) {
      const WindowTable& table = entry < window.first ? sequence.lost_windows : window;
      slice.new_window_blocks.push_back(table.blocks[entry]);
    }
  }
  sequence.rebuilt.send(rows);
}

void Scheduler::commit_rebuild(const ScheduledStep& step) {
  for (const ScheduledRows& rows : step.slices) {
    Sequence* const sequence = find(rows);
    if (sequence == nullptr) continue;
    sequence->rebuilt.answer(rows.rows);
    if (sequence->lost_windows.n_claimed == 0) continue;
    if (sequence->rebuilt.n_answered >= sequence->n_to_rebuild) {
      windows_.end(sequence->lost_windows);
    } else {
      windows_.slide(sequence->lost_windows, sequence->rebuilt.n_answered);
    }
  }
}

}  // namespace commissure
