#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <random>
#include <set>

#include "support/scheduler_test_support.h"

namespace commissure {
namespace {

/// Prompts of one `seed` begin alike, however long they are.
SequenceSpec spec(std::uint64_t id, int n_prompt, int max_tokens = 8, int seed = 1) {
  SequenceSpec made = sequence(id, 0, max_tokens);
  for (int i = 0; i < n_prompt; ++i) made.prompt.emplace_back((seed * 101 + i * i) % 997);
  return made;
}

/// Adds it and runs its first step.
StepBatch begin(Scheduler& scheduler, SequenceSpec made) {
  EXPECT_TRUE(scheduler.add(std::move(made)).has_value());
  return next(scheduler);
}

void finish_step(Scheduler& scheduler, const StepBatch& batch, int token = 7) {
  ASSERT_TRUE(scheduler.commit(answer(batch, token)).has_value());
}

/// Computes a whole prompt and forgets the sequence.
std::vector<BlockId> compute(Scheduler& scheduler, SequenceSpec made) {
  const SequenceId id = made.id;
  const StepBatch batch = begin(scheduler, std::move(made));
  finish_step(scheduler, batch);
  scheduler.remove(id);
  return batch.slices.front().new_blocks;
}

TEST(PrefixCache, ASequenceBeginsBehindTheFullBlocksThatAnEarlierOneLeft) {
  Scheduler scheduler(options(512, 16));
  const std::vector<BlockId> blocks = compute(scheduler, spec(1, 200));
  EXPECT_EQ(scheduler.blocks().n_free(), 16);
  const StepBatch batch = begin(scheduler, spec(2, 220));
  EXPECT_EQ(describe(batch), "2@192+28*");
  const SequenceRows& slice = batch.slices.front();
  EXPECT_EQ(slice.table_start, 0);
  ASSERT_EQ(slice.new_blocks.size(), 4u);
  EXPECT_TRUE(std::equal(blocks.begin(), blocks.begin() + 3, slice.new_blocks.begin()));
  EXPECT_TRUE(slice.params.has_value());
  const auto progress = scheduler.commit(answer(batch));
  ASSERT_TRUE(progress.has_value());
  EXPECT_EQ(progress->front().n_cached, 192);
  EXPECT_EQ(scheduler.n_prefix_queries(), 420u);
  EXPECT_EQ(scheduler.n_prefix_hits(), 192u);
}

TEST(PrefixCache, SharesBlocksOfARunningSequence) {
  Scheduler scheduler(options(512, 8));
  finish_step(scheduler, begin(scheduler, spec(1, 130)));
  ASSERT_TRUE(scheduler.add(spec(2, 140)).has_value());
  const StepBatch batch = next(scheduler);
  EXPECT_EQ(describe(batch), "1@130+1* 2@128+12*");
  EXPECT_EQ(scheduler.blocks().n_free(), 8 - 4);
  EXPECT_EQ(scheduler.blocks().n_references(batch.slices[1].new_blocks[0]), 2);
  scheduler.remove(SequenceId(1));
  EXPECT_EQ(scheduler.blocks().n_free(), 8 - 3);
  scheduler.remove(SequenceId(2));
  EXPECT_EQ(scheduler.blocks().n_free(), 8);
}

TEST(PrefixCache, ABeginningInCommonIsShared) {
  Scheduler scheduler(options(512, 16));
  compute(scheduler, spec(1, 300));
  SequenceSpec other = spec(2, 300);
  other.prompt[130] = TokenId(998);
  EXPECT_EQ(describe(begin(scheduler, other)), "2@128+172*");
  SequenceSpec third = spec(3, 300);
  third.prompt[0] = TokenId(998);
  scheduler.remove(SequenceId(2));
  ASSERT_TRUE(scheduler.add(third).has_value());
  EXPECT_EQ(describe(next(scheduler)), "3@0+300*");
}

TEST(PrefixCache, AlwaysComputesTheLastToken) {
  Scheduler scheduler(options(512, 16));
  compute(scheduler, spec(1, 200));
  EXPECT_EQ(describe(begin(scheduler, spec(2, 128))), "2@64+64*");
  scheduler.remove(SequenceId(2));
  EXPECT_EQ(describe(begin(scheduler, spec(3, 129))), "3@128+1*");
  scheduler.remove(SequenceId(3));
  EXPECT_EQ(describe(begin(scheduler, spec(4, 64))), "4@0+64*");
}

TEST(PrefixCache, KeepsWhatWasGenerated) {
  Scheduler scheduler(options(512, 16));
  finish_step(scheduler, begin(scheduler, spec(1, 60, 70)));
  for (int i = 0; i < 5; ++i) finish_step(scheduler, next(scheduler));
  scheduler.remove(SequenceId(1));
  SequenceSpec following = spec(2, 60);
  following.prompt.insert(following.prompt.end(), 10, TokenId(7));
  EXPECT_EQ(describe(begin(scheduler, following)), "2@64+6*");
}

TEST(PrefixCache, ASaltPartsTheSame) {
  Scheduler scheduler(options(512, 16));
  const auto salted = [](std::uint64_t id, std::string salt) {
    SequenceSpec made = spec(id, 200);
    made.cache_salt = std::move(salt);
    return made;
  };
  compute(scheduler, salted(1, "a"));
  EXPECT_EQ(describe(begin(scheduler, salted(2, "b"))), "2@0+200*");
  scheduler.remove(SequenceId(2));
  EXPECT_EQ(describe(begin(scheduler, salted(3, ""))), "3@0+200*");
  scheduler.remove(SequenceId(3));
  EXPECT_EQ(describe(begin(scheduler, salted(4, "a"))), "4@192+8*");
}

TEST(PrefixCache, AnAdapterPartsTheSame) {
  Scheduler scheduler(options(512, 16));
  const auto adapted = [](std::uint64_t id, AdapterUse adapter, std::string salt = "") {
    SequenceSpec made = spec(id, 200);
    made.adapter = adapter;
    made.cache_salt = std::move(salt);
    return made;
  };
  const AdapterUse one{AdapterId(0x31), 1.0f};
  compute(scheduler, adapted(1, one));
  // Other adapters, another scale, the base model, and salts that read like an adapter.
  const std::string forged[] = {"00000000000000313f800000", "0000000000000031", "1"};
  std::uint64_t id = 2;
  std::vector<SequenceSpec> others = {adapted(id++, {AdapterId(0x32), 1.0f}), adapted(id++, {one.id, 0.5f}),
                                      adapted(id++, {})};
  for (const std::string& salt : forged) others.push_back(adapted(id++, {}, salt));
  for (const SequenceSpec& other : others) {
    EXPECT_EQ(describe(begin(scheduler, other)), fmt::format("{}@0+200*", other.id.value));
    scheduler.remove(other.id);
  }
  const StepBatch again = begin(scheduler, adapted(id, one));
  EXPECT_EQ(describe(again), fmt::format("{}@192+8*", id));
  EXPECT_EQ(again.slices[0].adapter, one);
}

TEST(PrefixCache, ScoredPromptsAndThoseThatAskForItAreComputed) {
  Scheduler scheduler(options(512, 16));
  compute(scheduler, spec(1, 200));
  SequenceSpec scored = spec(2, 200);
  scored.score_prompt = true;
  EXPECT_EQ(describe(begin(scheduler, scored)), "2@0+200*");
  scheduler.remove(SequenceId(2));
  SequenceSpec traced = spec(3, 200);
  traced.reuse_prefix = false;
  EXPECT_EQ(describe(begin(scheduler, traced)), "3@0+200*");
  EXPECT_EQ(scheduler.n_prefix_queries(), 200u);
}

TEST(PrefixCache, OffMeansOff) {
  SchedulerOptions off = options(512, 16);
  off.prefix_cache = false;
  Scheduler scheduler(off);
  compute(scheduler, spec(1, 200));
  EXPECT_EQ(scheduler.blocks().n_kept(), 0);
  EXPECT_EQ(describe(begin(scheduler, spec(2, 200))), "2@0+200*");
}

TEST(PrefixCache, NothingIsKnownBeforeItsStepIsAnswered) {
  Scheduler scheduler(options(512, 16));
  const StepBatch first = begin(scheduler, spec(1, 200));
  const StepBatch second = begin(scheduler, spec(2, 100));
  EXPECT_EQ(describe(second), "2@0+100*");
  finish_step(scheduler, first);
  finish_step(scheduler, second);  // the same beginnings again: the first stay
  EXPECT_EQ(scheduler.blocks().n_kept(), 3);
}

TEST(PrefixCache, AFailedStepLeavesNothingBehind) {
  Scheduler scheduler(options(128, 16));
  const StepBatch first = begin(scheduler, spec(1, 250));
  next(scheduler);
  finish_step(scheduler, first);
  ASSERT_EQ(scheduler.fail_step(), std::vector<SequenceId>{SequenceId(1)});
  scheduler.remove(SequenceId(1));
  EXPECT_EQ(scheduler.blocks().n_kept(), 2);
  EXPECT_EQ(describe(begin(scheduler, spec(2, 250))), "2@128+122*");
}

TEST(PrefixCache, RestartForgetsAll) {
  Scheduler scheduler(options(512, 16));
  compute(scheduler, spec(1, 200));
  finish_step(scheduler, begin(scheduler, spec(2, 200)));
  scheduler.restart();
  EXPECT_EQ(scheduler.blocks().n_kept(), 0);
  EXPECT_EQ(scheduler.blocks().n_free(), 16);
  EXPECT_EQ(describe(next(scheduler)), "2@0+201*");
}

TEST(PrefixCache, ForgettingLeavesRunningSequencesAlone) {
  Scheduler scheduler(options(512, 16));
  finish_step(scheduler, begin(scheduler, spec(1, 127, 80)));
  scheduler.forget_prefixes();
  for (int i = 0; i < 70; ++i) finish_step(scheduler, next(scheduler));
  EXPECT_EQ(scheduler.blocks().n_kept(), 0) << "nobody could find what follows a forgotten beginning";
  scheduler.remove(SequenceId(1));
  EXPECT_EQ(describe(begin(scheduler, spec(2, 127))), "2@0+127*");
}

TEST(PrefixCache, APreemptedSequenceFindsItsOwnBlocks) {
  Scheduler scheduler(options(256, 5));
  finish_step(scheduler, begin(scheduler, spec(1, 126, 100, 1)));
  ASSERT_TRUE(scheduler.add(spec(2, 126, 100, 2)).has_value());
  StepBatch batch;
  while (scheduler.n_preemptions() == 0) {
    batch = next(scheduler);
    finish_step(scheduler, batch);
  }
  scheduler.remove(SequenceId(1));
  batch = next(scheduler);
  EXPECT_EQ(batch.slices.front().sequence, SequenceId(2));
  EXPECT_GE(batch.slices.front().first_position, 64);
  EXPECT_TRUE(batch.slices.front().params.has_value());
  EXPECT_TRUE(batch.slices.front().sample);
}

TEST(PrefixCache, ALoneRowBehindCachedOnesRunsAtOnce) {
  Scheduler scheduler(options(512, 3, 2));
  finish_step(scheduler, begin(scheduler, spec(1, 120, 60)));
  for (int i = 0; i < 8; ++i) finish_step(scheduler, next(scheduler));  // 128 rows in two full blocks
  scheduler.restart();                                                  // forgets the prefix, so compute it once more
  finish_step(scheduler, next(scheduler));
  SequenceSpec same = spec(2, 120, 60);
  same.prompt.insert(same.prompt.end(), 9, TokenId(7));
  scheduler.remove(SequenceId(1));
  EXPECT_EQ(describe(begin(scheduler, same)), "2@128+1*");
}

TEST(PrefixCache, BringsTheTokensThatSamplersLookBackOn) {
  Scheduler scheduler(options(512, 16));
  compute(scheduler, spec(1, 200));
  SequenceSpec repeated = spec(2, 200);
  repeated.params.repetition_penalty = 1.2f;
  const StepBatch batch = begin(scheduler, repeated);
  EXPECT_EQ(describe(batch), "2@192+8*");
  EXPECT_TRUE(std::ranges::equal(batch.slices.front().history, std::span(repeated.prompt).first(192)));
}

TEST(PrefixCache, GivesUpTheLeastRecentlyUsedEndsFirst) {
  Scheduler scheduler(options(512, 8));
  compute(scheduler, spec(1, 200, 1, 1));
  compute(scheduler, spec(2, 200, 1, 2));
  compute(scheduler, spec(3, 129, 1, 1));  // the first two blocks of 1 are used again; all 8 blocks: 6 kept, 2 plain
  compute(scheduler, spec(4, 180, 1, 4));  // three more: the two plain ones and the end of 1
  EXPECT_EQ(describe(begin(scheduler, spec(5, 200, 1, 1))), "5@128+72*");
  scheduler.remove(SequenceId(5));
  EXPECT_EQ(describe(begin(scheduler, spec(6, 129, 1, 2))), "6@128+1*");
}

/// The KV blocks of one kind that a stage would have, as the tokens that were written, and the sequences' tables.
class PoolModel {
 public:
  /// `window`: positions that a row sees, itself included; 0: all before it.
  PoolModel(std::int32_t n_blocks, int window)
      : window_(window), cells_(static_cast<std::size_t>(n_blocks) * kBlockPositions, -1) {}

