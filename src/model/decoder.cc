#include "model/decoder.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "core/check.h"
#include "core/index.h"

namespace commissure {
namespace {

/// Floats per row of the widest branch: attention's q, k, v and result, or the feed-forward's gate and up, or what
/// experts need. They never live at the same time and share their memory.
std::size_t wide_floats(const DecoderSpec& spec, const ModelPart& part) {
  std::size_t widest = 0;
  for (int layer = part.first_layer; layer < part.last_layer; ++layer) {
    const LayerSpec& l = spec.layers[layer];
    const std::size_t attention =
        n_elements(2, l.heads.head_dim, (l.output_gate ? 2 : 1) * l.heads.n_heads + l.heads.n_kv_heads);
    const std::size_t delta = 2 * to_size(l.delta.n_channels() + l.delta.value_width() + l.delta.n_value_heads);
    const std::size_t experts = ExpertBranch::scratch_floats(l.experts, spec.d_model);
    widest = std::max({widest, attention, delta, n_elements(2, l.d_ff), experts, to_size(spec.per_layer_width)});
  }
  return widest;
}

/// Floats per row of the part's per-layer inputs.
std::size_t per_layer_floats(const DecoderSpec& spec, const ModelPart& part) {
  return n_elements(part.last_layer - part.first_layer, spec.per_layer_width);
}

std::size_t rope_floats(const DecoderSpec& spec) {
  std::size_t floats = 0;
  for (const RopeSpec& rope : spec.ropes) floats += 2 * rope.frequencies.size();
  return floats;
}

/// Heads of a row that are gathered one by one; 1 where none are.
int gathered_heads(const DecoderSpec& spec) {
  int most = 1;
  for (const LayerSpec& layer : spec.layers) {
    if (layer.output_gate) most = std::max(most, layer.heads.n_heads);
  }
  return most;
}

/// The heads of dense rows, as rows of their own.
Rows heads_of(Rows rows, int head_dim) {
  return Rows::dense(rows.data, rows.n_rows * (rows.n_cols / head_dim), head_dim);
}

/// Consecutive [n_rows, n_cols] matrices inside one buffer.
class Carver {
 public:
  Carver(DevicePtr base, int n_rows) : next_(base), n_rows_(n_rows) {}
  Rows take(int n_cols) {
    const Rows rows = Rows::dense(next_, n_rows_, n_cols);
    next_ = next_.offset(n_elements(n_rows_, n_cols) * sizeof(float));
    return rows;
  }

