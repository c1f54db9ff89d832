#include "model/layer_weights.h"

#include "core/check.h"

namespace commissure {
namespace {

DeviceBuffer& norm_place(PartWeights& weights, LayerWeights* layer, TensorRole role) {
  switch (role) {
    case TensorRole::kAttentionNorm: return layer->attention_norm;
    case TensorRole::kQueryNorm: return layer->query_norm;
    case TensorRole::kKeyNorm: return layer->key_norm;
    case TensorRole::kPostAttentionNorm: return layer->post_attention_norm;
    case TensorRole::kFeedForwardNorm: return layer->feed_forward_norm;
    case TensorRole::kPostFeedForwardNorm: return layer->post_feed_forward_norm;
    default: CHECK(role == TensorRole::kFinalNorm); return weights.final_norm;
  }
}

std::unique_ptr<Matrix>& matrix_place(PartWeights& weights, LayerWeights* layer, TensorRole role) {
  switch (role) {
    case TensorRole::kQuery: return layer->query;
    case TensorRole::kKey: return layer->key;
    case TensorRole::kValue: return layer->value;
    case TensorRole::kAttentionOutput: return layer->attention_output;
    case TensorRole::kGate: return layer->gate;
    case TensorRole::kUp: return layer->up;
    case TensorRole::kDown: return layer->down;
    case TensorRole::kHead: return weights.own_head;
    default: CHECK(role == TensorRole::kEmbedding); return weights.embedding;
  }
}

Result<MatrixSource> open_source(const Checkpoint& checkpoint, const TensorInfo& tensor) {
  ByteRange range = TRY(checkpoint.load(tensor));
  MatrixSource source;
  source.name = tensor.name;
  source.dtype = tensor.dtype;
  source.n_cols = tensor.shape.back();
  source.n_rows = tensor.shape.size() == 2 ? tensor.shape[0] : 1;
  source.data = {range.bytes, std::move(range.owner)};
  return source;
}

}  // namespace

Result<PartWeights> load_weights(Backend& backend, const Checkpoint& checkpoint, const DecoderSpec& spec,
                                 const ModelPart& part, const LoadProgress& progress) {
  const std::vector<ExpectedTensor> expected = expected_tensors(spec, part);
  const std::vector<TensorInfo> tensors = TRY(part_tensors(checkpoint, spec, part));
  std::uint64_t total_bytes = 0;
  for (const TensorInfo& tensor : tensors) total_bytes += tensor.n_bytes;

  PartWeights weights;
  weights.layers.resize(static_cast<std::size_t>(part.last_layer - part.first_layer));
  std::uint64_t done_bytes = 0;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const int layer = expected[i].layer;
    LayerWeights* place = layer < 0 ? nullptr : &weights.layers[static_cast<std::size_t>(layer - part.first_layer)];
    const MatrixSource source = TRY(open_source(checkpoint, tensors[i]));
    if (is_norm(expected[i].role)) {
      norm_place(weights, place, expected[i].role) = TRY(backend.load_vector(source, spec.norm_offset));
    } else {
      matrix_place(weights, place, expected[i].role) = TRY(backend.load_matrix(source));
    }
    done_bytes += tensors[i].n_bytes;
    if (progress && !progress(done_bytes, total_bytes)) return Error(Code::kCancelled, "loading was stopped");
  }
  return weights;
}

}  // namespace commissure