  void release(SequenceId id) { tables_.erase(id); }
  void change(SequenceId id, bool is_new, std::int32_t start, const std::vector<BlockId>& blocks) {
    std::vector<BlockId>& table = tables_[id];
    if (is_new) table.assign(static_cast<std::size_t>(start), BlockId(-1));
    ASSERT_LE(static_cast<std::size_t>(start), table.size());
    if (!blocks.empty()) table.resize(static_cast<std::size_t>(start));
    table.insert(table.end(), blocks.begin(), blocks.end());
  }
  /// All rows of a step are written before any of them reads.
  void write(const SequenceRows& slice, const std::vector<TokenId>& log) {
    for (int p = slice.first_position; p < slice.first_position + slice.n_rows(); ++p) {
      cell(slice.sequence, p) = log[static_cast<std::size_t>(p)].value;
    }
  }
  void check_reads(const SequenceRows& slice, const std::vector<TokenId>& log) {
    const int first = window_ > 0 ? std::max(0, slice.first_position - window_ + 1) : 0;
    for (int p = first; p < slice.first_position + slice.n_rows(); ++p) {
      ASSERT_EQ(cell(slice.sequence, p), log[static_cast<std::size_t>(p)].value) << "a row that is not there: " << p;
    }
  }
  void spoil(const SequenceRows& slice) {
    for (int p = 0; p < slice.n_rows(); ++p) cell(slice.sequence, slice.first_position + p) = -2;
  }
  void forget() {
    tables_.clear();
    std::ranges::fill(cells_, -1);
  }
  std::size_t n_held(const Scheduler& scheduler) const {
    std::set<BlockId> held;
    for (const auto& [id, table] : tables_) {
      if (scheduler.is_running(id)) held.insert(table.begin(), table.end());
    }
    return held.size();
  }

