#include "plan/model_footprint.h"

#include <algorithm>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>

#include "core/json.h"
#include "hub/model_header.h"
#include "hub/model_store.h"
#include "model/boundary_layout.h"
#include "model/decoder_spec.h"
#include "model/quantise_at_load.h"
#include "model/tensor_names.h"
#include "stage/row_log.h"
#include "stage/stage_memory.h"
#include "vision/find_vision.h"
#include "weights/checkpoint.h"
#include "weights/oss_experts.h"

namespace commissure {

namespace {

constexpr int kStepRows = 512;

/// Bytes and elements of one part's tensors, of the experts among them, and of its columns of the table of per-layer
/// embeddings.
struct PartSize {
  double bytes = 0;
  double elements = 0;
  double expert_bytes = 0;
  double expert_elements = 0;
  double table_bytes = 0;
  double table_elements = 0;

  void add(const ExpectedTensor& tensor, double n_bytes, double n_elements) {
    bytes += n_bytes;
    elements += n_elements;
    if (tensor.expert < 0 && !is_expert_bias(tensor.role)) return;
    expert_bytes += n_bytes;
    expert_elements += n_elements;
  }
};
using PartSizes = std::function<Result<PartSize>(const ModelPart&)>;

std::string upper_name(DType dtype) {
  std::string name(dtype_name(dtype));
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return name;
}

/// The type that most of the weights' bytes have.
std::string main_dtype(const Checkpoint& checkpoint) {
  std::map<std::string, std::uint64_t> bytes;
  for (const TensorInfo& tensor : checkpoint.tensors()) bytes[upper_name(tensor.dtype)] += tensor.n_bytes;
  const auto most = std::ranges::max_element(bytes, {}, [](const auto& entry) { return entry.second; });
  return most == bytes.end() ? "" : most->first;
}

/// Bytes of a row that a stage hands on whose last layer is `layer`.
double row_bytes_behind(const DecoderSpec& spec, int layer) {
  return static_cast<double>(RowLog::block_bytes(boundary_layout(spec, layer + 1).width)) / kBlockPositions;
}

/// As LayerFootprint::kv_before.
int reader_before(const DecoderSpec& spec, int layer) {
  const int owner = spec.layers[layer].kv_owner;
  if (owner < 0) return -1;
  int before = layer - 1;
  while (before > owner && spec.layers[before].kv_owner != owner) --before;
  return before;
}

Result<ModelFootprint> add_up(const DecoderSpec& spec, const PartSizes& size_of) {
  ModelFootprint model;
  const double row_bytes = static_cast<double>(RowLog::block_bytes(spec.d_model)) / kBlockPositions;
  for (int layer = 0; layer < spec.n_layers(); ++layer) {
    const PartSize size = TRY(size_of({layer, layer + 1, false, false}));
    const LayerSpec& shape = spec.layers[layer];
    LayerFootprint& entry = model.layers.emplace_back();
    entry.weight_bytes = size.bytes;
    entry.parameters = size.elements;
    entry.kv_position_bytes =
        static_cast<double>(kv_position_bytes(spec.kv_type, shape.heads.n_kv_heads, shape.heads.head_dim));
    entry.window = shape.window;
    entry.state_bytes = static_cast<double>(state_bytes(spec, {layer, layer + 1}));
    entry.table_bytes = size.table_bytes;
    entry.table_parameters = size.table_elements;
    entry.kv_before = reader_before(spec, layer);
    entry.carried_row_bytes = row_bytes_behind(spec, layer) - row_bytes;
    if (shape.experts.n_experts == 0) continue;
    entry.expert_bytes = size.expert_bytes;
    entry.expert_parameters = size.expert_elements;
    entry.used_share = static_cast<double>(shape.experts.n_used) / shape.experts.n_experts;
  }
  const PartSize head = TRY(size_of({0, 0, false, true}));
  model.head_bytes = head.bytes;
  model.head_parameters = head.elements;
  model.embedding_bytes = TRY(size_of({0, 0, true, false})).bytes;
  model.tied = spec.tied_head;
  const StagePlan whole{.index = 0, .n_stages = 1, .n_model_layers = spec.n_layers(), .layers = {0, spec.n_layers()}};
  model.scratch_bytes = static_cast<double>(scratch_bytes(spec, whole, kStepRows));
  model.boundary_row_bytes = row_bytes;
  return model;
}

/// Whether gpt-oss's experts are in MXFP4, as published, of which config.json says no more.
bool has_mxfp4_experts(const Json& config) {
  const Json* quantisation = find_member(config, "quantization_config");
  const Json* method = quantisation == nullptr ? nullptr : find_member(*quantisation, "quant_method");
  return is_gpt_oss(config) && method != nullptr && *method == "mxfp4";
}

Result<MeasuredModel> measure_config(const std::string& path, KvType kv_type) {
  std::ifstream file(path);
  if (!file) return Error(Code::kNotFound, "cannot read ", path);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const Json config = TRY(parse_json(text));
  const bool is_mxfp4 = has_mxfp4_experts(config);
  DecoderSpec spec = TRY(spec_from_config(config, DType::kBF16));
  spec.kv_type = kv_type;
  MeasuredModel model{.footprint = TRY(add_up(spec,
                                              [&](const ModelPart& part) -> Result<PartSize> {
                                                PartSize size;
                                                for (const ExpectedTensor& tensor : expected_tensors(spec, part)) {
                                                  const auto n = count_elements(tensor.shape);
                                                  if (!n) {
                                                    return Error(Code::kInvalidArgument, tensor.name, " is too large");
                                                  }
                                                  const auto count = static_cast<double>(*n);
                                                  const bool is_fp4 = is_mxfp4 && tensor.expert >= 0;
                                                  const double bytes = is_fp4 ? 17.0 / 32.0 : sizeof(bf16);
                                                  size.add(tensor, count * bytes, count);
                                                }
                                                if (const auto table = expected_table(spec, part)) {
                                                  const auto n = count_elements(table->shape).value_or(0);
                                                  size.table_elements = static_cast<double>(n);
                                                  size.table_bytes = size.table_elements * sizeof(bf16);
                                                }
                                                return size;
                                              })),
                      .context = spec.n_context,
                      .is_estimate = true,
                      .header = nullptr};
  model.footprint.name = spec.architecture;
  model.footprint.weights = is_mxfp4 ? "MXFP4" : "BF16";
  if (const Status able = check_quantisable(spec, nullptr); !able) model.footprint.no_quant = able.error();
  return model;
}

}  // namespace

Result<MeasuredModel> measure_model(const std::string& model, const std::string& revision, KvType kv_type) {
  if (model.ends_with("config.json")) return measure_config(model, kv_type);
  auto checkpoint = TRY(open_header(model, revision, false));
  DecoderSpec spec = TRY(read_decoder_spec(*checkpoint));
  spec.kv_type = kv_type;
  MeasuredModel measured;
  measured.footprint = TRY(add_up(spec, [&](const ModelPart& part) -> Result<PartSize> {
    PartSize size;
    const std::vector<TensorInfo> tensors = TRY(part_tensors(*checkpoint, spec, part));
    const std::vector<ExpectedTensor> expected = expected_tensors(spec, part);
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      size.add(expected[i], static_cast<double>(tensors[i].n_bytes), static_cast<double>(tensors[i].n_elements()));
    }
    if (const auto table = expected_table(spec, part)) {
      size.table_bytes = static_cast<double>(TRY(table_bytes(*checkpoint, spec, part)));
      size.table_elements = static_cast<double>(count_elements(table->shape).value_or(0));
    }
    return size;
  }));
  measured.footprint.name = is_remote_model(model) ? model : TRY(resolve_model(model, false)).name;
  measured.footprint.weights = main_dtype(*checkpoint);
  if (const Status able = check_quantisable(spec, checkpoint.get()); !able) measured.footprint.no_quant = able.error();
  if (const auto vision = TRY(find_vision(*checkpoint, "", spec.d_model, ReadMode::kRead))) {
    measured.footprint.image_encoder_bytes = static_cast<double>(vision->weight_bytes);
  }
  measured.context = spec.n_context;
  measured.header = std::move(checkpoint);
  return measured;
}

}  // namespace commissure
