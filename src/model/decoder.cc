#include "model/decoder.h"

#include <algorithm>
#include <array>

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
    const std::size_t attention = n_elements(2, l.heads.head_dim, l.heads.n_heads + l.heads.n_kv_heads);
    const std::size_t experts = ExpertBranch::scratch_floats(l.experts, spec.d_model);
    widest = std::max({widest, attention, n_elements(2, l.d_ff), experts});
  }
  return widest;
}

std::size_t rope_floats(const DecoderSpec& spec) {
  std::size_t floats = 0;
  for (const RopeSpec& rope : spec.ropes) floats += 2 * rope.frequencies.size();
  return floats;
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
  const std::size_t d_model = to_size(spec.d_model);
  return rows * (sizeof(float) * (2 * d_model + wide_floats(spec, part) + rope_floats(spec)) + sizeof(bf16) * d_model);
}

Decoder::Decoder(Backend& backend, const DecoderSpec& spec, const ModelPart& part, PartWeights weights, int max_rows)
    : backend_(backend),
      spec_(spec),
      part_(part),
      max_rows_(max_rows),
      weights_(std::move(weights)),
      experts_(backend),
      uses_rope_(spec.ropes.size(), false) {
  for (int layer = part.first_layer; layer < part.last_layer; ++layer) {
    if (const int rope = spec.layers[layer].rope; rope >= 0) uses_rope_[rope] = true;
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
  const std::size_t stream_bytes = rows * d_model * sizeof(float);
  residual_ = TRY(backend_.allocate(stream_bytes));
  normed_ = TRY(backend_.allocate(stream_bytes));
  wide_ = TRY(backend_.allocate(rows * wide_floats(spec_, part_) * sizeof(float)));
  rope_tables_ = TRY(backend_.allocate(rows * rope_floats(spec_) * sizeof(float)));
  packed_ = TRY(backend_.allocate(rows * d_model * sizeof(bf16)));
  return {};
}

Rows Decoder::residual(int n_rows) const { return Rows::dense(residual_.ptr(), n_rows, spec_.d_model); }
Rows Decoder::normed(int n_rows) const { return Rows::dense(normed_.ptr(), n_rows, spec_.d_model); }

Rows Decoder::rope_table(int rope, int n_rows) const {
  std::size_t floats_before = 0;
  for (int i = 0; i < rope; ++i) floats_before += 2 * spec_.ropes[i].frequencies.size();
  const int n_cols = 2 * count_of(spec_.ropes[rope].frequencies);
  const std::size_t offset = floats_before * max_rows_ * sizeof(float);
  return Rows::dense(rope_tables_.ptr().offset(offset), n_rows, n_cols);
}

void Decoder::begin_step(const StepIndex& index, int n_rows) {
  DCHECK(n_rows > 0 && n_rows <= max_rows_);
  for (int rope = 0; rope < count_of(spec_.ropes); ++rope) {
    if (!uses_rope_[rope]) continue;
    backend_.rope_table(spec_.ropes[rope], index, rope_table(rope, n_rows));
  }
}

void Decoder::embed(const StepIndex& index, int n_rows) {
  backend_.embed(*weights_.embedding, index, spec_.embedding_scale, residual(n_rows));
  pack_residual(n_rows, packed_.ptr());
  unpack_residual(n_rows, packed_.ptr());
}

Status Decoder::run_layer(int layer, const StepIndex& index, const KvLayer& kv, int n_rows) {
  DCHECK(layer >= part_.first_layer && layer < part_.last_layer);
  const LayerSpec& spec = spec_.layers[layer];
  const LayerWeights& weights = weights_.layers[layer - part_.first_layer];
  attention(spec, weights, index, kv, n_rows);
  return feed_forward(spec, weights, n_rows);
}

void Decoder::norm_and_rotate(const LayerSpec& spec, const LayerWeights& weights, Rows q, Rows k) {
  DevicePtr q_norm = weights.query_norm.ptr(), k_norm = weights.key_norm.ptr();
  if (spec.wide_qk_norm) {
    backend_.rms_norm(q, q_norm, spec_.norm_eps, q);
    backend_.rms_norm(k, k_norm, spec_.norm_eps, k);
    q_norm = k_norm = {};
  }
  if (spec.rope < 0) return;  // no family norms heads that it does not rotate; build_spec sees to it
  const RopeSpec& rope = spec_.ropes[spec.rope];
  const Rows table = rope_table(spec.rope, q.n_rows);
  backend_.norm_rope(q, spec.heads.n_heads, q_norm, spec_.norm_eps, rope, table);
  backend_.norm_rope(k, spec.heads.n_kv_heads, k_norm, spec_.norm_eps, rope, table);
}

void Decoder::attention(const LayerSpec& spec, const LayerWeights& weights, const StepIndex& index, const KvLayer& kv,
                        int n_rows) {
  const HeadLayout& heads = spec.heads;
  const Rows x = residual(n_rows);
  const Rows branch = normed(n_rows);
  Carver carve(wide_.ptr(), n_rows);
  const Rows q = carve.take(heads.n_heads * heads.head_dim);
  const Rows k = carve.take(heads.n_kv_heads * heads.head_dim);
  const Rows v = carve.take(heads.n_kv_heads * heads.head_dim);
  const Rows attended = carve.take(heads.n_heads * heads.head_dim);

  if (spec.pre_norms) backend_.rms_norm(x, weights.attention_norm.ptr(), spec_.norm_eps, branch);
  backend_.matmul(spec.pre_norms ? branch : x,
                  std::array<MatmulJob, 3>{{{weights.query.get(), q, weights.query_bias.ptr()},
                                            {weights.key.get(), k, weights.key_bias.ptr()},
                                            {weights.value.get(), v, weights.value_bias.ptr()}}},
                  planes(InputPlanes::kOne));
  norm_and_rotate(spec, weights, q, k);
  backend_.append_kv(k, v, index, kv);
  const AttendOptions options = {spec.attention_scale, spec.window, spec.attention_softcap,
                                 spec_.precision == Precision::kExact, weights.sinks.ptr()};
  backend_.attend(q, index, kv, options, attended);
  backend_.matmul(attended,
                  std::array<MatmulJob, 1>{{{weights.attention_output.get(), branch,
                                             weights.attention_output_bias.ptr(), spec.residual_scale}}},
                  planes(InputPlanes::kOne));
  backend_.add(x, branch, weights.post_attention_norm.ptr(), spec_.norm_eps, /*round=*/false);
}

Status Decoder::feed_forward(const LayerSpec& spec, const LayerWeights& weights, int n_rows) {
  const Rows x = residual(n_rows);
  const Rows branch = normed(n_rows);
  if (spec.pre_norms) backend_.rms_norm(x, weights.feed_forward_norm.ptr(), spec_.norm_eps, branch);
  const Rows in = spec.pre_norms ? branch : x;
  if (spec.experts.n_experts > 0) {
    const ExpertBranch::Planes cut = {planes(InputPlanes::kOne), planes(InputPlanes::kTwo)};
    const Rows sum = TRY(experts_.run(spec, weights, cut, in, wide_.ptr(), max_rows_));
    backend_.add(x, sum, weights.post_feed_forward_norm.ptr(), spec_.norm_eps, /*round=*/true);
    return {};
  }
  Carver carve(wide_.ptr(), n_rows);
  const Rows gate = carve.take(spec.d_ff);
  const Rows up = carve.take(spec.d_ff);
  backend_.matmul(in, std::array<MatmulJob, 2>{{{weights.gate.get(), gate}, {weights.up.get(), up}}},
                  planes(InputPlanes::kOne));
  backend_.gated(spec.activation, gate, up, gate);
  // Its input has the widest range of all; one plane here costs a third of the whole model's rounding error.
  backend_.matmul(gate, std::array<MatmulJob, 1>{{{weights.down.get(), branch, {}, spec.residual_scale}}},
                  planes(InputPlanes::kTwo));
  backend_.add(x, branch, weights.post_feed_forward_norm.ptr(), spec_.norm_eps, /*round=*/true);
  return {};
}

void Decoder::logits(std::span<const std::int32_t> rows, std::span<const LogitsUse> uses, Rows out) {
  const Rows picked = normed(count_of(rows));
  backend_.gather(residual(max_rows_), rows, picked);
  backend_.rms_norm(picked, weights_.final_norm.ptr(), spec_.norm_eps, picked);
  backend_.logits(picked, *weights_.head(), uses, spec_.final_softcap, out);
}

void Decoder::pack_residual(int n_rows, DevicePtr to) { backend_.pack_bf16(residual(n_rows), to); }
void Decoder::unpack_residual(int n_rows, DevicePtr from) { backend_.unpack_bf16(from, residual(n_rows)); }

}  // namespace commissure