 private:
  int& cell(SequenceId id, int position) {
    const BlockId block = tables_.at(id).at(static_cast<std::size_t>(position / kBlockPositions));
    return cells_.at(static_cast<std::size_t>(block.value * kBlockPositions + position % kBlockPositions));
  }

  const int window_;
  std::map<SequenceId, std::vector<BlockId>> tables_;
  std::vector<int> cells_;
};

/// Holds the KV that a stage would, and checks every step against it.
class StageModel {
 public:
  explicit StageModel(const SchedulerOptions& options)
      : has_windows_(options.window > 0),
        all_(options.n_kv_blocks, 0),
        windows_(options.n_window_blocks, options.window) {}

  void run(const StepBatch& batch, const std::map<SequenceId, std::vector<TokenId>>& logs) {
    for (const SequenceId id : batch.released) {
      all_.release(id);
      windows_.release(id);
    }
    for (const SequenceRows& slice : batch.slices) {
      const bool is_new = slice.table_start == 0 && !slice.new_blocks.empty();
      all_.change(slice.sequence, is_new, slice.table_start, slice.new_blocks);
      windows_.change(slice.sequence, is_new, slice.window_start, slice.new_window_blocks);
    }
    // What anybody writes must be nobody else's: every row that is read is looked at after all writes.
    for (const SequenceRows& slice : batch.slices) {
      all_.write(slice, logs.at(slice.sequence));
      if (has_windows_) windows_.write(slice, logs.at(slice.sequence));
    }
    for (const SequenceRows& slice : batch.slices) {
      all_.check_reads(slice, logs.at(slice.sequence));
      if (has_windows_) windows_.check_reads(slice, logs.at(slice.sequence));
    }
  }
  /// A step that failed may have written anything to its rows.
  void spoil(const StepBatch& batch) {
    for (const SequenceRows& slice : batch.slices) {
      all_.spoil(slice);
      if (has_windows_) windows_.spoil(slice);
    }
  }
  void forget() {
    all_.forget();
    windows_.forget();
  }
  std::size_t n_held(const Scheduler& scheduler) const { return all_.n_held(scheduler); }

