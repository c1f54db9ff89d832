#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "core/ids.h"
#include "core/index.h"
#include "core/result.h"
#include "sched/block_manager.h"
#include "sched/prefill_pace.h"
#include "sched/sequence.h"
#include "sched/slot_policy.h"
#include "step/sampled_tokens.h"
#include "step/step_batch.h"
#include "step/step_room.h"

namespace commissure {

struct SchedulerOptions {
  int max_sequences = 16;   ///< running at once
  int max_step_rows = 512;  ///< rows of one step, prefill and decode together
  int decode_slots = 1;     ///< steps over which decode rows are spread, so that every stage has work
  int max_decode_slots =
      0;  ///< above decode_slots: the number of slots follows from the times given to commit (SlotPolicy)
  bool shares_cores = false;  ///< the stages take turns on the same cores
  /// Prefill rows a step may have while others decode: what a long prompt may add to their inter-token latency. 0: a
  /// quarter of max_step_rows, at least one block.
  int max_mixed_prefill_rows = 0;
  /// How many times as long a step with decode rows may take with prompt rows as without (PrefillPace); needs the times
  /// given to commit. 1 or less: only max_mixed_prefill_rows limits prompt rows.
  double max_slowdown = 0;
  /// Prompts that may be partly computed at a time. Beyond 1, a prompt that takes all of a step's prompt rows leaves a
  /// quarter of them to prompts with fewer rows left than it has, wherever these stand in the queue. 1: first come,
  /// first served.
  int max_partial_prefills = 4;
  /// What the slices of a step may add to its header (StepRoom); who finds no room there waits a step.
  std::size_t max_header_bytes = kMaxStepHeaderBytes;
  std::int32_t n_kv_blocks = 0;
  std::int32_t n_window_blocks = 0;  ///< blocks of the layers with a sliding window
  int window = 0;                    ///< positions that the widest window spans; 0: the model has no such layers
  int n_vocabulary = 0;              ///< sampled ids must be below
  bool prefix_cache = true;          ///< sequences share the full blocks of a common beginning
  /// Stages keep a recurrent state of every sequence. Nothing is shared then: blocks alone do not make a beginning.
  bool keeps_states = false;
};

/// What a committed step did for one sequence.
struct Progress {
  SequenceId sequence;
  std::optional<ScoredToken> sampled;  ///< the new token, already in the sequence's log
  bool no_choice = false;  ///< instead of `sampled`: every token was banned; the caller removes the sequence
  int n_cached = 0;        ///< prompt tokens that came from the prefix cache, not from steps
  int first_scored = 0;    ///< scored[i] is about prompt token first_scored + i + 1
  std::vector<ScoredToken> scored;
};

/// Decides which rows run in the next step. Decode rows come first, then prompt chunks of running sequences, then new
/// ones, as far as rows and blocks reach; among equals first come, first served, and a lower priority value goes before
/// a higher one. Several steps may be in flight: a sequence whose
/// sample is pending waits, the next chunk of a prompt follows at once. Pure: no thread, no clock, no input or output.
///
/// Layers with a sliding window have blocks of their own (WindowPool): of these a sequence holds as many as its window
/// and its rows in flight span, and a prompt whose next chunk finds no such block waits for the answers of its chunks
/// in flight.
///
/// A step also takes only as much into its header as a stage accepts: token lists and token logs that go with a slice
/// count, and a sequence whose slice finds no room waits for a step with room, as do those behind it.
///
/// Recovery: stages that lost their keys and values get the rows they had again, in rebuild steps (StepBatch), which
/// take turns with plain ones for the sequences that are through.
///
/// Recurrent states: of a sequence whose step came to nothing some stages have the state behind its slice, others the
/// one before it, and every stage goes on from either; with more slices than one in flight, a stage may have neither,
/// and the sequence is computed again from the log.
///
/// Images whose rows see each other are computed in one step each: a step takes more prompt rows than its share for
/// one, and where it has no room for all of them, none.
///
/// Prefix cache: a block whose rows are all answered is kept under the tokens that led to it, and a later sequence that
/// begins with them starts behind them. Rows are bit-stable, so it gets what it would have computed. Its last token is
/// always computed, and rows that others are still computing are computed again rather than waited for. Where there are
/// windows, it can only begin where the blocks of the last window are still kept.
/// Threading: one thread at a time.
class Scheduler {
 public:
  explicit Scheduler(const SchedulerOptions& options);

