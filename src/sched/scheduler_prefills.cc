#include <algorithm>
#include <span>
#include <utility>

#include "core/check.h"
#include "core/index.h"
#include "sched/scheduler.h"

// The part of the scheduler that gives out the rows of prompts, and lets waiting sequences in.

namespace commissure {

namespace {

/// Waiting sequences that are looked at for one that is nearly done: a bound on the work of a step.
constexpr int kMostLookedAt = 64;

}  // namespace

int Scheduler::prefill_budget(int n_decode_rows) const {
  const int room = options_.max_step_rows - n_decode_rows;
  const int n_others = n_decoding();
  if (n_others == 0) return room;
  const int n_prompts = n_running() - n_others + std::min(n_waiting(), options_.max_sequences - n_running());
  const int paced = pace_.rows(n_others, n_prompts);
  const int per_slot = paced == 0 ? 0 : std::max(PrefillPace::kMinRows, paced / decode_slots());
  return std::min({room, options_.max_mixed_prefill_rows, per_slot});
}

/// Rows of its prompt that can run now: about `budget`, more where an image needs them, and never over `room`.
int Scheduler::n_prefill_rows(const Sequence& sequence, int budget, int room) const {
  const int n_sent = sequence.rows.n_sent;
  const int n_most = std::min({room, sequence.n_ready_rows(), windows_.limit(sequence.window) - n_sent});
  return sequence.uncut(n_sent, std::min(budget, n_most), n_most);
}

/// What a slice of these next rows brings into the header, at most. Of one that waits nobody knows yet where it begins.
SliceSize Scheduler::slice_size(const Sequence& sequence, int n_rows) const {
  const int n_tokens = count_of(sequence.tokens);
  SliceSize size{.n_rows = n_rows, .n_targets = sequence.spec.score_prompt ? n_rows : 0};
  size.n_images = count_of(sequence.spec.images);
  size.n_blocks = blocks_for(n_tokens) + 1 - sequence.n_blocks_sent;
  if (windows_.is_on()) size.n_blocks += blocks_for(n_tokens) + 1 - sequence.window.n_sent;
  size.n_mask_bytes = sequence.spec.most_mask_bytes;
  if (sequence.params_sent) return size;
  size.params = &sequence.spec.params;
  if (needs_history(sequence.spec.params)) size.n_history = n_tokens;
  return size;
}

/// False: the step's header has no room for them.
bool Scheduler::schedule_rows(StepBatch& batch, Sequence& sequence, int n_rows) {
  if (!room_.fits(slice_size(sequence, n_rows))) return false;
  CHECK(windows_.grow(sequence.window, sequence.rows.next(n_rows).end));
  add_slice(batch, sequence, n_rows);
  return true;
}

/// `may_admit`: not while somebody was preempted just now, who would only take the block back that another needed.
void Scheduler::schedule_prefills(StepBatch& batch, bool may_admit) {
  int budget = prefill_budget(batch.n_rows());
  const std::size_t n_before = batch.slices.size();
  const auto is_prompt = [](const Sequence* s) { return s->n_ready_rows() > 0 && !s->decodes(); };
  const auto oldest = std::ranges::find_if(running_, is_prompt);
  const auto room = [&] { return options_.max_step_rows - batch.n_rows(); };
  if (oldest != running_.end() && budget > 1 && n_prefill_rows(**oldest, budget, room()) >= budget) {
    // An image that is next has its rows first: a step without room for them would follow another without end.
    const int least = n_prefill_rows(**oldest, 1, room());
    const int share = least > 1 ? std::min(budget / 4, room() - least) : std::max(1, budget / 4);
    budget -= schedule_newcomers(batch, **oldest, share, may_admit);
  }
  const auto is_scheduled = [&, n = batch.slices.size()](const Sequence& sequence) {
    const auto slices = std::span(batch.slices).subspan(n_before, n - n_before);
    return std::ranges::find(slices, sequence.spec.id, &SequenceRows::sequence) != slices.end();
  };
  for (std::size_t i = 0; budget > 0; ++i) {
    const bool is_new = i >= running_.size();
    Sequence* const next = !is_new ? running_[i] : may_admit ? admit_next(budget, room()) : nullptr;
    if (next == nullptr) break;
    const int n_rows = n_prefill_rows(*next, budget, room());
    // One that begins behind cached rows may have only its last one left, as a decode would.
    if (n_rows == 0 || (next->decodes() && !is_new) || is_scheduled(*next)) continue;
    if (!schedule_rows(batch, *next, n_rows)) break;
    budget -= n_rows;
  }
}

/// Prompts that may go before the oldest one, each with the rows it has left: those of no lower rank that have fewer
/// rows left, the shortest first, so that a few tokens do not wait for thousands. Left out is one whose beginning
/// another prompt computes just now: that one finds it in the prefix cache later.
std::vector<Scheduler::Newcomer> Scheduler::newcomers(const Sequence& oldest, bool may_admit) {
  std::vector<Newcomer> found;
  const auto look_at = [&](Sequence& sequence, int n_left, bool is_next) {
    if (n_left > 0 && n_left < oldest.n_ready_rows()) found.push_back({n_left, &sequence, is_next});
  };
  for (Sequence* const sequence : running_) {
    if (sequence->spec.priority > oldest.spec.priority) break;
    if (!sequence->decodes()) look_at(*sequence, sequence->n_ready_rows(), true);
  }
  int n_looked_at = 0;
  bool is_next = true;
  for (const auto& [priority, id] : waiting_) {
    if (!may_admit || priority > oldest.spec.priority || ++n_looked_at > kMostLookedAt) break;
    Sequence& sequence = *sequences_.at(id);
    if (is_being_computed(sequence, find_prefix(sequence))) continue;
    const int n_begun = n_usable(sequence) * kBlockPositions;
    look_at(sequence, sequence.n_ready_rows() - n_begun, std::exchange(is_next, false));
  }
  std::ranges::stable_sort(found, {}, &Newcomer::n_left);
  return found;
}

/// Of the rows that the oldest prompt could take, up to `share` go to prompts that are sooner done. Of those that wait,
/// one that is done at once may pass the others; a longer one is let in when it is the next. Returns how many.
int Scheduler::schedule_newcomers(StepBatch& batch, const Sequence& oldest, int share, bool may_admit) {
  if (options_.max_partial_prefills < 2 || n_running() - n_decoding() + n_waiting() < 2) return 0;
  int n_partial = n_running() - n_decoding();
  int left = share;
  for (const auto& [n_left, sequence, is_next] : newcomers(oldest, may_admit)) {
    if (left == 0) break;
    if (waiting_.contains(rank_of(*sequence))) {
      if (n_left > left && (!is_next || n_partial >= options_.max_partial_prefills)) continue;
      if (!may_begin(*sequence, left, left)) continue;
      if (!admit(*sequence)) break;
      ++n_partial;
    }
    const int n_rows = n_prefill_rows(*sequence, left, left);
    if (n_rows == 0) continue;
    if (!schedule_rows(batch, *sequence, n_rows)) break;
    left -= n_rows;
    if (sequence->n_ready_rows() == 0) --n_partial;
  }
  return share - left;
}

/// Whether a step with so many rows for a waiting sequence has room for its first ones: an image comes whole.
bool Scheduler::may_begin(Sequence& sequence, int budget, int room) {
  if (sequence.spec.images.empty()) return true;
  const int first = n_usable(sequence) * kBlockPositions, n_most = std::min(room, sequence.n_ready_rows() - first);
  return sequence.uncut(first, std::min(budget, n_most), n_most) > 0;
}

/// The first that waits; null: nobody does, or there is no room for it.
Sequence* Scheduler::admit_next(int budget, int room) {
  if (waiting_.empty()) return nullptr;
  Sequence& sequence = *sequences_.at(waiting_.begin()->second);
  return may_begin(sequence, budget, room) && admit(sequence) ? &sequence : nullptr;
}

/// Moves a waiting sequence to running when a place, room for its slice and blocks for all its known rows, and one to
/// grow, are free. The blocks are taken at once, but for those of windows: a prompt under way never waits for others.
bool Scheduler::admit(Sequence& sequence) {
  if (n_running() >= options_.max_sequences) return false;
  const int n_rows = sequence.n_ready_rows();
  if (!room_.fits(slice_size(sequence, std::min(n_rows, options_.max_step_rows)))) return false;
  const std::int32_t wanted = std::min(blocks_for(n_rows) + 1, blocks_for(sequence.max_rows()));
  if (!windows_.may_claim(window_claim(sequence))) return false;
  PrefixMatch match = match_prefix(sequence);
  if (blocks_.n_free() - match.n_free < wanted - std::ssize(match.blocks)) return false;
  latest_.push_back(sequence.spec.id);  // from here on it is of this step, also where memory runs out
  take_prefix(sequence, std::move(match));
  CHECK(grow_table(sequence, n_rows));
  waiting_.erase(rank_of(sequence));
  const auto priority = [](const Sequence* running) { return running->spec.priority; };
  running_.insert(std::ranges::upper_bound(running_, sequence.spec.priority, {}, priority), &sequence);
  return true;
}

}  // namespace commissure
