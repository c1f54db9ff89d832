#include "kernels/clamped_swiglu.h"
#include "kernels/cuda/device/formats.cuh"

/// Everything of a step that is neither a product nor attention, row by row, in the order and with the bits of the
/// CPU's vector kernels (cpu/rows/pointwise.cc). A row's sum has 64 chains, hence 64 threads a row.
namespace commissure::cuda {

constexpr int kRowThreads = 64;
constexpr int kLanes = 16;

/// 1 / rms(x) in every thread; `sums` is 64 floats of shared memory. All threads of the block call it.
DEVICE float inverse_rms(const float* x, float eps, int n, float* sums) {
  const int thread = threadIdx.x, n_whole = n / kRowThreads * kRowThreads;
  float sum = 0.0f;
  for (int i = thread; i < n_whole; i += kRowThreads) sum = fmaf(x[i], x[i], sum);
  if (thread < kLanes) {
    for (int i = n_whole + thread; i < n; i += kLanes) sum = fmaf(x[i], x[i], sum);
  }
  __syncthreads();  // the sums of a row before may still be read
  sums[thread] = sum;
  __syncthreads();
  const int lane = thread % kLanes;
  const float four = (sums[lane] + sums[lane + kLanes]) + (sums[lane + 2 * kLanes] + sums[lane + 3 * kLanes]);
  return 1.0f / sqrtf(sum_of_16(four) / static_cast<float>(n) + eps);
}

struct RowSums {
  float values[kRowThreads];
};

KERNEL(NormArgs, kRowThreads, rms_norm) {
  SHARED(RowSums, sums);
  const float* x = args.x + static_cast<size_t>(blockIdx.x) * args.x_stride;
  float* out = args.out + static_cast<size_t>(blockIdx.x) * args.out_stride;
  const float inverse = inverse_rms(x, args.eps, args.n_cols, sums.values);
  for (int i = threadIdx.x; i < args.n_cols; i += kRowThreads) out[i] = x[i] * inverse * args.weight[i];
}

/// A block of threads a row and head.
KERNEL(NormRopeArgs, kRowThreads, norm_rope) {
  SHARED(RowSums, sums);
  float* x = args.x + static_cast<size_t>(blockIdx.x) * args.x_stride + blockIdx.y * args.head_dim;
  if (args.norm != nullptr) {
    const float inverse = inverse_rms(x, args.eps, args.head_dim, sums.values);
    for (int i = threadIdx.x; i < args.head_dim; i += kRowThreads) x[i] = x[i] * inverse * args.norm[i];
    __syncthreads();
  }
  const float* table = args.table + static_cast<size_t>(blockIdx.x) * args.table_stride;
  for (int pair = threadIdx.x; pair < args.n_pairs; pair += kRowThreads) {
    const int first = args.interleaved != 0 ? 2 * pair : pair;
    const int second = args.interleaved != 0 ? 2 * pair + 1 : pair + args.n_pairs;
    const float a = x[first], b = x[second], cosine = table[pair], sine = table[args.n_pairs + pair];
    x[first] = a * cosine - b * sine;
    x[second] = b * cosine + a * sine;
  }
}

/// With functions of CUDA's maths library: their last bits are not the CPU's.
KERNEL(RopeTableArgs, kRowThreads, rope_table) {
  float* out = args.out + static_cast<size_t>(blockIdx.x) * args.out_stride;
  const float position = static_cast<float>(args.positions[blockIdx.x]);
  float magnitude = args.magnitude;
  if (args.growth > 0.0f) magnitude *= 1.0f + args.growth * logf(1.0f + floorf(position / args.growth_context));
  for (int pair = threadIdx.x; pair < args.n_pairs; pair += kRowThreads) {
    const float angle = position * args.frequencies[pair];
    out[pair] = cosf(angle) * magnitude;
    out[args.n_pairs + pair] = sinf(angle) * magnitude;
  }
}

DEVICE float silu(float x) { return x / (1.0f + exponential(0.0f - x)); }

DEVICE float gelu(float x) {
  const float cubic = fmaf(x * x * x, 0.044715f, x);
  return x / (1.0f + exponential(cubic * -1.5957691216f));
}

DEVICE float clamped_swiglu(float gate, float up) {
  const float g = kSwigluLimit < gate ? kSwigluLimit : gate;  // NaN stays
  return g / (1.0f + exponential(g * -kSwigluAlpha)) * (clamped_to(up, -kSwigluLimit, kSwigluLimit) + 1.0f);
}

DEVICE float activated(int activation, float gate, float up) {
  switch (activation) {
    case kGeluGate: return gelu(gate) * up;
    case kClampedGate: return clamped_swiglu(gate, up);
    case kSigmoidGate: return up / (1.0f + exponential(0.0f - gate));
    default: return silu(gate) * up;
  }
}

constexpr int kWideThreads = 256;

KERNEL(GatedArgs, kWideThreads, gated) {
  const int i = blockIdx.y * kWideThreads + threadIdx.x;
  if (i >= args.n_cols) return;
  const size_t row = blockIdx.x;
  const float gate = args.gate[row * args.gate_stride + i], up = args.up[row * args.up_stride + i];
  args.out[row * args.out_stride + i] = activated(args.activation, gate, up);
}

KERNEL(AddArgs, kRowThreads, add) {
  SHARED(RowSums, sums);
  float* x = args.x + static_cast<size_t>(blockIdx.x) * args.x_stride;
  const float* y = args.y + static_cast<size_t>(blockIdx.x) * args.y_stride;
  const float inverse = args.norm != nullptr ? inverse_rms(y, args.eps, args.n_cols, sums.values) : 1.0f;
  for (int i = threadIdx.x; i < args.n_cols; i += kRowThreads) {
    const float addend = args.norm != nullptr ? y[i] * inverse * args.norm[i] : y[i];
    const float sum = x[i] + addend;
    x[i] = args.rounds != 0 ? bf16_to_float(float_to_bf16(sum)) : sum;
  }
}

KERNEL(ScaleArgs, kWideThreads, scale) {
  float* x = args.x + static_cast<size_t>(blockIdx.x) * args.stride;
  for (int i = threadIdx.x; i < args.n_cols; i += kWideThreads) {
    x[i] = bf16_to_float(float_to_bf16(x[i] * args.factor[0]));
  }
}

KERNEL(GatherArgs, kWideThreads, gather) {
  const float* x = args.x + static_cast<size_t>(args.rows[blockIdx.x]) * args.x_stride;
  float* out = args.out + static_cast<size_t>(blockIdx.x) * args.out_stride;
  for (int i = threadIdx.x; i < args.n_cols; i += kWideThreads) out[i] = x[i];
}

KERNEL(ScatterArgs, kWideThreads, scatter_add) {
  float* x = args.x + static_cast<size_t>(args.rows[blockIdx.x]) * args.x_stride;
  const float* y = args.y + static_cast<size_t>(blockIdx.x) * args.y_stride;
  for (int i = threadIdx.x; i < args.n_cols; i += kWideThreads) x[i] = fmaf(args.weights[blockIdx.x], y[i], x[i]);
}

/// x = cap * tanh(x / cap) by tanh u = 1 - 2 / (1 + e^2u); -infinity stays.
KERNEL(SoftCapArgs, kWideThreads, soft_cap) {
  const int i = blockIdx.y * kWideThreads + threadIdx.x;
  if (i >= args.n_cols) return;
  float& x = args.x[static_cast<size_t>(blockIdx.x) * args.stride + i];
  if (x < -3.4028235e38f) return;
  x = args.cap - 2.0f * args.cap / (1.0f + exponential(x * (2.0f / args.cap)));
}

KERNEL(Bf16Args, kWideThreads, pack_bf16) {
  const size_t row = blockIdx.x;
  for (int i = threadIdx.x; i < args.n_cols; i += kWideThreads) {
    args.packed[row * args.n_cols + i] = float_to_bf16(args.from[row * args.stride + i]);
  }
}

KERNEL(Bf16Args, kWideThreads, unpack_bf16) {
  const size_t row = blockIdx.x;
  for (int i = threadIdx.x; i < args.n_cols; i += kWideThreads) {
    args.to[row * args.stride + i] = bf16_to_float(args.packed[row * args.n_cols + i]);
  }
}

/// A value of a packed matrix, as kernels/quant.cc dequantises it.
template <int kFormat>
DEVICE float value_at(const uint8_t* weights, const PackedLayout& layout, int row, int k) {
  constexpr FormatTraits kTraits = traits_of(kFormat);
  const int tile = row / kTileRows, b = k / kBlock, j = k % kBlock;
  const int lane = row % 8 * 4 + j % 16 / 4, r = row % kTileRows / 8 + j / 16 * 2, e = j % 4;
  const size_t slot = (static_cast<size_t>(tile) * kChains + b % kChains) * layout.per_chain + b / kChains;
  const uint8_t* quants = weights + (slot * kWarp + lane) * quant_bytes(kTraits);
  const uint8_t* high = weights + layout.high + (slot * kWarp + lane) * high_bytes(kTraits);
  const uint8_t* scales = weights + layout.scales + (slot * kTileRows + row % kTileRows) * scale_bytes(kTraits);
  if constexpr (kFormat == kQ8_0) {
    return half_to_float(*reinterpret_cast<const uint16_t*>(scales)) *
           static_cast<float>(static_cast<int8_t>(quants[r * 4 + e]));
  }
  int q = r % 2 == 0 ? quants[r / 2 * 4 + e] & 15 : quants[r / 2 * 4 + e] >> 4;
  if constexpr (kTraits.bits == 5) q |= ((*reinterpret_cast<const uint16_t*>(high) >> (4 * r + e)) & 1) << 4;
  if constexpr (kTraits.bits == 6) q |= ((high[e] >> (2 * r)) & 3) << 4;
  if constexpr (has_codes(kFormat)) q = static_cast<int8_t>(coded_values<kFormat>(static_cast<uint32_t>(q)) & 0xffu);
  const float value = static_cast<float>(q - kTraits.bias);
  if constexpr (kTraits.has_exponent) return exponent_scale(scales[0]) * value;
  const size_t super = (static_cast<size_t>(tile) * (layout.n_blocks / 8) + b / 8) * kTileRows + row % kTileRows;
  const auto* halves =
      reinterpret_cast<const uint16_t*>(kTraits.is_k ? weights + layout.supers + super * super_bytes(kTraits) : scales);
  const float d = half_to_float(halves[0]);
  if constexpr (kFormat == kQ6_K) return d * static_cast<float>(static_cast<int8_t>(scales[j / 16])) * value;
  if constexpr (!kTraits.has_minimum) return d * value;
  const float m = half_to_float(halves[1]);
  if constexpr (!kTraits.is_k) return d * value + m;
  return d * static_cast<float>(scales[0]) * value - m * static_cast<float>(scales[1]);
}

template <int kFormat>
DEVICE void embed(const EmbedArgs& args) {
  const PackedLayout layout = packed_layout(kFormat, args.n_rows, args.n_cols);
  float* out = args.out + static_cast<size_t>(blockIdx.x) * args.out_stride;
  for (int k = threadIdx.x; k < args.n_cols; k += kWideThreads) {
    const auto* weights = static_cast<const uint8_t*>(args.weights);
    out[k] = value_at<kFormat>(weights, layout, args.tokens[blockIdx.x], k) * args.scale;
  }
}

KERNEL(EmbedArgs, kWideThreads, embed_q4_0) { embed<kQ4_0>(args); }
KERNEL(EmbedArgs, kWideThreads, embed_q4_1) { embed<kQ4_1>(args); }
KERNEL(EmbedArgs, kWideThreads, embed_q5_0) { embed<kQ5_0>(args); }
KERNEL(EmbedArgs, kWideThreads, embed_q5_1) { embed<kQ5_1>(args); }
KERNEL(EmbedArgs, kWideThreads, embed_q8_0) { embed<kQ8_0>(args); }
KERNEL(EmbedArgs, kWideThreads, embed_q4_k) { embed<kQ4_K>(args); }
KERNEL(EmbedArgs, kWideThreads, embed_q5_k) { embed<kQ5_K>(args); }
KERNEL(EmbedArgs, kWideThreads, embed_nf4) { embed<kNF4>(args); }
KERNEL(EmbedArgs, kWideThreads, embed_mxfp4) { embed<kMXFP4>(args); }
KERNEL(EmbedArgs, kWideThreads, embed_q6_k) { embed<kQ6_K>(args); }

struct F32 {
  using Value = float;
  DEVICE static float of(float v) { return v; }
};
struct F16 {
  using Value = uint16_t;
  DEVICE static float of(uint16_t v) { return half_to_float(v); }
};
struct Bf16 {
  using Value = uint16_t;
  DEVICE static float of(uint16_t v) { return bf16_to_float(v); }
};

template <typename Type>
DEVICE void embed_floats(const EmbedArgs& args) {
  const auto* row = static_cast<const typename Type::Value*>(args.weights) +
                    static_cast<size_t>(args.tokens[blockIdx.x]) * args.stride;
  float* out = args.out + static_cast<size_t>(blockIdx.x) * args.out_stride;
  for (int k = threadIdx.x; k < args.n_cols; k += kWideThreads) out[k] = Type::of(row[k]) * args.scale;
}

KERNEL(EmbedArgs, kWideThreads, embed_f32) { embed_floats<F32>(args); }
KERNEL(EmbedArgs, kWideThreads, embed_f16) { embed_floats<F16>(args); }
KERNEL(EmbedArgs, kWideThreads, embed_bf16) { embed_floats<Bf16>(args); }

/// f32 inputs times float weights: 16 lanes an output, in the order of the CPU's float kernels. Eight weight rows and
/// up to eight columns a block of threads.
constexpr int kFloatThreads = 128;
constexpr int kFloatRows = kFloatThreads / kLanes;
constexpr int kFloatColumns = 8;

template <typename Type>
DEVICE void multiply_floats(const FloatProductArgs& args) {
  const int row = blockIdx.x * kFloatRows + threadIdx.x / kLanes, lane = threadIdx.x % kLanes;
  const int own = row < args.n_rows ? row : args.n_rows - 1, first = blockIdx.y * kFloatColumns;
  const int n = args.n_columns - first < kFloatColumns ? args.n_columns - first : kFloatColumns;
  const auto* weights = static_cast<const typename Type::Value*>(args.weights) + own * args.stride;
  const float* x = args.x + static_cast<size_t>(first) * args.x_stride;
  float acc[kFloatColumns] = {};
#pragma unroll 4
  for (int k = lane; k < args.n_cols; k += kLanes) {
    const float w = Type::of(weights[k]);
#pragma unroll
    for (int c = 0; c < kFloatColumns; ++c) {
      if (c < n) acc[c] = fmaf(w, x[static_cast<size_t>(c) * args.x_stride + k], acc[c]);
    }
  }
#pragma unroll
  for (int c = 0; c < kFloatColumns; ++c) {
    float value = sum_of_16(acc[c]);
    if (c >= n || lane != 0 || row >= args.n_rows) continue;
    if (args.bias != nullptr) value = value + args.bias[row];
    args.out[static_cast<size_t>(first + c) * args.out_stride + row] = args.scale == 1.0f ? value : value * args.scale;
  }
}

KERNEL(FloatProductArgs, kFloatThreads, floats_f32) { multiply_floats<F32>(args); }
KERNEL(FloatProductArgs, kFloatThreads, floats_f16) { multiply_floats<F16>(args); }
KERNEL(FloatProductArgs, kFloatThreads, floats_bf16) { multiply_floats<Bf16>(args); }

/// The head: logits within `range` of their row's largest, and the target's, get the second plane of x as well
/// (cpu/logits.cc). A block of threads a row.
struct RefineSums {
  float largest[kWideThreads / kWarp];
  float floor;
};

/// As cpu/head/head_search.h's floor_below(); the room it leaves is wider than what two maths libraries differ by.
DEVICE float floor_below(float top, float range, float cap) {
  if (cap == 0.0f) return top - range;
  const double capped = tanh(static_cast<double>(top) / cap) - static_cast<double>(range) / cap - 2e-6;
  return static_cast<float>(atanh(capped > -1.0 ? capped : -1.0) * cap);
}

KERNEL(RefineArgs, kWideThreads, refine) {
  SHARED(RefineSums, sums);
  float* logits = args.logits + static_cast<size_t>(blockIdx.x) * args.stride;
  const float* second = args.second + static_cast<size_t>(blockIdx.x) * args.stride;
  float largest = -infinity();
  for (int i = threadIdx.x; i < args.n_outputs; i += kWideThreads) largest = larger(largest, logits[i]);
  largest = largest_of_warp(largest);
  if (threadIdx.x % kWarp == 0) sums.largest[threadIdx.x / kWarp] = largest;
  __syncthreads();
  for (int i = 0; i < kWideThreads / kWarp; ++i) largest = larger(largest, sums.largest[i]);
  if (threadIdx.x == 0) sums.floor = floor_below(largest, args.range, args.cap);
  __syncthreads();
  const float floor = sums.floor;
  for (int i = threadIdx.x; i < args.n_outputs; i += kWideThreads) {
    if (logits[i] > floor || i == args.targets[blockIdx.x]) logits[i] = logits[i] + second[i];
  }
}

}  // namespace commissure::cuda
