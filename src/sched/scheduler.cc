#include "sched/scheduler.h"

#include <algorithm>
#include <utility>

#include "core/check.h"

namespace commissure {

namespace {

SchedulerOptions normalised(SchedulerOptions options) {
  options.max_sequences = std::max(1, options.max_sequences);
  options.max_step_rows = std::max(1, options.max_step_rows);
  options.decode_slots = std::max(1, options.decode_slots);
  if (options.max_mixed_prefill_rows <= 0) {
    options.max_mixed_prefill_rows = std::max(kBlockPositions, options.max_step_rows / 4);
  }
  return options;
}

}  // namespace

Scheduler::Scheduler(const SchedulerOptions& options)
    : options_(normalised(options)),
      blocks_(options.n_kv_blocks),
      windows_(options.window, options.n_window_blocks),
      pace_(options.max_slowdown),
      slots_({options_.decode_slots, options_.max_decode_slots, options_.shares_cores}) {}

Status Scheduler::add(SequenceSpec spec) {
  const SequenceId id = spec.id;
  auto sequence = std::make_unique<Sequence>(std::move(spec));
  CHECK(sequence->n_ready_rows() > 0);
  CHECK(!sequences_.contains(id));
  if (blocks_for(sequence->max_rows()) > blocks_.n_blocks()) {
    return Error(Code::kOutOfRange, "sequence ", id.value, " may need ", blocks_for(sequence->max_rows()),
                 " KV blocks of ", kBlockPositions, " positions, the stages have ", blocks_.n_blocks(),
                 ": ask for fewer tokens");
  }
  if (const int needed = windows_.n_needed(sequence->max_rows()); !windows_.fits(needed)) {
    return Error(Code::kOutOfRange, "sequence ", id.value, " may need ", needed,
                 " KV blocks for its window, the stages have ", windows_.blocks().n_blocks(), ": ask for fewer tokens");
  }
  waiting_.insert(rank_of(*sequence));
  sequences_.emplace(id, std::move(sequence));
  return {};
}

void Scheduler::remove(SequenceId id) {
  const auto it = sequences_.find(id);
  if (it == sequences_.end()) return;
  blocks_.release_all(it->second->blocks);
  windows_.end(it->second->window);
  windows_.end(it->second->lost_windows);
  if (it->second->is_known()) released_.push_back(id);
  std::erase(running_, it->second.get());
  waiting_.erase(rank_of(*it->second));
  sequences_.erase(it);
}

bool Scheduler::is_running(SequenceId id) const {
  const auto it = sequences_.find(id);
  return it != sequences_.end() && !waiting_.contains(rank_of(*it->second));
}

std::optional<StepBatch> Scheduler::next_step() {
  std::optional<StepBatch> batch;
  if (!rebuilt_last_) batch = next_rebuild_step();
  if (!batch) batch = next_plain_step();
  if (!batch && rebuilt_last_) {
    batch = next_rebuild_step();
    if (!batch) batch = next_plain_step();  // of one that was sent back just now
  }
  rebuilt_last_ = batch && batch->is_rebuild();
  return batch;
}

std::optional<StepBatch> Scheduler::next_plain_step() {
  StepBatch batch;
  batch.step = next_step_;
  bool preempted = false;
  int n_decode_rows = 0;
  const int n_before = n_decoding();
  do {
    const std::uint64_t before = n_preemptions_;
    schedule_decodes(batch);
    n_decode_rows = batch.n_rows();
    preempted = n_preemptions_ != before;
    schedule_prefills(batch, !preempted);
  } while (batch.slices.empty() && preempted);  // all chosen ones lost their blocks: those go to others
  if (batch.slices.empty()) return std::nullopt;
  batch.released = std::exchange(released_, {});
  next_step_ = next_step_.next();
  note_in_flight(batch, n_before, n_decode_rows);
  return batch;
}

int Scheduler::n_decoding() const {
  return static_cast<int>(std::ranges::count_if(running_, [](const Sequence* s) { return s->decodes(); }));
}

/// In flight.
int Scheduler::n_decode_steps() const {
  return static_cast<int>(
      std::ranges::count_if(in_flight_, [](const ScheduledStep& step) { return step.n_decoding > 0; }));
}

/// The sequences that decode in the next step, in the order of running_. Those that waited longest come first when
/// the slot is too small for all, so nobody starves while sequences join and leave.
std::vector<Sequence*> Scheduler::choose_decodes() const {
  if (n_decode_steps() >= decode_slots()) return {};  // or batches that parted would never meet again
  std::vector<std::size_t> ready;
  for (std::size_t i = 0; i < running_.size(); ++i) {
    if (running_[i]->decodes() && running_[i]->n_ready_rows() == 1) ready.push_back(i);
  }
  const int per_slot = (n_decoding() + decode_slots() - 1) / decode_slots();
  const auto n = static_cast<std::size_t>(std::min(per_slot, options_.max_step_rows));
  if (ready.size() > n) {
    std::ranges::stable_sort(ready, {}, [&](std::size_t i) { return running_[i]->last_step; });
    ready.resize(n);
    std::ranges::sort(ready);
  }
  std::vector<Sequence*> chosen;
  chosen.reserve(ready.size());
  for (const std::size_t i : ready) chosen.push_back(running_[i]);
  return chosen;
}

void Scheduler::schedule_decodes(StepBatch& batch) {
  std::vector<Sequence*> chosen = choose_decodes();
  // Blocks first, in order: a victim always comes after the sequence that needs the block, or is that sequence itself,
  // so the first always gets on and the whole never stands still.
  for (Sequence* sequence : chosen) {
    const int n_rows = sequence->rows.n_sent + 1;
    while (!waiting_.contains(rank_of(*sequence)) &&
           !(grow_table(*sequence, n_rows) && windows_.grow(sequence->window, n_rows))) {
      preempt_last();
    }
  }
  for (Sequence* sequence : chosen) {
    if (!waiting_.contains(rank_of(*sequence))) add_slice(batch, *sequence, 1);
  }
}

int Scheduler::prefill_budget(int n_decode_rows) const {
  const int room = options_.max_step_rows - n_decode_rows;
  const int n_others = n_decoding();
  if (n_others == 0) return room;
  const int n_prompts = n_running() - n_others + std::min(n_waiting(), options_.max_sequences - n_running());
  const int paced = pace_.rows(n_others, n_prompts);
  const int per_slot = paced == 0 ? 0 : std::max(PrefillPace::kMinRows, paced / decode_slots());
  return std::min({room, options_.max_mixed_prefill_rows, per_slot});
}

/// `may_admit`: not while somebody was preempted just now, who would only take the block back that another needed.
void Scheduler::schedule_prefills(StepBatch& batch, bool may_admit) {
  int budget = prefill_budget(batch.n_rows());
  for (std::size_t i = 0; budget > 0; ++i) {
    const bool is_new = i >= running_.size();
    Sequence* const next = !is_new ? running_[i] : may_admit ? admit_next() : nullptr;
    if (next == nullptr) break;
    Sequence& sequence = *next;
    const int n_rows =
        std::min({budget, sequence.n_ready_rows(), windows_.limit(sequence.window) - sequence.rows.n_sent});
    // One that begins behind cached rows may have only its last one left, as a decode would.
    if (n_rows == 0 || (sequence.decodes() && !is_new)) continue;
    CHECK(windows_.grow(sequence.window, sequence.rows.next(n_rows).end));
    add_slice(batch, sequence, n_rows);
    budget -= n_rows;
  }
}

/// Moves the first waiting sequence to running when a place and blocks for all its known rows, and one to grow, are
/// free. The blocks are taken at once, but for those of windows: a prompt under way never waits for others. Null:
/// nothing was admitted.
Sequence* Scheduler::admit_next() {
  if (waiting_.empty() || n_running() >= options_.max_sequences) return nullptr;
  Sequence& sequence = *sequences_.at(waiting_.begin()->second);
  const int n_rows = sequence.n_ready_rows();
  const std::int32_t wanted = std::min(blocks_for(n_rows) + 1, blocks_for(sequence.max_rows()));
  PrefixMatch match = match_prefix(sequence);
  if (blocks_.n_free() - match.n_free < wanted - std::ssize(match.blocks)) return nullptr;
  if (!windows_.may_claim(window_claim(sequence))) return nullptr;
  take_prefix(sequence, std::move(match));
  CHECK(grow_table(sequence, n_rows));
  waiting_.erase(waiting_.begin());
  const auto priority = [](const Sequence* running) { return running->spec.priority; };
  running_.insert(std::ranges::upper_bound(running_, sequence.spec.priority, {}, priority), &sequence);
  return &sequence;
}

/// Makes the block table cover rows [0, n_rows). On false the table holds what could be had.
bool Scheduler::grow_table(Sequence& sequence, int n_rows) {
  const auto wanted = static_cast<std::size_t>(blocks_for(n_rows));
  while (sequence.blocks.size() < wanted) {
    const std::optional<BlockId> block = blocks_.allocate();
    if (!block) return false;
    sequence.blocks.push_back(*block);
  }
  return true;
}

/// The youngest of those that matter least.
void Scheduler::preempt_last() {
  CHECK(!running_.empty());
  Sequence& victim = *running_.back();
  running_.pop_back();
  send_back(victim);
  ++n_preemptions_;
}

/// To the waiting sequences, to be computed again from the log under a new life.
void Scheduler::send_back(Sequence& sequence) {
  blocks_.release_all(sequence.blocks);
  windows_.end(sequence.window);
  windows_.end(sequence.lost_windows);
  if (sequence.is_known()) released_.push_back(sequence.spec.id);
  sequence.n_to_rebuild = 0;
  sequence.rebuilt.forget();
  sequence.rows.forget();
  sequence.blocks.clear();
  sequence.n_blocks_sent = 0;
  sequence.n_cached = 0;
  sequence.n_kept = 0;
  sequence.prefix = PrefixId();
  sequence.params_sent = false;
  ++sequence.life;
  waiting_.insert(rank_of(sequence));
}

void Scheduler::add_slice(StepBatch& batch, Sequence& sequence, int n_rows) {
  SequenceRows& slice = batch.slices.emplace_back();
  const RowSpan rows = sequence.rows.next(n_rows);
  const auto [first, end] = rows;
  const int n_tokens = static_cast<int>(sequence.tokens.size());
  slice.sequence = sequence.spec.id;
  slice.first_position = first;
  slice.tokens.assign(sequence.tokens.begin() + first, sequence.tokens.begin() + end);
  slice.table_start = sequence.n_blocks_sent;
  slice.new_blocks.assign(sequence.blocks.begin() + sequence.n_blocks_sent, sequence.blocks.end());
  WindowTable& window = sequence.window;
  slice.window_start = std::max(window.n_sent, window.first);
  slice.new_window_blocks.assign(window.blocks.begin() + slice.window_start, window.blocks.end());
  window.n_sent = window.n_entries();
  if (!sequence.params_sent) {
    slice.params = sequence.spec.params;
    if (needs_history(*slice.params)) slice.history.assign(sequence.tokens.begin(), sequence.tokens.begin() + first);
  }
  slice.sample = !sequence.only_scores() && end == n_tokens;
  if (sequence.spec.score_prompt && end > sequence.n_scored && first < sequence.n_prompt() - 1) {
    // Targets come one per row; a last row that nothing follows yet gets a stand-in, whose score commit drops.
    for (int p = first; p < end; ++p)
      slice.targets.push_back(sequence.tokens[static_cast<std::size_t>(std::min(p + 1, n_tokens - 1))]);
  }
  sequence.rows.send(rows);
  sequence.n_blocks_sent = static_cast<int>(sequence.blocks.size());
  sequence.params_sent = true;
  sequence.last_step = batch.step.value;
}

void Scheduler::note_in_flight(const StepBatch& batch, int n_decoding, int n_decode_rows) {
  ScheduledStep& step = in_flight_.emplace_back();
  step.step = batch.step;
  step.n_decoding = n_decode_rows > 0 ? n_decoding : 0;
  step.n_prompt_rows = batch.n_rows() - n_decode_rows;
  for (const ScheduledStep& ahead : in_flight_) {
    step.n_prompt_rows_in_flight += ahead.n_prompt_rows;
    if (ahead.is_rebuild) step.is_timed = false;
  }
  step.released = batch.released;
  step.is_rebuild = batch.is_rebuild();
  step.slices.reserve(batch.slices.size());
  for (const SequenceRows& slice : batch.slices) {
    step.slices.push_back({slice.sequence, sequences_.at(slice.sequence)->life, slice.rows(), slice.sample,
                           static_cast<int>(slice.targets.size())});
  }
}

}  // namespace commissure