  /// Queues a sequence. Errors: kOutOfRange, its rows can never fit into the blocks, an image of it not into a step, or
  /// its token lists and tokens not into the header of any step; kInvalidArgument, it is only scored and ends with an
  /// image.
  Status add(SequenceSpec spec);

  /// Forgets a sequence in any state (finished, cancelled, failed); its blocks are free at once: steps run in order on
  /// every stage, so a later owner writes to them after this sequence's last row. Unknown ids are ignored.
  void remove(SequenceId sequence);

  /// The next step, or none when nothing can run now. It is in flight until commit, fail_step or restart.
  std::optional<StepBatch> next_step();

  /// Takes the result of the oldest step in flight; sequences that were removed or restarted since are left out.
  /// `took` is the time since that step was handed out; 0 when nobody measured.
  /// Errors: kDataLoss, the result does not fit the step; the step is still in flight, for fail_step.
  Result<std::vector<Progress>> commit(const SampledTokens& tokens, std::chrono::microseconds took = {});

  /// Drops the oldest step in flight, which failed. Returns the sequences that still wait for its result; the caller
  /// removes them.
  std::vector<SequenceId> fail_step();

  /// To be called when the stages forgot their sequences: no step is in flight any more. Call resume() before the next
  /// step.
  void suspend();

  /// Goes on after suspend(). All stages outside `lost` still have the rows of answered steps, so running sequences go
  /// on behind these rows. The stages in `lost` first get a sequence's rows again, in rebuild steps (StepBatch), and
  /// the prefix cache is empty. If the first stage is among them, no stage has rows to send again: then every running
  /// sequence waits to be computed again from its token log.
  void resume(StageSpan lost);

  /// Suspends, and resumes as if all stages had lost everything.
  void restart();

  /// Empties the prefix cache. Running sequences keep their blocks, but no later sequence finds them.
  void forget_prefixes() {
    blocks_.forget_prefixes();
    windows_.blocks().forget_prefixes();
  }

  bool has_work() const { return !sequences_.empty(); }
  bool is_running(SequenceId sequence) const;
  int n_running() const { return count_of(running_); }
  int n_waiting() const { return count_of(waiting_); }
  int n_in_flight() const { return count_of(in_flight_); }
  int decode_slots() const { return slots_.slots(); }
  std::uint64_t n_preemptions() const { return n_preemptions_; }
  /// Tokens of admitted sequences that were looked up in the prefix cache, and how many of them were found.
  std::uint64_t n_prefix_queries() const { return n_prefix_queries_; }
  std::uint64_t n_prefix_hits() const { return n_prefix_hits_; }
  /// The sequences of the step that was last planned or answered, also where memory ran out on the way. After that they
  /// are not what the stages believe: the caller removes them, and calls suspend().
  const std::vector<SequenceId>& latest() const { return latest_; }
  const BlockManager& blocks() const { return blocks_; }
  const WindowPool& windows() const { return windows_; }

 private:
  /// The order in which waiting sequences are admitted.
  using Rank = std::pair<int, SequenceId>;
  static Rank rank_of(const Sequence& sequence) { return {sequence.spec.priority, sequence.spec.id}; }

  struct ScheduledRows {
    SequenceId sequence;
    std::uint32_t life = 0;
    RowSpan rows;
    bool sample = false;
    int n_targets = 0;
  };
  struct ScheduledStep {
    StepId step;
    std::vector<ScheduledRows> slices;
    std::vector<SequenceId> released;
    int n_decoding = 0;  ///< sequences that decode, this step's and those of other slots; 0: it has no decode rows
    int n_prompt_rows = 0;
    int n_prompt_rows_in_flight = 0;  ///< with those ahead of it
    bool is_rebuild = false;          ///< the rows were answered before
    bool is_timed = true;             ///< what it takes says something; not so behind rebuild steps
  };

