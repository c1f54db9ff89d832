#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "core/check.h"
#include "core/index.h"
#include "core/queue.h"
#include "kernels/backend.h"
#if defined(COMMISSURE_EMULATED_CUDA)
#include "kernels/cuda/emulated/fake_driver.h"
#endif
#include "model/quantise_at_load.h"
#include "stage/local_link.h"
#include "stage/stage.h"
#include "stage/stage_memory.h"
#include "step/chain_link.h"
#include "support/temp_folder.h"
#include "support/toy_model.h"
#include "weights/adapter_file.h"
#include "weights/checkpoint.h"

/// Shared by this room's tests: toy checkpoints on disk, chains of local links, and a client that plays stage A.
namespace commissure::testing {

/// One thread: toy operations are shorter than a hand-over between threads. "emulated" is a GPU's backend on the
/// emulation.
inline std::unique_ptr<Backend> cpu_backend(const std::string& isa, int n_threads = 1) {
#if defined(COMMISSURE_EMULATED_CUDA)
  if (isa == "emulated") return cuda::emulated::make_emulated_backend().value();
#endif
  auto backend = make_cpu_backend({.n_threads = n_threads, .isa = isa});
  CHECK(backend.has_value());
  return std::move(*backend);
}

/// Every ISA of this CPU, and the emulated GPU.
inline std::vector<std::string> all_isas() {
  std::vector<std::string> isas = available_isas();
#if defined(COMMISSURE_EMULATED_CUDA)
  isas.emplace_back("emulated");
#endif
  return isas;
}

inline std::unique_ptr<Checkpoint> open_checkpoint(const std::string& location) {
  auto checkpoint = Checkpoint::open(location);
  CHECK(checkpoint.has_value());
  return std::move(*checkpoint);
}

/// A toy model's GGUF in a folder of its own.
class ToyFile {
 public:
  explicit ToyFile(const ToyModel& model) : path_(folder_.write("toy.gguf", toy_gguf(model))) {}
  const std::string& path() const { return path_; }

 private:
  TempFolder folder_;
  std::string path_;
};

inline StagePlan whole_plan(const DecoderSpec& spec) {
  return {.index = 0, .n_stages = 1, .n_model_layers = spec.n_layers(), .layers = {0, spec.n_layers()}};
}

/// The same entries in both tables.
inline SequenceRows with_windows(SequenceRows rows) {
  rows.window_start = rows.table_start;
  rows.new_window_blocks = rows.new_blocks;
  return rows;
}

/// A chain of stages in this process, cut at `cuts` and quantised as `quants` (parse_quants) says, behind one link.
/// Where a slice says nothing of the table of a windowed model, it gets the entries of the other one.
class Chain {
 public:
  /// `prepare` is called with every stage's checkpoint before anything is made of it.
  Chain(
      Backend& backend, const std::string& path, const std::vector<int>& cuts, const StageOptions& options,
      KvType kv_type = KvType::kBF16, Precision precision = Precision::kFast, const std::string& quants = "",
      const std::function<void(Checkpoint& checkpoint)>& prepare = [](Checkpoint&) {}) {
    auto spec = read_decoder_spec(*open_checkpoint(path));
    CHECK(spec.has_value());
    spec->kv_type = kv_type;
    spec->precision = precision;
    has_windows_ = widest_window(*spec) > 0;
    auto plans = plan_stages(spec->n_layers(), cuts);
    CHECK(plans.has_value());
    const auto wishes = parse_quants(quants, count_of(*plans));
    CHECK(wishes.has_value());
    for (const StagePlan& plan : *plans) {
      checkpoints_.push_back(open_checkpoint(path));
      prepare(*checkpoints_.back());
      const QuantWish wish = (*wishes)[to_size(plan.index)];
      CHECK(quantise_at_load(*checkpoints_.back(), *spec, model_part(plan), wish).has_value());
      auto stage = Stage::create(backend, *checkpoints_.back(), *spec, plan, options);
      CHECK(stage.has_value());
      stages_.push_back(std::move(*stage));
      links_.push_back(std::make_unique<LocalLink>(*stages_.back()));
    }
    // One backend serves all stages here, so only one may compute at a time: steps are submitted one by one.
    head_ = links_.back().get();
    for (std::size_t i = links_.size() - 1; i-- > 0;) {
      chains_.push_back(std::make_unique<ChainLink>(*links_[i], *head_));
      head_ = chains_.back().get();
    }
    head_->start([this](Result<StageOutput> output) { outputs_.push(std::move(output)); });
  }
  ~Chain() { head_->stop(); }

