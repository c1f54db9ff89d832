#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/ids.h"
#include "core/index.h"
#include "sched/prefix_index.h"
#include "sched/window_pool.h"
#include "step/sampling_params.h"
#include "step/step_batch.h"

namespace commissure {

/// What the scheduler is told of a request.
struct SequenceSpec {
  SequenceId id;                ///< never used before; ids rise in the order of arrival
  std::vector<TokenId> prompt;  ///< not empty
  int max_tokens = 0;           ///< tokens it may generate; 0 only scores the prompt
  int priority = 0;             ///< the lower, the earlier it runs and the later it is preempted
  SamplingParams params;
  bool score_prompt = false;             ///< rows of the prompt carry targets
  std::string cache_salt;                ///< blocks are shared only with sequences of the same salt
  AdapterUse adapter = {};               ///< in all its slices; blocks are shared only under the same one
  bool reuse_prefix = true;              ///< may begin with blocks that other sequences computed
  std::size_t most_mask_bytes = 0;       ///< of its slices that draw; the caller puts the mask into the step
  std::vector<PlacedImage> images = {};  ///< of the prompt, in rising order of position
};

/// The kept blocks of the beginning of a sequence that waits, as they were last looked up, so that each step looks up
/// only what is new.
struct FoundPrefix {
  std::vector<PrefixIndex::Entry> entries;
  std::uint64_t n_forgotten = 0;  ///< BlockManager::n_forgotten as of then
  /// Of these entries, those that were looked up among the blocks of the windows: the block, or kNotKept.
  std::vector<std::optional<BlockId>> beside = {};
  std::uint64_t n_changes = 0;                 ///< of the windows, PrefixIndex::n_changes as of then
  std::optional<int> n_usable = std::nullopt;  ///< entries that it may begin behind; none: not known

  static constexpr BlockId kNotKept = BlockId(-1);
};

/// One request's token log and how much of it the stages have. The log is all that is needed to compute the
/// sequence again, so preemption and recovery only reset `rows` and the block table.
struct Sequence {
  SequenceSpec spec;
  std::vector<TokenId> tokens;  ///< prompt, then what was generated and committed
  HandedRows rows;              ///< to all stages in this life; those taken from the prefix cache count as answered
  int n_cached = 0;             ///< rows that this life took from the prefix cache
  int n_scored = 0;             ///< prompt rows whose score has come back
  std::vector<BlockId> blocks;
  WindowTable window;                           ///< the blocks of layers with a sliding window
  int n_blocks_sent = 0;                        ///< block table entries the stages know
  int n_kept = 0;                               ///< first entries that are full and known to the prefix cache
  std::optional<PrefixId> prefix = PrefixId();  ///< the beginning that these entries hold; none: it was forgotten
  FoundPrefix found;                            ///< while it waits
  bool params_sent = false;
  /// Which life this is: a life ends when the sequence has to be computed again, and results of an earlier life are
  /// dropped.
  std::uint32_t life = 0;
  std::uint64_t last_step = 0;  ///< the last step with a row of this sequence
  bool was_known = false;       ///< in this life, when the chain broke
  int n_lost_slices = 0;        ///< of this life, in steps that failed since the chain was whole

  int n_to_rebuild = 0;      ///< first rows that some stages lost; those have to be computed there before any other
  HandedRows rebuilt;        ///< of them, to these stages
  WindowTable lost_windows;  ///< for these rows, blocks in place of those that fell behind the window since

  explicit Sequence(SequenceSpec from) : spec(std::move(from)), tokens(spec.prompt) {}

  int n_prompt() const { return count_of(spec.prompt); }
  bool only_scores() const { return spec.max_tokens == 0; }

  /// Rows that can be scheduled now: 0 while a sample is pending, 1 for decode, more for prefill. Scoring needs no row
  /// for the last prompt token, since nothing follows it.
  int n_ready_rows() const { return is_rebuilt() ? count_of(tokens) - rows.n_sent - (only_scores() ? 1 : 0) : 0; }

  /// Whether only decode rows are left, scheduled or pending.
  bool decodes() const { return rows.n_sent >= n_prompt() && n_ready_rows() <= 1 && is_rebuilt(); }

  /// Whether some stage may know it, perhaps from before a break.
  bool is_known() const { return n_blocks_sent > 0 || rebuilt.n_sent > 0 || was_known; }

  /// Whether every row that a stage lost is on its way to it, so that other rows may follow.
  bool is_rebuilt() const { return rebuilt.n_sent >= n_to_rebuild; }

  /// The most rows that have to be computed in one step; 1 without images whose rows see each other.
  int most_at_once() const {
    int most = 1;
    for (const PlacedImage& image : spec.images) {
      if (image.rows->see_each_other) most = std::max(most, image.rows->n_rows);
    }
    return most;
  }
  /// Behind its last image.
  int images_end() const { return spec.images.empty() ? 0 : spec.images.back().end(); }
  /// How many rows from `first` on, about `n` and at most `most`, one step may compute: of an image whose rows see each
  /// other all that are left, or none.
  int uncut(int first, int n, int most) const {
    for (const PlacedImage& image : spec.images) {
      if (n <= 0 || !image.rows->see_each_other || image.first_position >= first + n || image.end() <= first + n)
        continue;
      return image.end() - first <= most ? image.end() - first : std::max(0, image.first_position - first);
    }
    return n;
  }
  /// The images that some of these rows belong to, for a step.
  std::vector<SliceImage> images_of(RowSpan rows) const {
    std::vector<SliceImage> images;
    for (const PlacedImage& image : spec.images) {
      if (image.first_position < rows.end && image.end() > rows.first)
        images.push_back({image.first_position, image.rows->n_rows, image.rows->see_each_other, image.rows});
    }
    return images;
  }

  /// The most rows it can ever have: the last generated token needs no row.
  int max_rows() const { return std::max(1, n_prompt() + spec.max_tokens - 1); }
};

}  // namespace commissure
