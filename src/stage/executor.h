#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/result.h"
#include "kernels/backend.h"
#include "model/decoder.h"
#include "sample/sampler.h"
#include "stage/adapter_table.h"
#include "stage/kv_pool.h"
#include "stage/row_log.h"
#include "stage/sequence_table.h"
#include "stage/state_table.h"
#include "step/stage_link.h"
#include "step/stage_plan.h"

namespace commissure {

/// Runs steps through one stage's layers: embedding or boundary in, boundary or tokens out.
/// Threading: the executor thread only.
class Executor {
 public:
  /// Allocates the activations and the KV pool; `backend` outlives the executor.
  /// Errors: kResourceExhausted, naming what did not fit.
  static Result<std::unique_ptr<Executor>> create(Backend& backend, const DecoderSpec& spec, const StagePlan& plan,
                                                  PartWeights weights, int max_rows, const KvShape& kv);

  /// From now on slices may name these adapters; they outlive the executor. Without: none. Not while a step runs.
  void use_adapters(const AdapterTable& adapters) { adapters_ = &adapters; }

  /// Runs one step. `input.boundary` is empty on the first stage; on the others it has one row for each row of the
  /// batch. In a rebuild step (StepBatch) the stage does its share, and the output has rows only where the next stage
  /// computes them.
  /// Errors: kInvalidArgument, the batch is malformed, larger than max_rows, or names tokens outside the vocabulary;
  /// kNotFound, a slice names an adapter that is not loaded; kDataLoss, the boundary or a block table does not fit what
  /// this stage knows; kInternal, the device failed or produced numbers that are not finite. After an error the
  /// sequences are as before.
  Result<StageOutput> step(StageInput input);

  /// Forgets all but what `left` names: the sequences when the stream that created them is gone (others may be created
  /// behind the rows they wrote), the rows as well when who comes next knows nothing of them.
  void forget_all_but(StageMemory left) {
    sequences_.forget_all_but(left);
    recurrent_.forget_all_but(left);
  }

  /// Layers run so far, and parts of the head: rises while a step is computed. Any thread.
  std::uint64_t n_done() const { return n_done_.load(std::memory_order_relaxed); }

  int max_rows() const { return decoder_->max_rows(); }
  const KvPool& kv() const { return kv_; }

 private:
  /// What a prepared step changes.
  struct Prepared {
    std::vector<SequenceState> states;
    std::vector<StateTable::Move> moves;
    HeldAdapters adapters;
  };
  struct HeadRow;
  Executor(Backend& backend, const StagePlan& plan, std::unique_ptr<Decoder> decoder, KvPool kv, RowLog handed_on);
  Result<StageOutput> compute(StageInput input);
  Result<StageOutput> pass_by(StageInput input);
  Result<HeldAdapters> hold_adapters(const StepBatch& batch) const;
  Status check_boundary(const StageInput& input, int n_rows) const;
  Status check_images(const StepBatch& batch) const;
  void place_images(const StepBatch& batch);
  Status run_layers(const StageInput& input, const Prepared& prepared, int n_rows,
                    std::vector<std::uint32_t>& checksums);
  Status sum_layer(const StepBatch& batch, int layer, std::vector<std::uint32_t>& checksums);
  Result<Boundary> make_output_boundary(StepId step, int n_rows);
  Result<SampledTokens> sample_tokens(const StepBatch& batch, std::vector<SequenceState>& states);
  Status sample_rows(const StepBatch& batch, std::vector<SequenceState>& states, std::span<const HeadRow> rows,
                     std::vector<SequenceResult>& results);
  static Status sample_row(Sampler& sampler, const SequenceRows& slice, SequenceState& state, const HeadRow& row,
                           std::span<const float> logits, SequenceResult& result);
  static Status draw_token(Sampler& sampler, const SequenceRows& slice, SequenceState& state,
                           std::span<const float> logits, SequenceResult& result);

  Backend& backend_;
  const StagePlan plan_;
  std::unique_ptr<Decoder> decoder_;
  KvPool kv_;
  RowLog handed_on_;  // off on the last stage
  SequenceTable sequences_;
  StateTable recurrent_;
  const AdapterTable* adapters_ = nullptr;
  std::vector<Sampler> samplers_;  // one for each of the backend's threads
  DeviceBuffer boundary_;          // bf16 [max_rows, the wider of both boundaries]
  DeviceBuffer logits_;            // [n_head_rows_, n_vocab], last stage only
  int n_head_rows_ = 0;
  std::atomic<std::uint64_t> n_done_ = 0;
};

}  // namespace commissure
