#include "model/layer_weights.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <memory>
#include <numbers>
#include <span>
#include <utility>

#include "core/check.h"
#include "core/index.h"
#include "core/log.h"
#include "weights/pack_file.h"
#include "weights/tensor_reader.h"

namespace commissure {
namespace {

DeviceBuffer& vector_place(PartWeights& weights, LayerWeights* layer, TensorRole role) {
  switch (role) {
    case TensorRole::kAttentionNorm: return layer->attention_norm;
    case TensorRole::kQueryBias: return layer->query_bias;
    case TensorRole::kKeyBias: return layer->key_bias;
    case TensorRole::kValueBias: return layer->value_bias;
    case TensorRole::kAttentionOutputBias: return layer->attention_output_bias;
    case TensorRole::kSinks: return layer->sinks;
    case TensorRole::kDeltaDecayBias: return layer->delta_decay_bias;
    case TensorRole::kDeltaRate: return layer->delta_rate;
    case TensorRole::kDeltaConvolution: return layer->delta_convolution;
    case TensorRole::kDeltaNorm: return layer->delta_norm;
    case TensorRole::kRouterBias: return layer->router_bias;
    case TensorRole::kExpertGateBias: return layer->expert_gate_bias;
    case TensorRole::kExpertUpBias: return layer->expert_up_bias;
    case TensorRole::kExpertGateUpBias: return layer->expert_gate_up_bias;
    case TensorRole::kExpertDownBias: return layer->expert_down_bias;
    case TensorRole::kQueryNorm: return layer->query_norm;
    case TensorRole::kKeyNorm: return layer->key_norm;
    case TensorRole::kPostAttentionNorm: return layer->post_attention_norm;
    case TensorRole::kFeedForwardNorm: return layer->feed_forward_norm;
    case TensorRole::kPostFeedForwardNorm: return layer->post_feed_forward_norm;
    case TensorRole::kRouterNorm: return layer->router_norm;
    case TensorRole::kExpertNorm: return layer->expert_norm;
    case TensorRole::kPostExpertNorm: return layer->post_expert_norm;
    case TensorRole::kPostDenseNorm: return layer->post_dense_norm;
    case TensorRole::kPostPerLayerNorm: return layer->post_per_layer_norm;
    case TensorRole::kOutputScale: return layer->output_scale;
    case TensorRole::kPerLayerProjectionNorm: return weights.per_layer_projection_norm;
    default: CHECK(role == TensorRole::kFinalNorm); return weights.final_norm;
  }
}

std::unique_ptr<Matrix>& matrix_place(PartWeights& weights, LayerWeights* layer, const ExpectedTensor& tensor) {
  switch (tensor.role) {
    case TensorRole::kRouter: return layer->router;
    case TensorRole::kExpertGate: return layer->experts[tensor.expert].gate;
    case TensorRole::kExpertUp: return layer->experts[tensor.expert].up;
    case TensorRole::kExpertGateUp: return layer->experts[tensor.expert].gate_up;
    case TensorRole::kExpertDown: return layer->experts[tensor.expert].down;
    case TensorRole::kSharedRouter: return layer->shared_router;
    case TensorRole::kSharedGate: return layer->shared.gate;
    case TensorRole::kSharedUp: return layer->shared.up;
    case TensorRole::kSharedDown: return layer->shared.down;
    case TensorRole::kQuery: return layer->query;
    case TensorRole::kKey: return layer->key;
    case TensorRole::kValue: return layer->value;
    case TensorRole::kAttentionOutput: return layer->attention_output;
    case TensorRole::kDeltaChannels: return layer->delta_channels;
    case TensorRole::kDeltaGate: return layer->delta_gate;
    case TensorRole::kDeltaBeta: return layer->delta_beta;
    case TensorRole::kDeltaDecay: return layer->delta_decay;
    case TensorRole::kDeltaOutput: return layer->delta_output;
    case TensorRole::kGate: return layer->gate;
    case TensorRole::kUp: return layer->up;
    case TensorRole::kDown: return layer->down;
    case TensorRole::kPerLayerGate: return layer->per_layer_gate;
    case TensorRole::kPerLayerOutput: return layer->per_layer_output;
    case TensorRole::kPerLayerProjection: return weights.per_layer_projection;
    case TensorRole::kHead: return weights.own_head;
    default: CHECK(tensor.role == TensorRole::kEmbedding); return weights.embedding;
  }
}

MatrixSource as_source(const TensorInfo& tensor, ByteRange range) {
  MatrixSource source;
  source.name = tensor.name;
  source.dtype = tensor.dtype;
  source.n_cols = tensor.shape.back();
  source.n_rows = tensor.shape.size() > 1 ? tensor.n_elements() / tensor.shape.back() : 1;
  source.data = {range.bytes, std::move(range.owner)};
  return source;
}

/// A vector that the host computes with.
Result<std::vector<float>> fetch_floats(Backend& backend, const DeviceBuffer& vector, std::size_t n) {
  const auto bytes = TRY(backend.fetch(vector.ptr(), n * sizeof(float)));
  const auto* const first = reinterpret_cast<const float*>(bytes.data());
  return std::vector<float>(first, first + n);
}

/// Files differ in how they have a delta net's vectors: the rate as its logarithm (safetensors), the convolution's taps
/// side by side (all).
Status finish_delta_vector(Backend& backend, const DecoderSpec& spec, const ExpectedTensor& tensor,
                           DeviceBuffer& vector) {
  const bool is_logarithm =
      tensor.role == TensorRole::kDeltaRate && spec.naming.format == CheckpointFormat::kSafetensors;
  const bool is_convolution = tensor.role == TensorRole::kDeltaConvolution;
  if (tensor.role != TensorRole::kDeltaRate && !is_convolution) return {};
  const auto n = vector.n_bytes() / sizeof(float);
  std::vector<float> values = TRY(fetch_floats(backend, vector, n));
  if (tensor.role == TensorRole::kDeltaRate && !is_logarithm) {
    if (std::ranges::all_of(values, [](float rate) { return rate <= 0.0f; })) return {};
    return Error(Code::kInvalidArgument, tensor.name,
                 " has values above 0, or that are no numbers: states would grow for ever");
  }
  if (is_logarithm) {
    for (float& value : values) value = -std::exp(value);
  } else {
    const auto n_taps = to_size(spec.layers[tensor.layer].delta.kernel), n_channels = n / n_taps;
    const std::vector<float> side_by_side = values;
    for (std::size_t i = 0; i < n; ++i) values[i % n_taps * n_channels + i / n_taps] = side_by_side[i];
  }
  backend.upload(vector.ptr(), std::as_bytes(std::span(values)));
  return {};
}

/// Of a matrix that came whole because it was made while it was loaded, the rows that are wanted.
void take_rows(const ExpectedTensor& expected, MatrixSource& source) {
  if (expected.whole_shape.empty() || source.n_rows == expected.shape[0]) return;
  const std::size_t n_bytes = row_bytes(source.dtype, source.n_cols);
  source.data.bytes =
      source.data.bytes.subspan(to_size(expected.first) * n_bytes, to_size(expected.shape[0]) * n_bytes);
  source.n_rows = expected.shape[0];
}

/// Experts stay as stored: a pack file is read whole before it is used, and few experts are. So does what is projected
/// to per-layer inputs, of which a stage takes only its layers' rows.
bool is_packed(const ExpectedTensor& tensor) {
  return is_matrix(tensor.role) && tensor.expert < 0 && tensor.role != TensorRole::kPerLayerProjection;
}

/// What a vector is multiplied with on load.
float vector_scale(const DecoderSpec& spec, TensorRole role) {
  if (role == TensorRole::kFinalNorm) return spec.logit_scale;
  if (role == TensorRole::kRouterNorm) return 1.0f / std::sqrt(static_cast<float>(spec.d_model));
  // Two addends of a per-layer input are halved in power.
  return role == TensorRole::kPerLayerProjectionNorm ? std::numbers::sqrt2_v<float> / 2.0f : 1.0f;
}

/// A head's screen is one more entry of the pack file.
std::string screen_name(const std::string& tensor) { return tensor + "#screen"; }

/// The pack file beside a mapped checkpoint, until it turns out not to fit. Weights that were read into memory are used
/// as they are: mapping them once more would hold them twice.
class Packs {
 public:
  Packs(const Backend& backend, const Checkpoint& checkpoint) : backend_(backend) {
    const std::string layout = backend.packed_layout();
    if (layout.empty() || !checkpoint.is_mapped()) return;
    const std::string path = pack_path(checkpoint, layout);
    if (path.empty()) return;
    auto pack = PackFile::open(path, layout, checkpoint.fingerprint());
    if (pack) {
      pack_ = *std::move(pack);
    } else if (pack.error().code() != Code::kNotFound) {
      ignore(pack.error());
    }
  }