 private:
  const bool has_windows_;
  PoolModel all_, windows_;
};

/// A scheduler, the two stages it believes to have, and requests that come, go and break.
class Storm {
 public:
  /// One of `images_in` requests has images; 0: none has.
  Storm(std::uint32_t seed, const SchedulerOptions& options, std::uint32_t images_in = 0)
      : random_(seed),
        images_in_(images_in),
        n_blocks_(options.n_kv_blocks),
        n_window_blocks_(options.n_window_blocks),
        max_rows_(options.max_step_rows),
        scheduler_(options),
        first_(options),
        second_(options) {}

  void act() {
    const auto dice = random_() % 100;
    if (dice < 12) {
      add();
    } else if (dice < 55) {
      step();
    } else if (dice < 94) {
      commit();
    } else if (dice < 97) {
      if (!logs_.empty())
        remove(std::next(logs_.begin(), static_cast<std::ptrdiff_t>(random_() % logs_.size()))->first);
    } else if (dice < 98) {
      fail();
    } else if (random_() % 4 == 0) {
      break_chain();
    } else if (random_() % 8 == 0) {
      scheduler_.forget_prefixes();
    }
    ASSERT_EQ(scheduler_.blocks().n_free(), n_blocks_ - static_cast<std::int32_t>(first_.n_held(scheduler_)));
  }
  void end() {
    while (!logs_.empty()) remove(logs_.begin()->first);
    for (int i = 0; i < 2; ++i) {
      ASSERT_EQ(scheduler_.blocks().n_free(), n_blocks_);
      ASSERT_EQ(scheduler_.windows().blocks().n_free(), n_window_blocks_);
      scheduler_.forget_prefixes();
    }
    ASSERT_EQ(scheduler_.windows().n_claimed(), 0);
  }
  const Scheduler& scheduler() const { return scheduler_; }
  /// Rows that were computed again by the second stage alone.
  int n_rebuilt() const { return n_rebuilt_; }
  /// Slices that had rows of an image, counted for each.
  std::size_t n_images() const { return n_images_; }