  Result<SampledTokens> step(StepBatch batch) {
    batch.step = StepId(step_++);
    for (SequenceRows& slice : batch.slices) {
      if (has_windows_ && slice.new_window_blocks.empty()) slice = with_windows(std::move(slice));
    }
    TRY(head_->submit({std::move(batch), {}}));
    Result<StageOutput> output = *outputs_.pop();
    if (!output) return output.error();
    return std::get<SampledTokens>(std::move(output->value));
  }

  /// Loads the stages if need be, and on each of them its share of an adapter; returns its id.
  Result<AdapterId> load_adapter(const std::string& path) {
    const AdapterSource source = {.id = TRY(adapter_id(path)), .name = "toy", .path = path};
    for (std::size_t i = 0; i < stages_.size(); ++i) {
      stages_[i]->begin_load();
      TRY(stages_[i]->wait_ready(std::chrono::minutes(1), {}));
      TRY(links_[i]->load_adapter(source, std::chrono::minutes(1), {}));
    }
    return source.id;
  }
  void drop_adapter(AdapterId id) {
    for (const auto& link : links_) link->drop_adapter(id);
  }

  const Checkpoint& checkpoint(std::size_t stage) const { return *checkpoints_[stage]; }
  Stage& stage(std::size_t stage) { return *stages_[stage]; }
  const Stage& stage(std::size_t stage) const { return *stages_[stage]; }
  std::size_t n_stages() const { return stages_.size(); }

 private:
  std::vector<std::unique_ptr<Checkpoint>> checkpoints_;
  std::vector<std::unique_ptr<Stage>> stages_;
  std::vector<std::unique_ptr<LocalLink>> links_;
  std::vector<std::unique_ptr<ChainLink>> chains_;
  StageLink* head_ = nullptr;
  BoundedQueue<Result<StageOutput>> outputs_{64};
  std::uint64_t step_ = 0;
  bool has_windows_ = false;
};

/// Consecutive rows of one sequence whose blocks are `first_block` and those after it.
inline SequenceRows rows_of(std::uint64_t sequence, int first_position, std::vector<int> tokens, int first_block) {
  SequenceRows rows;
  rows.sequence = SequenceId(sequence);
  rows.first_position = first_position;
  for (const int token : tokens) rows.tokens.push_back(TokenId(token));
  const auto n_entries = [](int n_positions) { return (n_positions + kBlockPositions - 1) / kBlockPositions; };
  rows.table_start = n_entries(first_position);
  for (int entry = rows.table_start; entry < n_entries(first_position + rows.n_rows()); ++entry) {
    rows.new_blocks.push_back(BlockId(first_block + entry));
  }
  return rows;
}

/// An image of random rows, as large as embedded tokens are.
inline std::shared_ptr<const ImageRows> random_image(int n_rows, int d_model, unsigned seed,
                                                     bool see_each_other = true) {
  auto image = std::make_shared<ImageRows>(ImageRows{.key = std::to_string(seed),
                                                     .n_rows = n_rows,
                                                     .d_model = d_model,
                                                     .see_each_other = see_each_other,
                                                     .values = {}});
  std::mt19937 random(seed);
  for (std::size_t i = 0; i < n_elements(n_rows, d_model); ++i) {
    image->values.push_back(to_bf16(static_cast<float>(random() % 2001) / 1000.0f - 1.0f));
  }
  return image;
}

}  // namespace commissure::testing