  /// The packed bytes of `source`, or none.
  HostBytes find(const MatrixSource& source) {
    return pack_ ? find(source.name, source, backend_.packed_bytes(source)) : HostBytes{};
  }
  /// The screen of a head, or none: not every one has a screen.
  HostBytes find_screen(const MatrixSource& source) {
    const std::string name = screen_name(source.name);
    return pack_ && pack_->holds(name) ? find(name, source, backend_.screen_bytes(source)) : HostBytes{};
  }

 private:
  HostBytes find(const std::string& name, const MatrixSource& source, std::size_t n_bytes) {
    if (n_bytes == 0) return {};
    auto range = pack_->find(name, source.data.bytes, n_bytes);
    if (range) return {range->bytes, std::move(range->owner)};
    ignore(range.error());
    return {};
  }

  void ignore(const Error& error) {
    log_warning("the pack file is ignored; `commissure pack` makes it anew", {{"reason", error.message()}});
    pack_ = nullptr;
  }

  const Backend& backend_;
  std::shared_ptr<const PackFile> pack_;
};

/// A layer's quantised matrices are multiplied together, all packed or all as stored, and what is made while it is
/// loaded is kept packed alone. Errors: kDataLoss, a layer has some of both kinds.
Status refuse_mixed_layers(const Checkpoint& checkpoint, const std::vector<ExpectedTensor>& expected,
                           const std::vector<TensorInfo>& tensors) {
  const ExpectedTensor *made = nullptr, *stored = nullptr;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (i > 0 && expected[i].layer != expected[i - 1].layer) made = stored = nullptr;
    if (expected[i].layer < 0 || !is_quantised(tensors[i].dtype)) continue;
    (checkpoint.is_made(tensors[i]) ? made : stored) = &expected[i];
    if (made == nullptr || stored == nullptr) continue;
    return Error(Code::kDataLoss, checkpoint.location(), ": tensor ", made->name,
                 " is made while it is loaded (bitsandbytes, gpt-oss's MXFP4, --quant), and ", stored->name,
                 " is stored quantised; one layer cannot have both");
  }
  return {};
}

/// A matrix that was quantised just now, in the backend's own layout, where it has one, instead of as it was made.
/// Errors: kResourceExhausted, no memory.
Result<HostBytes> pack_made(Backend& backend, const MatrixSource& source) {
  constexpr std::size_t kAlignment = 64;
  const std::size_t n_bytes = backend.packed_bytes(source);
  if (n_bytes == 0) return HostBytes{};
  const std::size_t n_allocated = (n_bytes + kAlignment - 1) / kAlignment * kAlignment;
  const std::shared_ptr<std::byte> memory(static_cast<std::byte*>(std::aligned_alloc(kAlignment, n_allocated)),
                                          std::free);
  if (memory == nullptr) {
    return Error(Code::kResourceExhausted, "tensor ", source.name, ": no memory for its ", n_bytes, " bytes, packed");
  }
  const std::span<std::byte> packed(memory.get(), n_bytes);
  backend.pack_matrix(source, packed);
  return HostBytes{packed, memory};
}

}  // namespace