 private:
  DevicePtr next_;
  int n_rows_;
};

}  // namespace

std::size_t Decoder::scratch_bytes(const DecoderSpec& spec, const ModelPart& part, int max_rows) {
  const std::size_t rows = to_size(max_rows);
  const std::size_t width = to_size(boundary_layout(spec, part.last_layer).width);
  const std::size_t floats =
      width + to_size(spec.d_model) + wide_floats(spec, part) + rope_floats(spec) + 2 * per_layer_floats(spec, part);
  // What is gathered of the per-layer table lies on the host once more.
  return rows * (sizeof(float) * (floats + per_layer_floats(spec, part)) + sizeof(bf16) * width);
}

Decoder::Decoder(Backend& backend, const DecoderSpec& spec, const ModelPart& part, PartWeights weights, int max_rows)
    : backend_(backend),
      spec_(spec),
      part_(part),
      max_rows_(max_rows),
      weights_(std::move(weights)),
      experts_(backend, spec.norm_eps),
      uses_rope_(spec.ropes.size(), false),
      in_(boundary_layout(spec, part.first_layer)),
      out_(boundary_layout(spec, part.last_layer)),
      rows_(n_elements(max_rows, gathered_heads(spec))) {
  std::iota(rows_.begin(), rows_.end(), 0);
  for (int layer = part.first_layer; layer < part.last_layer; ++layer) {
    for (const int rope : {spec.layers[layer].rope, spec.layers[layer].query_rope}) {
      if (rope >= 0) uses_rope_[rope] = true;
    }
  }
}

Result<std::unique_ptr<Decoder>> Decoder::create(Backend& backend, const DecoderSpec& spec, const ModelPart& part,
                                                 PartWeights weights, int max_rows) {
  CHECK(max_rows > 0);
  std::unique_ptr<Decoder> decoder(new Decoder(backend, spec, part, std::move(weights), max_rows));
  TRY(decoder->allocate());
  return decoder;
}

Status Decoder::allocate() {
  const std::size_t rows = to_size(max_rows_), d_model = to_size(spec_.d_model);
  stream_ = TRY(backend_.allocate(rows * to_size(out_.width) * sizeof(float)));
  normed_ = TRY(backend_.allocate(rows * d_model * sizeof(float)));
  wide_ = TRY(backend_.allocate(rows * wide_floats(spec_, part_) * sizeof(float)));
  rope_tables_ = TRY(backend_.allocate(rows * rope_floats(spec_) * sizeof(float)));
  packed_ = TRY(backend_.allocate(rows * to_size(out_.width) * sizeof(bf16)));
  const std::size_t per_layer = per_layer_floats(spec_, part_);
  per_layer_ = TRY(backend_.allocate(rows * per_layer * sizeof(float)));
  per_layer_context_ = TRY(backend_.allocate(rows * per_layer * sizeof(float)));
  gathered_.reserve(rows * per_layer);
  int widest_head = 0;
  for (const LayerSpec& layer : spec_.layers) {
    if (layer.value_norm) widest_head = std::max(widest_head, layer.heads.head_dim);
  }
  const std::vector<float> ones(to_size(widest_head), 1.0f);
  ones_ = TRY(backend_.allocate(ones.size() * sizeof(float)));
  backend_.upload(ones_.ptr(), std::as_bytes(std::span(ones)));
  return {};
}

Rows Decoder::stream(int first_col, int n_cols, int n_rows) const {
  return Rows::dense(stream_.ptr(), n_rows, out_.width).columns(first_col, n_cols);
}
Rows Decoder::residual(int n_rows) const { return stream(0, spec_.d_model, n_rows); }
Rows Decoder::normed(int n_rows) const { return Rows::dense(normed_.ptr(), n_rows, spec_.d_model); }

Rows Decoder::rope_table(int rope, int n_rows) const {
  std::size_t floats_before = 0;
  for (int i = 0; i < rope; ++i) floats_before += 2 * spec_.ropes[i].frequencies.size();
  const int n_cols = 2 * count_of(spec_.ropes[rope].frequencies);
  const std::size_t offset = floats_before * max_rows_ * sizeof(float);
  return Rows::dense(rope_tables_.ptr().offset(offset), n_rows, n_cols);
}

void Decoder::begin_step(const StepIndex& index, int n_rows, std::span<const AdapterRows> adapters) {
  DCHECK(n_rows > 0 && n_rows <= max_rows_);
  adapters_.set(adapters);
  for (int rope = 0; rope < count_of(spec_.ropes); ++rope) {
    if (!uses_rope_[rope]) continue;
    backend_.rope_table(spec_.ropes[rope], index, rope_table(rope, n_rows));
  }
}

void Decoder::round(Rows rows) {
  backend_.pack_bf16(rows, packed_.ptr());
  backend_.unpack_bf16(packed_.ptr(), rows);
}

void Decoder::embed(const StepIndex& index, int n_rows) {
  const int d_model = spec_.d_model;
  backend_.embed(*weights_.embedding, index, spec_.embedding_scale, residual(n_rows));
  if (out_.has_inputs) {
    backend_.embed(*weights_.embedding, index, spec_.embedding_scale, stream(d_model, d_model, n_rows));
  }
  round(stream(0, out_.has_inputs ? 2 * d_model : d_model, n_rows));
}

void Decoder::replace(int first_row, std::span<const bf16> rows) {
  const int d_model = spec_.d_model, n_rows = count_of(rows) / d_model;
  DCHECK(first_row + n_rows <= max_rows_);
  backend_.upload(packed_.ptr(), std::as_bytes(rows));
  for (int first_col = 0; first_col <= (out_.has_inputs ? d_model : 0); first_col += d_model) {
    backend_.unpack_bf16(packed_.ptr(), stream(first_col, d_model, first_row + n_rows).slice(first_row, n_rows));
  }
}

void Decoder::begin_layers(std::span<const std::int32_t> tokens,
                           const std::function<const StepIndex&(int layer)>& index_of,
                           const std::function<const KvLayer&(int layer)>& kv_of) {
  const int n_rows = count_of(tokens);
  DCHECK(n_rows <= max_rows_);
  if (weights_.per_layer_table) per_layer_inputs(tokens);
  for (const int owner : foreign_owners(spec_, part_.first_layer, part_.last_layer)) {
    const BoundaryLayout::Shared& cols = *in_.find(owner);
    backend_.append_kv(stream(cols.first_col, cols.kv_width, n_rows),
                       stream(cols.first_col + cols.kv_width, cols.kv_width, n_rows), index_of(owner), kv_of(owner));
  }
}

/// per_layer_ = (rms_norm(projection of the embedded row) + row of the table) / sqrt(2), layer after layer.
void Decoder::per_layer_inputs(std::span<const std::int32_t> tokens) {
  constexpr int kSharedRows = 16;  // fewer are gathered sooner than threads wake
  const PerLayerTable& table = *weights_.per_layer_table;
  const int n_rows = count_of(tokens), n_cols = table.n_cols(), width = spec_.per_layer_width;
  gathered_.resize(n_elements(n_rows, n_cols));
  const float scale = std::sqrt(static_cast<float>(width) / 2.0f);
  const auto gather = [&](int row, int) {
    table.gather(tokens[row], scale, std::span(gathered_).subspan(n_elements(row, n_cols), to_size(n_cols)));
  };
  if (n_rows >= kSharedRows) {
    backend_.for_each(n_rows, gather);
  } else {
    for (int row = 0; row < n_rows; ++row) gather(row, 0);
  }
  backend_.upload(per_layer_.ptr(), std::as_bytes(std::span(gathered_)));
  const float by_width = 1.0f / std::sqrt(static_cast<float>(spec_.d_model));
  backend_.matmul(
      stream(spec_.d_model, spec_.d_model, n_rows),
      std::array<MatmulJob, 1>{
          {{weights_.per_layer_projection.get(), Rows::dense(per_layer_context_.ptr(), n_rows, n_cols), {}, by_width}}},
      planes(InputPlanes::kOne));
  const int n_parts = n_rows * (n_cols / width);
  backend_.add(Rows::dense(per_layer_.ptr(), n_parts, width), Rows::dense(per_layer_context_.ptr(), n_parts, width),
               weights_.per_layer_projection_norm.ptr(), spec_.norm_eps, /*round=*/false);
}

Status Decoder::run_layer(int layer, const StepIndex& index, const LayerMemory& memory, int n_rows) {
  DCHECK(layer >= part_.first_layer && layer < part_.last_layer);
  const LayerSpec& spec = spec_.layers[layer];
  const LayerWeights& weights = weights_.layers[layer - part_.first_layer];
  if (spec.is_recurrent()) {
    delta_net(layer, index, std::get<StateLayer>(memory), n_rows);
  } else {
    attention(layer, index, std::get<KvLayer>(memory), n_rows);
  }
  TRY(feed_forward(layer, n_rows));
  if (spec_.per_layer_width > 0) add_per_layer(layer, weights, n_rows);
  if (spec.output_scale) backend_.scale(residual(n_rows), weights.output_scale.ptr());
  return {};
}

/// Norms the heads of queries or keys and turns them.
void Decoder::norm_and_rotate(const LayerSpec& spec, int rope, Rows x, int n_heads, DevicePtr norm) {
  if (spec.wide_qk_norm) {
    backend_.rms_norm(x, norm, spec_.norm_eps, x);
    norm = {};
  }
  if (rope < 0) return;  // no family norms heads that it does not rotate; build_spec sees to it
  backend_.norm_rope(x, n_heads, norm, spec_.norm_eps, spec_.ropes[rope], rope_table(rope, x.n_rows));
}

/// Products of a layer's matrices, with what adapters add to them.
void Decoder::multiply(int layer, Rows x, std::span<const MatmulJob> jobs, std::span<const AdapterSite> sites,
                       InputPlanes fast) {
  backend_.matmul(x, jobs, planes(fast));
  adapters_.add(backend_, layer - part_.first_layer, x, jobs, sites);
}

/// The residual, normed, to queries, and in layers with keys and values of their own to these.
void Decoder::project(int layer, Rows q, Rows k, Rows v) {
  const LayerSpec& spec = spec_.layers[layer];
  const LayerWeights& weights = weights_.layers[layer - part_.first_layer];
  const Rows x = residual(q.n_rows), branch = normed(q.n_rows);
  if (spec.pre_norms) backend_.rms_norm(x, weights.attention_norm.ptr(), spec_.norm_eps, branch);
  const std::array<MatmulJob, 3> jobs = {{{weights.query.get(), q, weights.query_bias.ptr()},
                                          {weights.key.get(), k, weights.key_bias.ptr()},
                                          {weights.value.get(), v, weights.value_bias.ptr()}}};
  const std::size_t n_jobs = spec.kv_owner >= 0 ? 1 : spec.value_is_key ? 2 : 3;
  constexpr std::array kSites = {AdapterSite::kQuery, AdapterSite::kKey, AdapterSite::kValue};
  multiply(layer, spec.pre_norms ? branch : x, std::span(jobs).first(n_jobs), kSites, InputPlanes::kOne);
}

/// Before the keys are normed and rotated.
void Decoder::finish_values(const LayerSpec& spec, Rows k, Rows v) {
  if (spec.value_is_key) backend_.gather(k, std::span(rows_).first(to_size(k.n_rows)), v);
  if (spec.value_norm) backend_.norm_rope(v, spec.heads.n_kv_heads, ones_.ptr(), spec_.norm_eps, RopeSpec(), {});
}

void Decoder::attention(int layer, const StepIndex& index, const KvLayer& kv, int n_rows) {
  const LayerSpec& spec = spec_.layers[layer];
  const LayerWeights& weights = weights_.layers[layer - part_.first_layer];
  const HeadLayout& heads = spec.heads;
  const int kv_width = heads.n_kv_heads * heads.head_dim;
  const BoundaryLayout::Shared* const shared = out_.find(layer);
  Carver carve(wide_.ptr(), n_rows);
  const int q_width = heads.n_heads * heads.head_dim;
  const Rows projected = carve.take(spec.output_gate ? 2 * q_width : q_width);
  const Rows q = spec.output_gate ? carve.take(q_width) : projected;
  const Rows k = shared != nullptr ? stream(shared->first_col, kv_width, n_rows) : carve.take(kv_width);
  const Rows v = shared != nullptr ? stream(shared->first_col + kv_width, kv_width, n_rows) : carve.take(kv_width);
  const Rows attended = carve.take(q_width);

  project(layer, projected, k, v);
  if (spec.output_gate) take_queries(spec, projected, q);
  norm_and_rotate(spec, spec.query_rope < 0 ? spec.rope : spec.query_rope, q, heads.n_heads, weights.query_norm.ptr());
  if (spec.kv_owner < 0) {
    finish_values(spec, k, v);
    norm_and_rotate(spec, spec.rope, k, heads.n_kv_heads, weights.key_norm.ptr());
    // What a boundary may carry has the same bits where no boundary is.
    if (shared != nullptr) round(stream(shared->first_col, 2 * kv_width, n_rows));
    backend_.append_kv(k, v, index, kv);
  }
  const AttendOptions options = {spec.attention_scale, spec.window, spec.attention_softcap,
                                 spec_.precision == Precision::kExact, weights.sinks.ptr()};
  backend_.attend(q, index, kv, options, attended);
  if (spec.output_gate) weigh_heads(spec, projected, attended);
  const Rows branch = normed(n_rows);
  multiply(layer, attended,
           std::array<MatmulJob, 1>{
               {{weights.attention_output.get(), branch, weights.attention_output_bias.ptr(), spec.residual_scale}}},
           std::array{AdapterSite::kAttentionOutput}, InputPlanes::kOne);
  backend_.add(residual(n_rows), branch, weights.post_attention_norm.ptr(), spec_.norm_eps, /*round=*/false);
}

/// Of every head of a gated projection the first half is its query, the second its gate.
void Decoder::take_queries(const LayerSpec& spec, Rows gated, Rows queries) {
  const Rows heads = heads_of(gated, 2 * spec.heads.head_dim).columns(0, spec.heads.head_dim);
  backend_.gather(heads, std::span(rows_).first(to_size(heads.n_rows)), heads_of(queries, spec.heads.head_dim));
}

void Decoder::weigh_heads(const LayerSpec& spec, Rows gated, Rows attended) {
  const int head_dim = spec.heads.head_dim;
  const Rows heads = heads_of(attended, head_dim);
  backend_.gated(Activation::kSigmoid, heads_of(gated, 2 * head_dim).columns(head_dim, head_dim), heads, heads);
}

void Decoder::delta_net(int layer, const StepIndex& index, const StateLayer& states, int n_rows) {
  const LayerSpec& spec = spec_.layers[layer];
  const LayerWeights& weights = weights_.layers[layer - part_.first_layer];
  const DeltaShape& delta = spec.delta;
  Carver carve(wide_.ptr(), n_rows);
  const Rows channels = carve.take(delta.n_channels()), mixed = carve.take(delta.n_channels());
  const Rows gate = carve.take(delta.value_width()), out = carve.take(delta.value_width());
  const Rows decay = carve.take(delta.n_value_heads), beta = carve.take(delta.n_value_heads);
  const Rows x = residual(n_rows), branch = normed(n_rows);
  if (spec.pre_norms) backend_.rms_norm(x, weights.attention_norm.ptr(), spec_.norm_eps, branch);
  const Rows in = spec.pre_norms ? branch : x;
  backend_.matmul(
      in, std::array<MatmulJob, 2>{{{weights.delta_channels.get(), channels}, {weights.delta_gate.get(), gate}}},
      planes(InputPlanes::kOne));
  // What is forgotten adds up from row to row: it should not hang on how the input was rounded.
  backend_.matmul(in, std::array<MatmulJob, 2>{{{weights.delta_decay.get(), decay}, {weights.delta_beta.get(), beta}}},
                  InputPlanes::kAll);
  backend_.delta_net({channels, decay, beta},
                     {weights.delta_convolution.ptr(), weights.delta_rate.ptr(), weights.delta_decay_bias.ptr()}, index,
                     states, mixed, out);
  const Rows heads = heads_of(out, delta.value_dim);
  backend_.rms_norm(heads, weights.delta_norm.ptr(), spec_.norm_eps, heads);
  backend_.gated(Activation::kSilu, gate, out, out);
  backend_.matmul(out, std::array<MatmulJob, 1>{{{weights.delta_output.get(), branch, {}, spec.residual_scale}}},
                  planes(InputPlanes::kOne));
  backend_.add(x, branch, weights.post_attention_norm.ptr(), spec_.norm_eps, /*round=*/false);
}

/// out = the dense feed-forward of x; the two may be the same rows.
void Decoder::dense(int layer, Rows x, Rows out) {
  const LayerSpec& spec = spec_.layers[layer];
  const LayerWeights& weights = weights_.layers[layer - part_.first_layer];
  Carver carve(wide_.ptr(), x.n_rows);
  const Rows gate = carve.take(spec.d_ff);
  const Rows up = carve.take(spec.d_ff);
  multiply(layer, x, std::array<MatmulJob, 2>{{{weights.gate.get(), gate}, {weights.up.get(), up}}},
           std::array{AdapterSite::kGate, AdapterSite::kUp}, InputPlanes::kOne);
  backend_.gated(spec.activation, gate, up, gate);
  // Its input has the widest range of all; one plane here costs a third of the whole model's rounding error.
  multiply(layer, gate, std::array<MatmulJob, 1>{{{weights.down.get(), out, {}, spec.residual_scale}}},
           std::array{AdapterSite::kDown}, InputPlanes::kTwo);
}

Status Decoder::feed_forward(int layer, int n_rows) {
  const LayerSpec& spec = spec_.layers[layer];
  const LayerWeights& weights = weights_.layers[layer - part_.first_layer];
  const Rows x = residual(n_rows);
  const Rows branch = normed(n_rows);
  if (spec.pre_norms) backend_.rms_norm(x, weights.feed_forward_norm.ptr(), spec_.norm_eps, branch);
  const Rows in = spec.pre_norms ? branch : x;
  if (spec.d_ff > 0) dense(layer, in, branch);
  Rows out = branch;
  if (spec.experts.n_experts > 0) {
    const ExpertBranch::Planes cut = {planes(InputPlanes::kOne), planes(InputPlanes::kTwo)};
    const bool beside_dense = spec.experts.beside_dense;
    const Rows sum = TRY(experts_.run(spec, weights, cut, beside_dense ? x : in, wide_.ptr(), max_rows_));
    if (beside_dense) {
      backend_.rms_norm(branch, weights.post_dense_norm.ptr(), spec_.norm_eps, branch);
      backend_.add(branch, sum, weights.post_expert_norm.ptr(), spec_.norm_eps, /*round=*/false);
    } else {
      out = sum;
    }
  }
  const bool is_end = spec_.per_layer_width == 0 && !spec.output_scale;
  backend_.add(x, out, weights.post_feed_forward_norm.ptr(), spec_.norm_eps, /*round=*/is_end);
  return {};
}

/// A third branch: the layer's own embedding of the token, gated by the residual.
void Decoder::add_per_layer(int layer, const LayerWeights& weights, int n_rows) {
  const int width = spec_.per_layer_width;
  const LayerSpec& spec = spec_.layers[layer];
  const Rows x = residual(n_rows), branch = normed(n_rows);
  const Rows gate = Rows::dense(wide_.ptr(), n_rows, width);
  const Rows own = Rows::dense(per_layer_.ptr(), n_rows, (part_.last_layer - part_.first_layer) * width)
                       .columns((layer - part_.first_layer) * width, width);
  // The residual comes as it is, with its outliers.
  backend_.matmul(x, std::array<MatmulJob, 1>{{{weights.per_layer_gate.get(), gate}}}, planes(InputPlanes::kTwo));
  backend_.gated(spec.activation, gate, own, gate);
  backend_.matmul(gate, std::array<MatmulJob, 1>{{{weights.per_layer_output.get(), branch}}},
                  planes(InputPlanes::kTwo));
  backend_.add(x, branch, weights.post_per_layer_norm.ptr(), spec_.norm_eps, /*round=*/!spec.output_scale);
}

void Decoder::logits(std::span<const std::int32_t> rows, std::span<const LogitsUse> uses, Rows out) {
  const Rows picked = normed(count_of(rows));
  backend_.gather(residual(max_rows_), rows, picked);
  backend_.rms_norm(picked, weights_.final_norm.ptr(), spec_.norm_eps, picked);
  backend_.logits(picked, *weights_.head(), uses, spec_.final_softcap, out);
}

void Decoder::pack_boundary(int n_rows, DevicePtr to) { backend_.pack_bf16(stream(0, out_.width, n_rows), to); }
void Decoder::unpack_boundary(int n_rows, DevicePtr from) { backend_.unpack_bf16(from, stream(0, in_.width, n_rows)); }
void Decoder::pack_residual(int n_rows, DevicePtr to) { backend_.pack_bf16(residual(n_rows), to); }

}  // namespace commissure