  /// Blocks for the beginning of a sequence.
  struct PrefixMatch {
    std::vector<BlockId> blocks;
    std::vector<BlockId> window;  ///< the last entries, as many as the rows behind it see
    PrefixId last;
    std::int32_t n_free = 0;  ///< of the blocks, those that nobody holds
  };

  /// A prompt that may go before the oldest one.
  struct Newcomer {
    int n_left = 0;  ///< rows
    Sequence* sequence = nullptr;
    bool is_next = false;  ///< it passes nobody who waits, but for those whose beginning is being computed
  };

  bool may_reuse(const Sequence& sequence) const;
  int find_prefix(Sequence& sequence);
  void note_windows(FoundPrefix& found) const;
  bool has_window(const Sequence& sequence, FoundPrefix& found, int entry) const;
  int n_usable(Sequence& sequence);
  PrefixMatch match_prefix(Sequence& sequence);
  bool is_being_computed(const Sequence& sequence, int next) const;
  void take_prefix(Sequence& sequence, PrefixMatch match);
  int window_claim(const Sequence& sequence) const;
  void keep_blocks(Sequence& sequence);

  std::optional<StepBatch> next_plain_step();
  std::optional<StepBatch> next_rebuild_step();
  bool take_lost_windows(Sequence& sequence);
  int rebuild_limit(const Sequence& sequence) const;
  void add_rebuild_slice(StepBatch& batch, Sequence& sequence, int n_rows);
  void commit_rebuild(const ScheduledStep& step);
  void resume_sequence(Sequence& sequence);

  int n_decoding() const;
  int n_decode_steps() const;
  std::vector<Sequence*> choose_decodes() const;
  void schedule_decodes(StepBatch& batch);

  int prefill_budget(int n_decode_rows) const;
  void schedule_prefills(StepBatch& batch, bool may_admit);
  int n_prefill_rows(const Sequence& sequence, int budget, int room) const;
  bool schedule_rows(StepBatch& batch, Sequence& sequence, int n_rows);
  int schedule_newcomers(StepBatch& batch, const Sequence& oldest, int share, bool may_admit);
  std::vector<Newcomer> newcomers(const Sequence& oldest, bool may_admit);
  bool may_begin(Sequence& sequence, int budget, int room);
  Sequence* admit_next(int budget, int room);
  bool admit(Sequence& sequence);
  SliceSize slice_size(const Sequence& sequence, int n_rows) const;

  bool grow_table(Sequence& sequence, int n_rows);
  void preempt_last();
  void send_back(Sequence& sequence);
  void begin_step(StepBatch& batch);
  void add_slice(StepBatch& batch, Sequence& sequence, int n_rows);
  void note_in_flight(const StepBatch& batch, int n_decoding, int n_decode_rows);
  Status check_result(const ScheduledStep& step, const SampledTokens& tokens) const;
  Status check_token(const ScoredToken& token) const;
  Sequence* find(const ScheduledRows& rows);

  const SchedulerOptions options_;
  BlockManager blocks_;
  WindowPool windows_;
  PrefillPace pace_;
  SlotPolicy slots_;
  StepRoom room_;  // of the step that is being planned
  std::vector<SequenceId> latest_;
  std::map<SequenceId, std::unique_ptr<Sequence>> sequences_;
  std::set<Rank> waiting_;
  std::vector<Sequence*> running_;  // by priority, then in order of admission: the last is the first to be preempted
  std::vector<SequenceId> released_;
  std::deque<ScheduledStep> in_flight_;
  StageSpan lost_;             // stages that rows of rebuild steps are for
  bool rebuilt_last_ = false;  // the newest step was one of those
  StepId next_step_;
  std::uint64_t n_preemptions_ = 0;
  std::uint64_t n_prefix_queries_ = 0;
  std::uint64_t n_prefix_hits_ = 0;
};

}  // namespace commissure