Result<PackedModel> pack_weights(Backend& backend, const Checkpoint& checkpoint, const DecoderSpec& spec) {
  const std::string layout = backend.packed_layout(), path = pack_path(checkpoint, layout);
  if (layout.empty()) return Error(Code::kFailedPrecondition, "this CPU's kernels read models as they are");
  if (path.empty()) return Error(Code::kFailedPrecondition, checkpoint.location(), ": pull a remote model first");
  const ModelPart whole = {.first_layer = 0, .last_layer = spec.n_layers(), .has_embedding = true, .has_head = true};
  std::map<std::string, TensorInfo> matrices;  // by name: a tied head is the embedding once more
  const std::vector<TensorInfo> tensors = TRY(part_tensors(checkpoint, spec, whole));
  const std::vector<ExpectedTensor> expected = expected_tensors(spec, whole);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (is_packed(expected[i])) matrices.emplace(tensors[i].name, tensors[i]);
  }
  const auto writer = TRY(PackWriter::create(path, layout, checkpoint.fingerprint()));
  std::vector<std::byte> packed;
  bool is_empty = true;
  const auto add = [&](const std::string& name, const MatrixSource& source) -> Status {
    is_empty = false;
    return writer->add(name, source.data.bytes, packed);
  };
  for (const auto& [name, tensor] : matrices) {
    const MatrixSource source = as_source(tensor, TRY(checkpoint.load(tensor)));
    packed.resize(backend.packed_bytes(source));
    if (!packed.empty()) {
      backend.pack_matrix(source, packed);
      TRY(add(name, source));
    }
    packed.resize(name == head_name(spec) ? backend.screen_bytes(source) : 0);
    if (!packed.empty() && backend.pack_screen(source, packed)) TRY(add(screen_name(name), source));
    checkpoint.release(tensor);
  }
  if (is_empty) return Error(Code::kFailedPrecondition, checkpoint.location(), ": holds no matrix to pack");
  TRY(writer->finish());
  return PackedModel{path, writer->n_bytes()};
}

