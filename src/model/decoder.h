#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/result.h"
#include "kernels/backend.h"
#include "model/decoder_spec.h"
#include "model/expert_branch.h"
#include "model/layer_weights.h"

namespace commissure {

/// Runs one part of a model, in Backend calls only. Whatever the part, a residual row has the same bits at the end of
/// every layer: it is rounded to bf16 there and after the embedding, which is what a boundary carries.
/// Threading: one thread at a time; no call waits for the device, but for layers with experts (ExpertBranch).
class Decoder {
 public:
  /// `max_rows` bounds every later step; activations for that many rows are allocated here, once.
  /// Errors: kResourceExhausted.
  static Result<std::unique_ptr<Decoder>> create(Backend& backend, const DecoderSpec& spec, const ModelPart& part,
                                                 PartWeights weights, int max_rows);

  /// Bytes that create() would allocate beside the weights.
  static std::size_t scratch_bytes(const DecoderSpec& spec, const ModelPart& part, int max_rows);

  const DecoderSpec& spec() const { return spec_; }
  const ModelPart& part() const { return part_; }
  int max_rows() const { return max_rows_; }

  /// The residual stream of the current step, [n_rows, d_model].
  Rows residual(int n_rows) const;

  /// Starts a step: the rotation tables of its rows. n_rows <= max_rows.
  void begin_step(const StepIndex& index, int n_rows);
  /// residual = embedding of the step's tokens, scaled and rounded to bf16. Parts with an embedding only.
  void embed(const StepIndex& index, int n_rows);
  /// Advances the residual by one layer, named by its index in the whole model; a layer of this part.
  /// Errors: as Backend::peek, in a layer with experts; the residual is of no use then.
  Status run_layer(int layer, const StepIndex& index, const KvLayer& kv, int n_rows);
  /// Final norm and head for the residual's rows `rows` (at most max_rows): out [rows.size(), n_vocab], as precise as
  /// Backend::logits makes them for `uses` [rows.size()]. The residual is unchanged. Parts with a head only.
  void logits(std::span<const std::int32_t> rows, std::span<const LogitsUse> uses, Rows out);

  /// Copies the residual to, or from, dense bf16 rows [n_rows, d_model] on the device: what a boundary carries.
  void pack_residual(int n_rows, DevicePtr to);
  void unpack_residual(int n_rows, DevicePtr from);

 private:
  Decoder(Backend& backend, const DecoderSpec& spec, const ModelPart& part, PartWeights weights, int max_rows);
  Status allocate();
  Rows normed(int n_rows) const;
  Rows rope_table(int rope, int n_rows) const;
  void norm_and_rotate(const LayerSpec& spec, const LayerWeights& weights, Rows q, Rows k);
  void attention(const LayerSpec& spec, const LayerWeights& weights, const StepIndex& index, const KvLayer& kv,
                 int n_rows);
  Status feed_forward(const LayerSpec& spec, const LayerWeights& weights, int n_rows);

  /// How the activations of a product are cut; the down projection takes two planes in either mode.
  InputPlanes planes(InputPlanes fast) const { return spec_.precision == Precision::kExact ? InputPlanes::kAll : fast; }

  Backend& backend_;
  const DecoderSpec spec_;
  const ModelPart part_;
  const int max_rows_;
  PartWeights weights_;
  ExpertBranch experts_;
  std::vector<bool> uses_rope_;  ///< [n_ropes of the spec]: a layer of this part rotates by it
  DeviceBuffer residual_;        // [max_rows, d_model]
  DeviceBuffer normed_;          // [max_rows, d_model]: a branch's input, then its output
  DeviceBuffer wide_;            // a branch's inside: q, k, v, attended; or gate, up
  DeviceBuffer rope_tables_;     // rope by rope: [max_rows, 2 * its pairs]
  DeviceBuffer packed_;          // bf16 [max_rows, d_model]
};

}  // namespace commissure
