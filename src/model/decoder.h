#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <variant>
#include <vector>

#include "core/result.h"
#include "kernels/backend.h"
#include "model/boundary_layout.h"
#include "model/decoder_spec.h"
#include "model/expert_branch.h"
#include "model/layer_weights.h"
#include "model/step_adapters.h"

namespace commissure {

/// What a layer keeps of the rows of all sequences: keys and values, or, in recurrent layers, states.
using LayerMemory = std::variant<KvLayer, StateLayer>;

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

  /// Values in a row of the boundary that the part takes, and of the one it hands on.
  int width_in() const { return in_.width; }
  int width_out() const { return out_.width; }

  /// The residual stream of the current step, [n_rows, d_model].
  Rows residual(int n_rows) const;

  /// Starts a step: the rotation tables of its rows, and which of them have adapters, of whose weights the part's share
  /// outlives the step. n_rows <= max_rows.
  void begin_step(const StepIndex& index, int n_rows, std::span<const AdapterRows> adapters = {});
  /// residual = embedding of the step's tokens, scaled and rounded to bf16. Parts with an embedding only.
  void embed(const StepIndex& index, int n_rows);
  /// Rows of the step from `first_row` on, in place of what embed() put there: bf16 [n, d_model].
  void replace(int first_row, std::span<const bf16> rows);
  /// What layers get beside the residual, once it is there: per-layer inputs of the step's tokens. `kv_of` gives this
  /// part's memory for the keys and values of layers before it that its layers read (foreign_owners); they came with
  /// the boundary and are appended here. `index_of` gives the index whose block table a layer uses.
  void begin_layers(std::span<const std::int32_t> tokens, const std::function<const StepIndex&(int layer)>& index_of,
                    const std::function<const KvLayer&(int layer)>& kv_of);
  /// Advances the residual by one layer, named by its index in the whole model; a layer of this part. `memory` is its
  /// own, or that of the layer whose keys and values it reads.
  /// Errors: as Backend::peek, in a layer with experts; the residual is of no use then.
  Status run_layer(int layer, const StepIndex& index, const LayerMemory& memory, int n_rows);
  /// Final norm and head for the residual's rows `rows` (at most max_rows): out [rows.size(), n_vocab], as precise as
  /// Backend::logits makes them for `uses` [rows.size()]. The residual is unchanged. Parts with a head only.
  void logits(std::span<const std::int32_t> rows, std::span<const LogitsUse> uses, Rows out);

  /// Copies the stream to, or from, dense bf16 rows on the device: what the boundary behind the part's last layer, or
  /// in front of its first, carries (boundary_layout). pack_residual takes the residual alone, [n_rows, d_model].
  void pack_boundary(int n_rows, DevicePtr to);
  void unpack_boundary(int n_rows, DevicePtr from);
  void pack_residual(int n_rows, DevicePtr to);

 private:
  Decoder(Backend& backend, const DecoderSpec& spec, const ModelPart& part, PartWeights weights, int max_rows);
  Status allocate();
  Rows normed(int n_rows) const;
  Rows rope_table(int rope, int n_rows) const;
  void norm_and_rotate(const LayerSpec& spec, int rope, Rows x, int n_heads, DevicePtr norm);
  Rows stream(int first_col, int n_cols, int n_rows) const;
  void round(Rows rows);
  void per_layer_inputs(std::span<const std::int32_t> tokens);
  void add_per_layer(int layer, const LayerWeights& weights, int n_rows);
  void multiply(int layer, Rows x, std::span<const MatmulJob> jobs, std::span<const AdapterSite> sites,
                InputPlanes fast);
  void project(int layer, Rows q, Rows k, Rows v);
  void finish_values(const LayerSpec& spec, Rows k, Rows v);
  void attention(int layer, const StepIndex& index, const KvLayer& kv, int n_rows);
  void take_queries(const LayerSpec& spec, Rows gated, Rows queries);
  void weigh_heads(const LayerSpec& spec, Rows gated, Rows attended);
  void delta_net(int layer, const StepIndex& index, const StateLayer& states, int n_rows);
  void dense(int layer, Rows x, Rows out);
  Status feed_forward(int layer, int n_rows);

  /// How the activations of a product are cut; the down projection takes two planes in either mode.
  InputPlanes planes(InputPlanes fast) const { return spec_.precision == Precision::kExact ? InputPlanes::kAll : fast; }

  Backend& backend_;
  const DecoderSpec spec_;
  const ModelPart part_;
  const int max_rows_;
  PartWeights weights_;
  ExpertBranch experts_;
  StepAdapters adapters_;        // of the step's rows
  std::vector<bool> uses_rope_;  ///< [n_ropes of the spec]: a layer of this part rotates by it
  const BoundaryLayout in_, out_;
  DeviceBuffer stream_;             // [max_rows, out_.width]: the residual first
  DeviceBuffer ones_;               // [widest head]: weights of a norm without weights
  DeviceBuffer per_layer_;          // [max_rows, layers * per_layer_width]
  DeviceBuffer per_layer_context_;  // the same
  std::vector<float> gathered_;     // the same, on the host
  std::vector<std::int32_t> rows_;  // 0, 1, ... as many as rows are gathered: max_rows, or all of their gated heads
  DeviceBuffer normed_;             // [max_rows, d_model]: a branch's input, then its output
  DeviceBuffer wide_;               // a branch's inside: q, k, v, attended; or gate, up
  DeviceBuffer rope_tables_;        // rope by rope: [max_rows, 2 * its pairs]
  DeviceBuffer packed_;             // bf16 [max_rows, out_.width]
};

}  // namespace commissure
