#include "kernels/cpu/cpu_backend.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>

#include "core/check.h"
#include "core/index.h"
#include "kernels/cpu/reference.h"
#include "kernels/cpu/rows/rows.h"
#include "kernels/quant.h"

namespace commissure::cpu {

namespace {

/// Below this many values an operation takes about as long as starting the pool does (some microseconds).
constexpr std::int64_t kSerialValues = 16 * 1024;

const CpuStepIndex& places_of(const StepIndex& index) { return static_cast<const CpuStepIndex&>(index); }

const KvKernels& kernels_of(const AttentionKernels& kernels, KvType type) {
  return type == KvType::kInt8 ? kernels.int8 : kernels.bf16;
}

}  // namespace

CpuStepIndex::CpuStepIndex(StepShape shape) : shape_(std::move(shape)) {
  places_.reserve(shape_.tokens.size());
  for (int sequence = 0; std::cmp_less(sequence, shape_.sequences.size()); ++sequence) {
    const SequenceSpan& span = shape_.sequences[sequence];
    CHECK(std::cmp_equal(span.first_row, places_.size()) && span.n_rows >= 0 && span.first_position >= 0);
    CHECK(span.seen_end() >= span.first_position + span.n_rows);
    CHECK(std::cmp_less_equal(span.seen_end(), span.blocks.size() * kBlockPositions));
    for (int row = 0; row < span.n_rows; ++row) places_.push_back({sequence, span.first_position + row});
  }
  CHECK(places_.size() == shape_.tokens.size());
}

CpuBackend::CpuBackend(KernelSet kernels, int n_threads, bool pin) : kernels_(kernels), pool_(n_threads, pin) {
  if (kernels_.isa != Isa::kReference) matmul_.emplace(kernels_.isa);
}

BackendInfo CpuBackend::info() const { return {"cpu", std::string(isa_name(kernels_.isa)), pool_.n_threads()}; }

template <typename F>
void CpuBackend::for_rows(int n_rows, int values_per_row, F&& f) {
  if (n_rows == 1 || static_cast<std::int64_t>(n_rows) * values_per_row < kSerialValues) {
    for (int row = 0; row < n_rows; ++row) f(row);
    return;
  }
  pool_.run([&](int part, int n_parts) {
    const auto [first, last] = share(n_rows, part, n_parts);
    for (int row = first; row < last; ++row) f(row);
  });
}

void CpuBackend::embed(const Matrix& table, const StepIndex& index, float scale, Rows out) {
  const MatrixSource& source = static_cast<const CpuMatrix&>(table).source();
  const std::vector<std::int32_t>& tokens = places_of(index).shape().tokens;
  const std::size_t stride = row_bytes(source.dtype, source.n_cols);
  for_rows(out.n_rows, out.n_cols, [&](int row) {
    float* values = row_of(out, row);
    dequantise(source.dtype, source.data.bytes.data() + tokens[row] * stride, std::span(values, out.n_cols));
    for (int i = 0; i < out.n_cols; ++i) values[i] *= scale;
  });
}

void CpuBackend::rms_norm(Rows x, DevicePtr weight, float eps, Rows out) {
  for_rows(x.n_rows, x.n_cols, [&](int row) {
    kernels_.pointwise->rms_norm(row_of(x, row), address<float>(weight), eps, x.n_cols, row_of(out, row));
  });
}

void CpuBackend::layer_norm(Rows x, DevicePtr weight, DevicePtr bias, float eps, Rows out) {
  for_rows(x.n_rows, 2 * x.n_cols, [&](int row) {
    kernels_.pointwise->layer_norm(row_of(x, row), address<float>(weight), address<float>(bias), eps, x.n_cols,
                                   row_of(out, row));
  });
}

namespace {

MatmulTask task_of(const MatmulJob& job) {
  const MatrixSource& weight = static_cast<const CpuMatrix*>(job.weight)->source();
  DCHECK(weight.n_rows == job.out.n_cols);
  return {.dtype = weight.dtype,
          .weight = weight.data.bytes.data(),
          .n_rows = weight.n_rows,
          .out = row_of(job.out, 0),
          .out_stride = job.out.stride,
          .packed = weight.packed.bytes.empty() ? nullptr : weight.packed.bytes.data()};
}

}  // namespace

void CpuBackend::matmul(Rows x, std::span<const MatmulJob> jobs, InputPlanes planes) {
  if (!matmul_) {
    pool_.run([&](int part, int n_parts) {
      for (const MatmulJob& job : jobs) {
        const MatrixSource& weight = static_cast<const CpuMatrix*>(job.weight)->source();
        const auto [first, last] = share(static_cast<int>(weight.n_rows), part, n_parts);
        reference::matmul(weight, x, job.out, first, last);
      }
    });
    finish_jobs(jobs);
    return;
  }
  tasks_.clear();
  for (const MatmulJob& job : jobs) {
    DCHECK(static_cast<const CpuMatrix*>(job.weight)->source().n_cols == x.n_cols && x.n_rows == job.out.n_rows);
    tasks_.push_back(task_of(job));
  }
  const int n_planes = planes == InputPlanes::kOne ? 1 : 2;
  matmul_->run({row_of(x, 0), x.stride, x.n_rows, x.n_cols, n_planes, planes == InputPlanes::kAll}, tasks_, pool_);
  finish_jobs(jobs);
}

void CpuBackend::finish_jobs(std::span<const MatmulJob> jobs) {
  int n_values = 0;
  for (const MatmulJob& job : jobs) n_values += job.bias || job.scale != 1.0f ? job.out.n_cols : 0;
  if (n_values == 0) return;
  for_rows(jobs.front().out.n_rows, n_values, [&](int row) {
    for (const MatmulJob& job : jobs) {
      float* out = row_of(job.out, row);
      if (job.bias) kernels_.pointwise->add(out, address<float>(job.bias), {}, job.out.n_cols);
      if (job.scale == 1.0f) continue;
      for (int i = 0; i < job.out.n_cols; ++i) out[i] *= job.scale;
    }
  });
}

void CpuBackend::rope_table(const RopeSpec& rope, const StepIndex& index, Rows out) {
  const std::span<const CpuStepIndex::Place> places = places_of(index).places();
  const auto n_pairs = rope.frequencies.size();
  // A sine costs as much as some thirty of the values that for_rows counts in.
  for_rows(out.n_rows, 32 * out.n_cols, [&](int row) {
    float* cosines = row_of(out, row);
    const auto position = static_cast<float>(places[row].position);
    float magnitude = rope.magnitude;
    if (rope.growth > 0.0f)
      magnitude *= 1.0f + rope.growth * std::log(1.0f + std::floor(position / rope.growth_context));
    for (std::size_t pair = 0; pair < n_pairs; ++pair) {
      const float angle = position * rope.frequencies[pair];
      cosines[pair] = std::cos(angle) * magnitude;
      cosines[n_pairs + pair] = std::sin(angle) * magnitude;
    }
  });
}

void CpuBackend::norm_rope(Rows x, int n_heads, DevicePtr norm, float eps, const RopeSpec& rope, Rows table) {
  for_rows(x.n_rows, x.n_cols, [&](int row) {
    const HeadRotation rotation = {.head_dim = x.n_cols / n_heads,
                                   .norm = address<float>(norm),
                                   .eps = eps,
                                   .table = row_of(table, row),
                                   .n_pairs = count_of(rope.frequencies),
                                   .interleaved = rope.interleaved};
    kernels_.pointwise->norm_rope(row_of(x, row), n_heads, rotation);
  });
}

void CpuBackend::append_kv(Rows keys, Rows values, const StepIndex& index, const KvLayer& layer) {
  const CpuStepIndex& places = places_of(index);
  const int dim = layer.heads.head_dim;
  const std::size_t head_bytes = head_block_bytes(layer);
  const auto append = kernels_of(*kernels_.attention, layer.type).append;
  for_rows(keys.n_rows, 4 * keys.n_cols, [&](int row) {
    const CpuStepIndex::Place place = places.places()[row];
    const SequenceSpan& span = places.shape().sequences[place.sequence];
    const std::size_t block = to_size(span.blocks[place.position / kBlockPositions]);
    std::byte* head_block = address<std::byte>(layer.data) + block * layer.heads.n_kv_heads * head_bytes;
    for (int head = 0; head < layer.heads.n_kv_heads; ++head, head_block += head_bytes) {
      append(head_block, place.position % kBlockPositions, row_of(keys, row) + head * dim,
             row_of(values, row) + head * dim, dim);
    }
  });
}

void CpuBackend::attend(Rows q, const StepIndex& index, const KvLayer& layer, const AttendOptions& options, Rows out) {
  const StepShape& shape = places_of(index).shape();
  std::int64_t n_products = 0;
  for (const SequenceSpan& span : shape.sequences) {
    n_products += static_cast<std::int64_t>(span.n_rows) * q.n_cols * span.seen_end();
  }
  const bool is_serial = n_products < 2 * kSerialValues;  // some 2 us of AVX-512 work
  const AttentionKernels& kernels = *kernels_.attention;
  attention_plan_.make({q, shape, layer, options, out}, is_serial ? 1 : pool_.n_threads(), kernels.combine != nullptr);
  const auto attend_item = kernels_of(kernels, layer.type).attend;
  const auto attend_part = [&](int part, int) {
    for (const AttendItem& item : attention_plan_.share(part)) attend_item(item, attention_plan_.scratch(part));
  };
  if (is_serial) return attend_part(0, 1);
  pool_.run(attend_part);
  for (const AttendItem& item : attention_plan_.cut()) kernels.combine(item);
}

void CpuBackend::gated(Activation activation, Rows gate, Rows up, Rows out) {
  const PointwiseKernels& kernels = *kernels_.pointwise;
  const auto kernel = activation == Activation::kSilu       ? kernels.gated_silu
                      : activation == Activation::kGeluTanh ? kernels.gated_gelu
                      : activation == Activation::kSigmoid  ? kernels.gated_sigmoid
                                                            : kernels.gated_clamped;
  for_rows(gate.n_rows, 4 * gate.n_cols,
           [&](int row) { kernel(row_of(gate, row), row_of(up, row), gate.n_cols, row_of(out, row)); });
}

void CpuBackend::add(Rows x, Rows y, DevicePtr norm, float eps, bool round) {
  const Residual residual = {.norm = address<float>(norm), .eps = eps, .round_to_bf16 = round};
  for_rows(x.n_rows, x.n_cols,
           [&](int row) { kernels_.pointwise->add(row_of(x, row), row_of(y, row), residual, x.n_cols); });
}

void CpuBackend::scale(Rows x, DevicePtr factor) {
  const float by = *address<const float>(factor);
  for_rows(x.n_rows, x.n_cols, [&](int row) { kernels_.pointwise->scale(row_of(x, row), by, x.n_cols); });
}

void CpuBackend::gather(Rows x, std::span<const std::int32_t> rows, Rows out) {
  for_rows(out.n_rows, out.n_cols,
           [&](int row) { std::memcpy(row_of(out, row), row_of(x, rows[row]), out.n_cols * sizeof(float)); });
}

void CpuBackend::clear(Rows x) {
  for_rows(x.n_rows, x.n_cols, [&](int row) { std::memset(row_of(x, row), 0, x.n_cols * sizeof(float)); });
}

void CpuBackend::scatter_add(Rows x, std::span<const std::int32_t> rows, std::span<const float> weights, Rows y) {
  DCHECK(rows.size() == weights.size() && std::cmp_equal(rows.size(), y.n_rows));
  for_rows(y.n_rows, y.n_cols,
           [&](int i) { kernels_.pointwise->add_scaled(row_of(x, rows[i]), row_of(y, i), weights[i], y.n_cols); });
}

void CpuBackend::unpack_bf16(DevicePtr from, Rows out) {
  for_rows(out.n_rows, out.n_cols, [&](int row) {
    const auto* values = address<const std::uint16_t>(from) + static_cast<std::ptrdiff_t>(row) * out.n_cols;
    kernels_.pointwise->unpack_bf16(values, out.n_cols, row_of(out, row));
  });
}

void CpuBackend::pack_bf16(Rows x, DevicePtr to) {
  for_rows(x.n_rows, x.n_cols, [&](int row) {
    auto* values = address<std::uint16_t>(to) + static_cast<std::ptrdiff_t>(row) * x.n_cols;
    kernels_.pointwise->pack_bf16(row_of(x, row), x.n_cols, values);
  });
}

void CpuBackend::for_each(int n, const std::function<void(int i, int part)>& f) {
  if (n < 2) return Backend::for_each(n, f);
  pool_.run([&](int part, int n_parts) {
    const auto [first, last] = share(n, part, n_parts);
    for (int i = first; i < last; ++i) f(i, part);
  });
  pool_.rest();
}

Result<std::span<const std::byte>> CpuBackend::fetch(DevicePtr from, std::size_t n_bytes) {
  pool_.rest();  // a step ends here: until the next one the cores belong to others
  return std::span<const std::byte>(address<const std::byte>(from), n_bytes);
}

Result<std::span<const std::byte>> CpuBackend::peek(DevicePtr from, std::size_t n_bytes) {
  return std::span<const std::byte>(address<const std::byte>(from), n_bytes);
}

}  // namespace commissure::cpu
