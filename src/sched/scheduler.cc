#include "sched/scheduler.h"

#include <algorithm>
#include <utility>

#include "core/check.h"
#include "core/index.h"

namespace commissure {

namespace {

SchedulerOptions normalised(SchedulerOptions options) {
  options.max_sequences = std::max(1, options.max_sequences);
  options.max_step_rows = std::max(1, options.max_step_rows);
  options.decode_slots = std::max(1, options.decode_slots);
  options.prefix_cache = options.prefix_cache && !options.keeps_states;
  options.max_partial_prefills = std::max(1, options.max_partial_prefills);
  if (options.max_mixed_prefill_rows <= 0) {
    options.max_mixed_prefill_rows = std::max(kBlockPositions, options.max_step_rows / 4);
  }
  return options;
}

/// The most that a slice of this sequence can ever bring into a header, as after the chain broke.
SliceSize largest_slice(const Sequence& sequence, int max_step_rows) {
  const SamplingParams& params = sequence.spec.params;
  const int n_rows = std::min(max_step_rows, sequence.max_rows());
  return {.n_rows = n_rows,
          .n_targets = sequence.spec.score_prompt ? n_rows : 0,
          .n_blocks = 2 * (blocks_for(sequence.max_rows()) + 2),
          .n_history = needs_history(params) ? sequence.max_rows() + 1 : 0,
          .n_images = count_of(sequence.spec.images),
          .n_mask_bytes = sequence.spec.most_mask_bytes,
          .params = &params};
}

}  // namespace

Scheduler::Scheduler(const SchedulerOptions& options)
    : options_(normalised(options)),
      blocks_(options.n_kv_blocks),
      windows_(options.window, options.n_window_blocks),
      pace_(options.max_slowdown),
      slots_({options_.decode_slots, options_.max_decode_slots, options_.shares_cores}) {
  running_.reserve(to_size(options_.max_sequences));
  latest_.reserve(3 * to_size(options_.max_sequences));  // each admitted, preempted and given a slice at most
}

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
  if (const int n = sequence->n_prompt() - 1; sequence->only_scores() && sequence->uncut(0, n, n) != n) {
    return Error(
        Code::kInvalidArgument, "sequence ", id.value,
        " is only scored, and its last token belongs to an image, whose rows come together: let a text follow");
  }
  if (const int n_most = options_.max_step_rows - options_.max_sequences;
      sequence->most_at_once() > std::max(1, n_most)) {
    return Error(Code::kOutOfRange, "sequence ", id.value, " has an image of ", sequence->most_at_once(),
                 " rows, which one step has to compute; a step has ", options_.max_step_rows, " rows, of which ",
                 options_.max_sequences,
                 " may be other sequences' next tokens: give stage A a larger "
                 "--max-num-batched-tokens or fewer --max-num-seqs");
  }
  if (const int needed = windows_.n_needed(sequence->max_rows(), sequence->most_at_once()); !windows_.fits(needed)) {
    return Error(Code::kOutOfRange, "sequence ", id.value, " may need ", needed,
                 " KV blocks for its window, the stages have ", windows_.blocks().n_blocks(), ": ask for fewer tokens");
  }
  if (const std::size_t needed = StepRoom::bytes_alone(largest_slice(*sequence, options_.max_step_rows));
      needed > StepRoom(options_.max_header_bytes).n_bytes()) {
    return Error(Code::kOutOfRange, "sequence ", id.value, " may need ", needed,
                 " bytes in the header of a step for its token lists and its tokens, which has room for ",
                 StepRoom(options_.max_header_bytes).n_bytes(), ": use shorter lists or fewer tokens");
  }
  // Room for every id that remove() and send_back() may note, so that neither fails for want of memory.
  if (const std::size_t most = released_.size() + sequences_.size() + 1; released_.capacity() < most) {
    released_.reserve(2 * most);
  }
  const Rank rank = rank_of(*sequence);
  sequences_.emplace(id, std::move(sequence));
  waiting_.insert(rank);
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
  latest_.clear();
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
  begin_step(batch);
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
  batch.released = released_;
  next_step_ = next_step_.next();
  note_in_flight(batch, n_before, n_decode_rows);
  released_.clear();
  return batch;
}

void Scheduler::begin_step(StepBatch& batch) {
  batch.step = next_step_;
  room_ = StepRoom(options_.max_header_bytes);
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
  const std::size_t n = to_size(std::min(per_slot, options_.max_step_rows));
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
    if (waiting_.contains(rank_of(*sequence))) continue;
    if (!room_.fits(slice_size(*sequence, 1))) break;  // the stages lack its parameters and tokens: the next step
    add_slice(batch, *sequence, 1);
  }
}

/// Makes the block table cover rows [0, n_rows). On false the table holds what could be had.
bool Scheduler::grow_table(Sequence& sequence, int n_rows) {
  const std::size_t wanted = to_size(blocks_for(n_rows));
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
  latest_.push_back(sequence.spec.id);
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
  sequence.n_lost_slices = 0;
  sequence.was_known = false;
  ++sequence.life;
  waiting_.insert(rank_of(sequence));
}

void Scheduler::add_slice(StepBatch& batch, Sequence& sequence, int n_rows) {
  latest_.push_back(sequence.spec.id);
  room_.take(slice_size(sequence, n_rows));
  SequenceRows& slice = batch.slices.emplace_back();
  const RowSpan rows = sequence.rows.next(n_rows);
  const auto [first, end] = rows;
  const int n_tokens = count_of(sequence.tokens);
  slice.sequence = sequence.spec.id;
  slice.first_position = first;
  slice.tokens.assign(sequence.tokens.begin() + first, sequence.tokens.begin() + end);
  slice.images = sequence.images_of(rows);
  slice.adapter = sequence.spec.adapter;
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
    for (int p = first; p < end; ++p) slice.targets.push_back(sequence.tokens[std::min(p + 1, n_tokens - 1)]);
  }
  sequence.rows.send(rows);
  sequence.n_blocks_sent = count_of(sequence.blocks);
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
    step.slices.push_back(
        {slice.sequence, sequences_.at(slice.sequence)->life, slice.rows(), slice.sample, count_of(slice.targets)});
  }
}

}  // namespace commissure