 private:
  void add() {
    if (logs_.size() > 12) return;
    SequenceSpec made = spec(++last_id_, 1 + static_cast<int>(random_() % 300), 1 + static_cast<int>(random_() % 90),
                             static_cast<int>(random_() % 3));
    made.cache_salt = random_() % 4 == 0 ? "other" : "";
    made.score_prompt = random_() % 8 == 0 && made.prompt.size() > 1;
    if (random_() % 3 == 0) made.prompt[made.prompt.size() / 2] = TokenId(999);
    logs_[made.id] = made.prompt;
    images_[made.id] = {};
    if (images_in_ > 0 && random_() % images_in_ == 0) add_images(made);
    ends_[made.id] = made.prompt.size() + static_cast<std::size_t>(made.max_tokens);
    if (!scheduler_.add(made)) logs_.erase(made.id);
  }
  /// In the log an image's rows tell whose they are: the prompt has the same token for all.
  void add_images(SequenceSpec& made) {
    const int n = count_of(made.prompt);
    for (int first = random_() % 2 == 0 ? 0 : 40; made.images.size() < 2 && first < n; first += 80) {
      const int key = static_cast<int>(random_() % 2), n_rows = std::min(n - first, key == 0 ? 30 : 70);
      auto rows = std::make_shared<ImageRows>(ImageRows{
          .key = std::to_string(100 * key + n_rows), .n_rows = n_rows, .see_each_other = key == 1, .values = {}});
      for (int i = 0; i < n_rows; ++i) {
        made.prompt[to_size(first + i)] = TokenId(0);
        logs_[made.id][to_size(first + i)] = TokenId(100'000 * (key + 1) + 1000 * n_rows + i);
      }
      made.images.push_back({first, std::move(rows)});
    }
    images_[made.id] = made.images;
  }
  /// A slice brings the images that its rows belong to.
  void check_images(const SequenceRows& slice) {
    std::vector<int> wanted, brought;
    for (const PlacedImage& image : images_.at(slice.sequence)) {
      if (image.first_position < slice.rows().end && image.end() > slice.first_position)
        wanted.push_back(image.first_position);
    }
    for (const SliceImage& image : slice.images) brought.push_back(image.first_position);
    ASSERT_EQ(brought, wanted);
    n_images_ += wanted.size();
  }
  void step() {
    std::optional<StepBatch> batch = scheduler_.next_step();
    if (!batch) {
      // With nothing in flight a waiting sequence must get on.
      ASSERT_TRUE(!in_flight_.empty() || logs_.empty());
      return;
    }
    const Status valid = validate(*batch);
    ASSERT_TRUE(valid.has_value()) << valid.error().message();
    for (const SequenceRows& slice : batch->slices) check_images(slice);
    ASSERT_LE(batch->n_rows(), max_rows_);
    if (batch->is_computed_by(0)) first_.run(*batch, logs_);
    second_.run(*batch, logs_);
    n_rebuilt_ += batch->is_rebuild() ? batch->n_rows() : 0;
    in_flight_.push_back(std::move(*batch));
  }
  void commit() {
    if (in_flight_.empty()) return;
    const int token = static_cast<int>(random_() % 3);
    const auto progress = scheduler_.commit(answer(in_flight_.front(), token));
    in_flight_.pop_front();
    ASSERT_TRUE(progress.has_value());
    for (const Progress& made : *progress) {
      if (!made.sampled) continue;
      logs_.at(made.sequence).push_back(made.sampled->chosen.token);
      if (logs_.at(made.sequence).size() >= ends_.at(made.sequence)) remove(made.sequence);
    }
  }
  void fail() {
    if (in_flight_.size() != 1) return;  // what a later step wrote behind it is not to be spoilt
    if (in_flight_.front().is_rebuild()) return;
    first_.spoil(in_flight_.front());
    second_.spoil(in_flight_.front());
    in_flight_.pop_front();
    for (const SequenceId id : scheduler_.fail_step()) remove(id);
  }
  void break_chain() {
    in_flight_.clear();
    scheduler_.suspend();
    const auto lost = random_() % 4;
    if (lost == 0) first_.forget();
    if (lost <= 2) second_.forget();
    scheduler_.resume(lost == 0 ? kAllStages : lost <= 2 ? StageSpan{1, 1} : StageSpan{});
  }
  void remove(SequenceId id) {
    scheduler_.remove(id);
    logs_.erase(id);
  }

  std::mt19937 random_;
  const std::uint32_t images_in_;
  const std::int32_t n_blocks_;
  const std::int32_t n_window_blocks_;
  const int max_rows_;
  Scheduler scheduler_;
  StageModel first_, second_;
  std::deque<StepBatch> in_flight_;
  std::map<SequenceId, std::vector<TokenId>> logs_;
  std::map<SequenceId, std::size_t> ends_;
  std::map<SequenceId, std::vector<PlacedImage>> images_;
  std::size_t n_images_ = 0;
  std::uint64_t last_id_ = 0;
  int n_rebuilt_ = 0;
};

TEST(PrefixCache, TenThousandRandomActsKeepRowsAndCountsRight) {
  for (const std::int32_t n_blocks : {8, 40}) {
    for (const auto& [window, n_window_blocks] :
         {std::pair(0, 0), std::pair(100, 4), std::pair(65, 9), std::pair(100, 40)}) {
      SchedulerOptions made = options(150, n_blocks, 2);
      made.window = window;
      made.n_window_blocks = n_window_blocks;
      Storm storm(static_cast<std::uint32_t>(n_blocks), made);
      for (int i = 0; i < 10000; ++i) {
        storm.act();
        ASSERT_FALSE(testing::Test::HasFatalFailure())
            << "act " << i << " with " << n_blocks << " blocks, window " << window << " of " << n_window_blocks;
      }
      // Few blocks of windows hold few windows that could be found again.
      EXPECT_GT(storm.scheduler().n_prefix_hits(), window > 0 ? 500u : 1000u);
      EXPECT_TRUE(n_blocks > 8 || window > 0 || storm.scheduler().n_preemptions() > 0);
      EXPECT_GT(storm.n_rebuilt(), 500);
      storm.end();
    }
  }
}

TEST(PrefixCache, TenThousandRandomActsWithImagesCutNone) {
  for (const std::int32_t n_blocks : {8, 40}) {
    for (const auto& [window, n_window_blocks] :
         {std::pair(0, 0), std::pair(100, 5), std::pair(65, 9), std::pair(100, 40)}) {
      SchedulerOptions made = options(150, n_blocks, 2);
      made.window = window;
      made.n_window_blocks = n_window_blocks;
      Storm storm(static_cast<std::uint32_t>(n_blocks), made, 2);
      for (int i = 0; i < 10000; ++i) {
        storm.act();
        ASSERT_FALSE(testing::Test::HasFatalFailure())
            << "act " << i << " with " << n_blocks << " blocks, window " << window << " of " << n_window_blocks;
      }
      EXPECT_GT(storm.n_images(), 100u);
      EXPECT_GT(storm.scheduler().n_prefix_hits(), 50u);
      EXPECT_GT(storm.n_rebuilt(), 300);
      storm.end();
    }
  }
}

SchedulerOptions windowed(int max_rows, std::int32_t n_blocks, std::int32_t n_window_blocks, int window = 128) {
  SchedulerOptions made = options(max_rows, n_blocks);
  made.n_window_blocks = n_window_blocks;
  made.window = window;
  return made;
}

TEST(Windows, ALongSequenceHoldsItsWindowAndWhatIsInFlight) {
  Scheduler scheduler(windowed(64, 64, 16));
  ASSERT_TRUE(scheduler.add(sequence(1, 1000, 100)).has_value());
  std::deque<StepBatch> in_flight;
  int most = 0;
  for (int chunk = 0; chunk < 16; ++chunk) {
    in_flight.push_back(next(scheduler));
    most = std::max(most, 16 - scheduler.windows().blocks().n_free());
    if (in_flight.size() < 3) continue;
    finish_step(scheduler, in_flight.front());
    in_flight.pop_front();
  }
  EXPECT_EQ(most, 2 + 3) << "two blocks of window and three chunks of 64";
  for (; !in_flight.empty(); in_flight.pop_front()) finish_step(scheduler, in_flight.front());
  for (int i = 0; i < 90; ++i) finish_step(scheduler, next(scheduler));
  EXPECT_LE(16 - scheduler.windows().blocks().n_free(), 3);
  EXPECT_EQ(64 - scheduler.blocks().n_free(), 18);
}

TEST(Windows, APromptWaitsForItsAnswersWhenNoBlockOfWindowIsLeft) {
  Scheduler scheduler(windowed(256, 64, 3));
  ASSERT_TRUE(scheduler.add(sequence(1, 500, 4)).has_value());
  StepBatch batch = next(scheduler);
  EXPECT_EQ(describe(batch), "1@0+192");
  EXPECT_EQ(describe(scheduler.next_step()), "none");
  finish_step(scheduler, batch);
  batch = next(scheduler);
  EXPECT_EQ(describe(batch), "1@192+64") << "row 192 sees from 65 on";
  EXPECT_EQ(batch.slices.front().window_start, 3);
  EXPECT_EQ(batch.slices.front().new_window_blocks.size(), 1u);
  ASSERT_TRUE(scheduler.add(sequence(2, 4)).has_value());
  EXPECT_EQ(describe(scheduler.next_step()), "none") << "the whole pool is the first one's";
  EXPECT_FALSE(Scheduler(windowed(256, 64, 2)).add(sequence(1, 500)).has_value()) << "its window spans three";
}

TEST(Windows, AHitNeedsTheLastWindowAndIsShortenedToWhereOneIs) {
  Scheduler scheduler(windowed(1024, 64, 12));
  compute(scheduler, spec(1, 650, 1, 1));  // ten full blocks, all kept
  StepBatch batch = begin(scheduler, spec(2, 700, 1, 1));
  EXPECT_EQ(describe(batch), "2@640+60*");
  EXPECT_EQ(batch.slices.front().window_start, 8);
  EXPECT_EQ(batch.slices.front().new_window_blocks.size(), 3u);
  EXPECT_EQ(batch.slices.front().new_blocks.size(), 11u);
  finish_step(scheduler, batch);
  scheduler.remove(SequenceId(2));
  // Another text takes blocks of the window pool: the oldest go, which are those from the beginning on.
  compute(scheduler, spec(3, 300, 1, 2));
  EXPECT_EQ(describe(begin(scheduler, spec(4, 200, 1, 1))), "4@0+200*") << "nothing is left of the first windows";
  scheduler.remove(SequenceId(4));
  EXPECT_EQ(describe(begin(scheduler, spec(5, 700, 1, 1))), "5@640+60*") << "the last window still is";
}

TEST(Windows, APartialHitBringsTheWindowBeforeItsEnd) {
  Scheduler scheduler(windowed(128, 64, 24));
  ASSERT_TRUE(scheduler.add(spec(1, 650)).has_value());
  std::vector<BlockId> window;  // entry by entry; the first ones fall behind while the prompt is computed
  for (int chunk = 0; chunk < 6; ++chunk) {
    const StepBatch batch = next(scheduler);
    const auto& blocks = batch.slices.front().new_window_blocks;
    window.insert(window.end(), blocks.begin(), blocks.end());
    finish_step(scheduler, batch);
  }
  scheduler.remove(SequenceId(1));
  SequenceSpec other = spec(2, 500);
  other.prompt[400] = TokenId(999);
  const StepBatch batch = begin(scheduler, other);
  EXPECT_EQ(describe(batch), "2@384+116*");
  const SequenceRows& slice = batch.slices.front();
  EXPECT_EQ(slice.window_start, 4) << "row 384 sees from 257 on";
  ASSERT_EQ(slice.new_window_blocks.size(), 4u);
  EXPECT_EQ(slice.new_window_blocks[0], window[4]);
  EXPECT_EQ(slice.new_window_blocks[1], window[5]);
  EXPECT_NE(slice.new_window_blocks[2], window[6]) << "what the first one wrote behind the hit stays its own";
}

TEST(Windows, PreemptionAndRestartGiveEverythingBack) {
  Scheduler scheduler(windowed(256, 64, 6));
  ASSERT_TRUE(scheduler.add(sequence(1, 60, 300)).has_value());
  ASSERT_TRUE(scheduler.add(sequence(2, 60, 300)).has_value());
  ASSERT_TRUE(scheduler.add(sequence(3, 60, 300)).has_value());
  for (int i = 0; i < 100; ++i) finish_step(scheduler, next(scheduler));
  EXPECT_EQ(scheduler.n_preemptions(), 1u) << "windows of three span nine blocks, six are there";
  EXPECT_EQ(scheduler.n_running(), 2);
  scheduler.restart();
  EXPECT_EQ(scheduler.windows().blocks().n_free(), 6);
  EXPECT_EQ(scheduler.windows().n_claimed(), 0);
  EXPECT_EQ(next(scheduler).slices.front().first_position, 0);
}

}  // namespace
}  // namespace commissure
