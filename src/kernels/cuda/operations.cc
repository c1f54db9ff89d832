#include <algorithm>

#include "core/check.h"
#include "core/index.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/names.h"

/// The operations as launches.
namespace commissure::cuda {

namespace {

constexpr int kRowThreads = 64, kWideThreads = 256, kProductThreads = 128;

const CudaMatrix& matrix_of(const Matrix& matrix) { return static_cast<const CudaMatrix&>(matrix); }
const CudaStepIndex& index_of(const StepIndex& index) { return static_cast<const CudaStepIndex&>(index); }

int ceil_of(int n, int by) { return (n + by - 1) / by; }

}  // namespace

void CudaBackend::embed(const Matrix& table, const StepIndex& index, float scale, Rows out) {
  const CudaMatrix& matrix = matrix_of(table);
  const int n_cols = static_cast<int>(matrix.n_cols());
  device_->launch("embed_" + std::string(names_of(matrix.dtype()).suffix), {out.n_rows}, kWideThreads,
                  EmbedArgs{at<void>(matrix.data()), to_size(padded_columns(n_cols)), static_cast<int>(matrix.n_rows()),
                            n_cols, at<std::int32_t>(index_of(index).tokens), scale, at<float>(out.data), out.stride});
}

void CudaBackend::rms_norm(Rows x, DevicePtr weight, float eps, Rows out) {
  device_->launch(
      "rms_norm", {x.n_rows}, kRowThreads,
      NormArgs{at<float>(x.data), x.stride, x.n_cols, at<float>(weight), eps, at<float>(out.data), out.stride});
}

CudaBackend::Input CudaBackend::pack_input(Rows x, bool is_bf16, int n_planes) {
  const std::size_t n_blocks = to_size(ceil_of(ceil_of(x.n_cols, kBlock), kChains) * kChains);
  // Kernels of many columns read whole groups of 8 tiles.
  const int n_tiles = ceil_of(ceil_of(x.n_rows, kTileColumns) * n_planes, kMaxTiles) * kMaxTiles;
  const std::size_t n_values = to_size(n_tiles) * n_blocks * kWarp * (is_bf16 ? 16 : 8);
  const std::size_t n_scales = is_bf16 ? 0 : to_size(n_tiles) * n_blocks * kTileColumns * sizeof(float);
  const DevicePtr memory = scratch(input_, n_values + 2 * n_scales);
  const Input input = {memory, memory.offset(n_values), memory.offset(n_values + n_scales), n_planes};
  if (!memory) return input;
  const int n_columns = ceil_of(x.n_rows, kTileColumns) * kTileColumns;
  device_->launch(is_bf16 ? "pack_bf16_input" : "pack_int8", {n_columns}, kProductThreads,
                  PackInputArgs{at<float>(x.data), x.stride, x.n_cols, x.n_rows, n_planes,
                                at<std::uint8_t>(input.values), at<float>(input.scales), at<float>(input.sums)});
  return input;
}

void CudaBackend::multiply(Rows x, const Input& input, const MatmulJob& job, DevicePtr second) {
  if (!input.values) return;
  const CudaMatrix& matrix = matrix_of(*job.weight);
  const KernelNames& names = names_of(matrix.dtype());
  const int n_rows = static_cast<int>(matrix.n_rows());
  const ProductArgs args = {.weights = at<std::uint8_t>(matrix.data()),
                            .n_rows = n_rows,
                            .n_cols = padded_columns(x.n_cols),
                            .values = at<std::uint8_t>(input.values),
                            .scales = at<float>(input.scales),
                            .sums = at<float>(input.sums),
                            .n_columns = x.n_rows,
                            .n_planes = input.n_planes,
                            .out = at<float>(job.out.data),
                            .out_stride = job.out.stride,
                            .second = at<float>(second),
                            .bias = at<float>(job.bias),
                            .scale = job.scale};
  const int n_input_tiles = ceil_of(x.n_rows, kTileColumns) * input.n_planes,
            n_weight_tiles = ceil_of(n_rows, kTileRows);
  const std::string prefix = "product_" + std::string(names.suffix) + "_";
  if (n_input_tiles > kMaxTiles) {
    const int n_at_once = many_tiles(names.format);
    device_->launch(prefix + "many", {ceil_of(n_weight_tiles, 4), ceil_of(n_input_tiles, n_at_once)}, kProductThreads,
                    args);
    return;
  }
  const int width = n_input_tiles <= 2 ? n_input_tiles : n_input_tiles <= 4 ? 4 : 8;
  device_->launch(prefix + std::to_string(width), {n_weight_tiles}, kProductThreads, args);
}

void CudaBackend::multiply_floats(Rows x, const MatmulJob& job) {
  const CudaMatrix& matrix = matrix_of(*job.weight);
  const int n_rows = static_cast<int>(matrix.n_rows());
  constexpr int kRowsAtOnce = 8, kColumnsAtOnce = 8;
  device_->launch(
      "floats_" + std::string(names_of(matrix.dtype()).suffix),
      {ceil_of(n_rows, kRowsAtOnce), ceil_of(x.n_rows, kColumnsAtOnce)}, kProductThreads,
      FloatProductArgs{at<void>(matrix.data()), to_size(padded_columns(x.n_cols)), n_rows, x.n_cols, at<float>(x.data),
                       x.stride, x.n_rows, at<float>(job.out.data), job.out.stride, at<float>(job.bias), job.scale});
}

void CudaBackend::matmul(Rows x, std::span<const MatmulJob> jobs, InputPlanes planes) {
  if (x.n_rows == 0) return;
  const auto is_int8 = [](const MatmulJob& job) { return is_quantised(job.weight->dtype()); };
  const auto is_bf16 = [&](const MatmulJob& job) {
    return job.weight->dtype() == DType::kBF16 && planes != InputPlanes::kAll;
  };
  // One scratch holds either form: first all products of one, then those of the other.
  if (std::ranges::any_of(jobs, is_int8)) {
    const Input input = pack_input(x, false, planes == InputPlanes::kOne ? 1 : 2);
    for (const MatmulJob& job : jobs) {
      if (is_int8(job)) multiply(x, input, job, {});
    }
  }
  if (std::ranges::any_of(jobs, is_bf16)) {
    const Input input = pack_input(x, true, 1);
    for (const MatmulJob& job : jobs) {
      if (is_bf16(job)) multiply(x, input, job, {});
    }
  }
  for (const MatmulJob& job : jobs) {
    if (!is_int8(job) && !is_bf16(job)) multiply_floats(x, job);
  }
}

void CudaBackend::logits(Rows x, const Matrix& weight, std::span<const LogitsUse> uses, float softcap, Rows out) {
  uncapped_logits(x, weight, uses, softcap, out);
  if (softcap == 0.0f) return;
  device_->launch("soft_cap", {out.n_rows, ceil_of(out.n_cols, kWideThreads)}, kWideThreads,
                  SoftCapArgs{at<float>(out.data), out.stride, out.n_cols, softcap});
}

/// Both planes of x meet the whole head in one pass over it; which logits get the second one's share is decided after.
void CudaBackend::uncapped_logits(Rows x, const Matrix& weight, std::span<const LogitsUse> uses, float softcap,
                                  Rows out) {
  const MatmulJob job{&weight, out};
  if (!is_quantised(weight.dtype())) return matmul(x, {&job, 1}, InputPlanes::kAll);
  std::vector<std::int32_t> targets;
  for (const LogitsUse& use : uses) targets.push_back(use.target);
  const DevicePtr second = scratch(second_, n_elements(x.n_rows, out.stride) * sizeof(float));
  const DevicePtr on_card = scratch(small_, targets.size() * sizeof(std::int32_t));
  if (!second || !on_card) return;
  upload(on_card, std::as_bytes(std::span(targets)));
  multiply(x, pack_input(x, false, 2), job, second);
  device_->launch("refine", {x.n_rows}, kWideThreads,
                  RefineArgs{at<float>(out.data), at<float>(second), at<std::int32_t>(on_card), out.stride, out.n_cols,
                             kRefinedRange, softcap});
}

void CudaBackend::rope_table(const RopeSpec& rope, const StepIndex& index, Rows out) {
  auto found = frequencies_.find(rope.frequencies);
  if (found == frequencies_.end()) {
    auto made = upload_new(std::as_bytes(std::span(rope.frequencies)));
    if (!made) {
      device_->give_up(made.error());
      return;
    }
    found = frequencies_.emplace(rope.frequencies, std::move(*made)).first;
  }
  device_->launch(
      "rope_table", {out.n_rows}, kRowThreads,
      RopeTableArgs{at<float>(found->second.ptr()), count_of(rope.frequencies), rope.magnitude, rope.growth,
                    rope.growth_context, at<std::int32_t>(index_of(index).positions), at<float>(out.data), out.stride});
}

void CudaBackend::norm_rope(Rows x, int n_heads, DevicePtr norm, float eps, const RopeSpec& rope, Rows table) {
  device_->launch(
      "norm_rope", {x.n_rows, n_heads}, kRowThreads,
      NormRopeArgs{at<float>(x.data), x.stride, x.n_cols / n_heads, at<float>(norm), eps, at<float>(table.data),
                   table.stride, count_of(rope.frequencies), rope.interleaved ? 1 : 0});
}

namespace {

KvArgs kv_args(const KvLayer& layer) {
  const std::size_t head_bytes = kPositions * kv_position_bytes(layer.type, 1, layer.heads.head_dim);
  return {at<std::uint8_t>(layer.data), head_bytes, layer.heads.n_kv_heads, layer.heads.head_dim};
}

std::string attend_kernel(KvType type, int head_dim, bool is_exact) {
  const int widths[] = {64, 128, 256, 512};
  const auto wide_enough = [&](int width) { return width >= head_dim && (!is_exact || width == 128 || width == 512); };
  const int width = *std::ranges::find_if(widths, wide_enough);
  return std::string("attend_") + (type == KvType::kInt8 ? "int8_" : "bf16_") + std::to_string(width) +
         (is_exact ? "_exact" : "");
}

}  // namespace

void CudaBackend::append_kv(Rows keys, Rows values, const StepIndex& index, const KvLayer& layer) {
  const CudaStepIndex& places = index_of(index);
  device_->launch(layer.type == KvType::kInt8 ? "append_int8" : "append_bf16", {keys.n_rows, layer.heads.n_kv_heads},
                  kRowThreads,
                  AppendArgs{at<float>(keys.data), at<float>(values.data), keys.stride, values.stride,
                             at<std::int32_t>(places.positions), at<std::int32_t>(places.tables),
                             at<std::int32_t>(places.blocks), kv_args(layer)});
}

void CudaBackend::attend(Rows q, const StepIndex& index, const KvLayer& layer, const AttendOptions& options, Rows out) {
  static_assert(sizeof(AttendOptions) == 24, "every option reaches the kernel, or is refused by check_heads()");
  CHECK(layer.heads.head_dim <= kMaxHeadDim);  // check_heads() was asked
  const CudaStepIndex& places = index_of(index);
  const int heads_per_kv = layer.heads.n_heads / layer.heads.n_kv_heads;
  const CudaStepIndex::Items* items = items_of(places, layer.heads, options.window);
  if (items == nullptr) return;
  const AttendPlan& plan = items->plan;
  DevicePtr partials;
  if (plan.n_partials > 0) {
    partials = scratch(partials_, to_size(plan.n_partials) * partial_bytes(layer.heads));
    if (!partials) return;
  }
  device_->launch(
      attend_kernel(layer.type, layer.heads.head_dim, options.keeps_f32),
      {count_of(plan.items), layer.heads.n_kv_heads}, kProductThreads,
      AttendArgs{at<float>(q.data), at<float>(out.data), q.stride, out.stride, heads_per_kv, options.window,
                 options.scale, options.softcap, at<std::int32_t>(places.blocks), at<AttendItem>(items->items),
                 at<float>(partials), kv_args(layer), at<float>(options.sinks)});
  device_->launch("attend_join", {count_of(plan.joins), layer.heads.n_kv_heads}, kProductThreads,
                  JoinArgs{at<AttendItem>(items->joins), at<float>(partials), at<float>(out.data), out.stride,
                           heads_per_kv, layer.heads.n_kv_heads, layer.heads.head_dim, at<float>(options.sinks)});
}

void CudaBackend::delta_net(const DeltaInputs&, const DeltaWeights&, const StepIndex&, const StateLayer& states, Rows,
                            Rows) {
  device_->give_up(check_delta(states.shape).error());
}

namespace {

int gate_of(Activation activation) {
  switch (activation) {
    case Activation::kSilu: return kSiluGate;
    case Activation::kGeluTanh: return kGeluGate;
    case Activation::kClampedSwiglu: return kClampedGate;
    case Activation::kSigmoid: return kSigmoidGate;
  }
  CHECK(false && "no such activation");
  return kSiluGate;
}

}  // namespace

void CudaBackend::gated(Activation activation, Rows gate, Rows up, Rows out) {
  device_->launch("gated", {gate.n_rows, ceil_of(gate.n_cols, kWideThreads)}, kWideThreads,
                  GatedArgs{at<float>(gate.data), at<float>(up.data), at<float>(out.data), gate.stride, up.stride,
                            out.stride, gate.n_cols, gate_of(activation)});
}

void CudaBackend::add(Rows x, Rows y, DevicePtr norm, float eps, bool round) {
  device_->launch(
      "add", {x.n_rows}, kRowThreads,
      AddArgs{at<float>(x.data), at<float>(y.data), x.stride, y.stride, x.n_cols, at<float>(norm), eps, round ? 1 : 0});
}

void CudaBackend::scale(Rows x, DevicePtr factor) {
  device_->launch("scale", {x.n_rows}, kWideThreads,
                  ScaleArgs{at<float>(x.data), at<float>(factor), x.stride, x.n_cols});
}

void CudaBackend::gather(Rows x, std::span<const std::int32_t> rows, Rows out) {
  const DevicePtr on_card = scratch(small_, rows.size_bytes());
  if (!on_card) return;
  upload(on_card, std::as_bytes(rows));
  device_->launch(
      "gather", {count_of(rows)}, kWideThreads,
      GatherArgs{at<float>(x.data), at<std::int32_t>(on_card), at<float>(out.data), x.stride, out.stride, out.n_cols});
}

void CudaBackend::clear(Rows x) {
  if (x.stride == x.n_cols) {
    return device_->fill_zero(x.data.value, n_elements(x.n_rows, x.n_cols) * sizeof(float));
  }
  for (int row = 0; row < x.n_rows; ++row) {
    device_->fill_zero(x.slice(row, 1).data.value, to_size(x.n_cols) * sizeof(float));
  }
}

void CudaBackend::scatter_add(Rows x, std::span<const std::int32_t> rows, std::span<const float> weights, Rows y) {
  const std::size_t n_bytes = rows.size_bytes();
  const DevicePtr on_card = scratch(small_, 2 * n_bytes);
  if (!on_card) return;
  upload(on_card, std::as_bytes(rows));
  upload(on_card.offset(n_bytes), std::as_bytes(weights));
  device_->launch("scatter_add", {y.n_rows}, kWideThreads,
                  ScatterArgs{at<float>(x.data), at<float>(y.data), at<std::int32_t>(on_card),
                              at<float>(on_card.offset(n_bytes)), x.stride, y.stride, y.n_cols});
}

void CudaBackend::unpack_bf16(DevicePtr from, Rows out) {
  device_->launch("unpack_bf16", {out.n_rows}, kWideThreads,
                  Bf16Args{nullptr, at<std::uint16_t>(from), at<float>(out.data), out.stride, out.n_cols});
}

void CudaBackend::pack_bf16(Rows x, DevicePtr to) {
  device_->launch("pack_bf16", {x.n_rows}, kWideThreads,
                  Bf16Args{at<float>(x.data), at<std::uint16_t>(to), nullptr, x.stride, x.n_cols});
}

}  // namespace commissure::cuda