Result<PartWeights> load_weights(Backend& backend, const Checkpoint& checkpoint, const DecoderSpec& spec,
                                 const ModelPart& part, const LoadProgress& progress) {
  const std::vector<TensorInfo> tensors = TRY(part_tensors(checkpoint, spec, part));
  const std::vector<ExpectedTensor> expected = expected_tensors(spec, part);
  TRY(refuse_mixed_layers(checkpoint, expected, tensors));
  std::uint64_t total_bytes = 0;
  for (const TensorInfo& tensor : tensors) total_bytes += tensor.n_bytes;
  total_bytes += TRY(table_bytes(checkpoint, spec, part));

  PartWeights weights;
  weights.layers.resize(part.last_layer - part.first_layer);
  for (int layer = part.first_layer; layer < part.last_layer; ++layer) {
    weights.layers[layer - part.first_layer].experts.resize(spec.layers[layer].experts.n_experts);
  }
  std::uint64_t done_bytes = 0;
  Packs packs(backend, checkpoint);
  TensorReader reader(checkpoint, tensors);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const int layer = expected[i].layer;
    LayerWeights* place = layer < 0 ? nullptr : &weights.layers[layer - part.first_layer];
    MatrixSource source = as_source(tensors[i], TRY(reader.next()));
    if (!is_matrix(expected[i].role)) {
      const float scale = vector_scale(spec, expected[i].role);
      const float offset = is_norm(expected[i].role) ? spec.norm_offset : 0.0f;
      DeviceBuffer vector = TRY(backend.load_vector(source, offset, scale));
      if (place != nullptr) TRY(finish_delta_vector(backend, spec, expected[i], vector));
      if (expected[i].role == TensorRole::kExpertScale) {
        place->expert_scale = TRY(fetch_floats(backend, vector, to_size(source.n_cols)));
      } else {
        vector_place(weights, place, expected[i].role) = std::move(vector);
      }
    } else {
      take_rows(expected[i], source);
      if (!checkpoint.is_made(tensors[i])) {
        if (is_packed(expected[i])) source.packed = packs.find(source);
      } else if (expected[i].layer >= 0) {
        source.packed = TRY(pack_made(backend, source));
        if (!source.packed.bytes.empty()) source.data = {};
      }
      if (part.has_head && source.name == head_name(spec) && !checkpoint.is_made(tensors[i]))
        source.screen = packs.find_screen(source);
      // Its stored bytes were sampled and are not read again, unless tokens are looked up in them.
      if (!source.packed.bytes.empty() && expected[i].role != TensorRole::kEmbedding) checkpoint.release(tensors[i]);
      matrix_place(weights, place, expected[i]) = TRY(backend.load_matrix(source));
    }
    done_bytes += tensors[i].n_bytes;
    if (progress && !progress(done_bytes, total_bytes)) return Error(Code::kCancelled, "loading was stopped");
  }
  if (const auto table = expected_table(spec, part)) {
    const TensorInfo whole = *TRY(table_tensor(checkpoint, spec, part));
    const double share = static_cast<double>(total_bytes - done_bytes) / static_cast<double>(whole.n_bytes);
    const auto report = [&](std::uint64_t n_read) {
      const auto n_kept = static_cast<std::uint64_t>(share * static_cast<double>(n_read));
      return !progress || progress(std::min(done_bytes + n_kept, total_bytes), total_bytes);
    };
    weights.per_layer_table = TRY(PerLayerTable::load(checkpoint, *table, whole, report));
    if (!report(whole.n_bytes)) return Error(Code::kCancelled, "loading was stopped");
  }
  return weights;
}

}  // namespace commissure
