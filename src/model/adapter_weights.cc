#include "model/adapter_weights.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <map>
#include <span>
#include <utility>

#include "core/index.h"
#include "kernels/quant.h"
#include "model/adapter_shares.h"

namespace commissure {
namespace {

AdapterSite site_of(TensorRole role) {
  switch (role) {
    case TensorRole::kQuery: return AdapterSite::kQuery;
    case TensorRole::kKey: return AdapterSite::kKey;
    case TensorRole::kValue: return AdapterSite::kValue;
    case TensorRole::kAttentionOutput: return AdapterSite::kAttentionOutput;
    case TensorRole::kGate: return AdapterSite::kGate;
    case TensorRole::kUp: return AdapterSite::kUp;
    default: CHECK(role == TensorRole::kDown); return AdapterSite::kDown;
  }
}

/// Rows [share.first_output, + share.n_outputs) of a tensor with a row for every output, in the model's order.
HostBytes take_outputs(const AdapterShare& share, const MatrixSource& tensor) {
  const std::size_t n_rows = to_size(share.n_outputs);
  const std::size_t n_bytes = tensor.data.bytes.size() / to_size(share.up->info.shape[0]);
  const auto rows = tensor.data.bytes.subspan(to_size(share.first_output) * n_bytes, n_rows * n_bytes);
  if (share.n_turned_heads == 0) return {rows, tensor.data.owner};
  auto turned = std::make_shared<std::vector<std::byte>>(rows.size());
  const std::size_t head_dim = n_rows / to_size(std::abs(share.n_turned_heads)), half = head_dim / 2;
  for (std::size_t row = 0; row < n_rows; ++row) {
    const std::size_t head = row / head_dim * head_dim, in_head = row % head_dim;
    const std::size_t other = head + in_head % half * 2 + in_head / half;  // (half, i) to (i, half)
    const auto [from, to] = share.n_turned_heads > 0 ? std::pair(row, other) : std::pair(other, row);
    std::memcpy(turned->data() + to * n_bytes, rows.data() + from * n_bytes, n_bytes);
  }
  return {*turned, turned};
}

std::vector<float> floats_of(const MatrixSource& source) {
  std::vector<float> values(n_elements(source.n_rows, source.n_cols));
  dequantise(source.dtype, source.data.bytes.data(), values);
  return values;
}

/// The loader of one part.
class AdapterLoader {
 public:
  AdapterLoader(Backend& backend, const Checkpoint& checkpoint, const DecoderSpec& spec, const ModelPart& part,
                const AdapterReader& reader)
      : backend_(backend), checkpoint_(checkpoint), spec_(spec), part_(part), reader_(reader) {}

  Result<AdapterWeights> load() {
    AdapterWeights weights;
    weights.layers.resize(to_size(part_.last_layer - part_.first_layer));
    for (const AdapterShare& share : TRY(find_adapter_shares(spec_, reader_))) {
      if (share.layer < part_.first_layer || share.layer >= part_.last_layer) continue;
      auto loaded = TRY(load(share));
      weights.n_bytes += loaded->n_bytes();
      LayerAdapter& layer = weights.layers[to_size(share.layer - part_.first_layer)];
      layer.sites[static_cast<std::size_t>(site_of(share.role))] = std::move(loaded);
    }
    return weights;
  }

 private:
  Result<std::unique_ptr<LowRank>> load(const AdapterShare& share) {
    LowRankSource source;
    source.down = TRY(reader_.load(share.down->info));
    source.up = TRY(reader_.load(share.up->info));
    source.up.data = take_outputs(share, source.up);
    source.up.n_rows = share.n_outputs;
    source.scale = TRY(reader_.scale_of(share.module, share.rank()));
    if (share.magnitude == nullptr) return backend_.load_low_rank(source);
    MatrixSource magnitude = TRY(reader_.load(share.magnitude->info));
    magnitude.data = take_outputs(share, magnitude);
    magnitude.n_rows = 1;
    magnitude.n_cols = share.n_outputs;
    std::vector<float> gain = floats_of(magnitude);
    TRY(divide_by_lengths(share, source, gain));
    source.gain = gain;
    return backend_.load_low_rank(source);
  }

  /// The checkpoint's tensor that holds the matrix, which may be some rows of it.
  Status find_matrix(const AdapterShare& share) {
    if (!tensors_.empty()) return {};
    const std::vector<ExpectedTensor> expected = expected_tensors(spec_, part_);
    std::vector<TensorInfo> tensors = TRY(part_tensors(checkpoint_, spec_, part_));
    for (std::size_t i = 0; i < expected.size(); ++i) {
      if (expected[i].layer >= 0 && expected[i].expert < 0) {
        tensors_.emplace(std::pair(expected[i].layer, expected[i].role), std::move(tensors[i]));
      }
    }
    CHECK(tensors_.contains({share.layer, share.role}));
    return {};
  }

  /// gain = gain / length of the row of (weight + scale up down), in f32; the lengths are summed in double.
  Status divide_by_lengths(const AdapterShare& share, const LowRankSource& source, std::vector<float>& gain) {
    TRY(find_matrix(share));
    const TensorInfo& tensor = tensors_.at({share.layer, share.role});
    const ByteRange stored = TRY(checkpoint_.load(tensor));
    const std::vector<float> down = floats_of(source.down), up = floats_of(source.up);
    const auto n_cols = to_size(share.n_inputs), rank = to_size(share.rank());
    const std::size_t n_bytes = row_bytes(tensor.dtype, share.n_inputs);
    std::vector<float> row(n_cols);
    for (std::size_t output = 0; output < gain.size(); ++output) {
      dequantise(tensor.dtype, stored.bytes.data() + output * n_bytes, row);
      for (std::size_t j = 0; j < rank; ++j) {
        const float factor = source.scale * up[output * rank + j];
        const float* const values = &down[j * n_cols];
        for (std::size_t i = 0; i < n_cols; ++i) row[i] += factor * values[i];
      }
      double squares = 0.0;
      for (const float value : row) squares += static_cast<double>(value) * static_cast<double>(value);
      gain[output] = static_cast<float>(static_cast<double>(gain[output]) / std::sqrt(squares));
      if (std::isfinite(gain[output])) continue;
      return Error(Code::kInvalidArgument, reader_.name(), ": row ", output, " of ", share.module,
                   " has no length that its magnitude could be divided by");
    }
    checkpoint_.release(tensor);
    return {};
  }

  Backend& backend_;
  const Checkpoint& checkpoint_;
  const DecoderSpec& spec_;
  const ModelPart& part_;
  const AdapterReader& reader_;
  std::map<std::pair<int, TensorRole>, TensorInfo> tensors_;  // of the model's matrices, once they are asked for
};

}  // namespace

Result<AdapterWeights> load_adapter(Backend& backend, const Checkpoint& checkpoint, const DecoderSpec& spec,
                                    const ModelPart& part, const AdapterReader& reader) {
  return AdapterLoader(backend, checkpoint, spec, part, reader).load();
}

}  // namespace commissure
