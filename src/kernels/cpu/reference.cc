#include "kernels/cpu/reference.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <span>
#include <type_traits>
#include <vector>

#include "core/dtype.h"
#include "kernels/cpu/rows/rows.h"
#include "kernels/quant.h"

namespace commissure::cpu::reference {

namespace {

constexpr int kLanes = 8;  // independent double sums: a fixed order that the compiler can still vectorise

double dot(const float* a, const float* b, int n) {
  std::array<double, kLanes> lanes{};
  int i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      lanes[lane] += static_cast<double>(a[i + lane]) * static_cast<double>(b[i + lane]);
    }
  }
  for (int lane = 0; i < n; ++i, ++lane) lanes[lane] += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  double sum = 0.0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

float inverse_rms(const float* x, float eps, int n) {
  return static_cast<float>(1.0 / std::sqrt(dot(x, x, n) / n + static_cast<double>(eps)));
}

void rms_norm(const float* x, const float* weight, float eps, int n, float* out) {
  const float inverse = inverse_rms(x, eps, n);
  for (int i = 0; i < n; ++i) out[i] = x[i] * inverse * weight[i];
}

void layer_norm(const float* x, const float* weight, const float* bias, float eps, int n, float* out) {
  double mean = 0.0, variance = 0.0;
  for (int i = 0; i < n; ++i) mean += static_cast<double>(x[i]) / n;
  for (int i = 0; i < n; ++i) variance += (static_cast<double>(x[i]) - mean) * (static_cast<double>(x[i]) - mean) / n;
  const double inverse = 1.0 / std::sqrt(variance + static_cast<double>(eps));
  for (int i = 0; i < n; ++i) {
    out[i] = static_cast<float>((static_cast<double>(x[i]) - mean) * inverse) * weight[i] + bias[i];
  }
}

void rotate(float& a, float& b, float cosine, float sine) {
  const float first = a;
  a = first * cosine - b * sine;
  b = b * cosine + first * sine;
}

void norm_rope(float* row, int n_heads, const HeadRotation& rotation) {
  const int n_pairs = rotation.n_pairs;
  for (int head = 0; head < n_heads; ++head) {
    float* x = row + head * rotation.head_dim;
    if (rotation.norm != nullptr) rms_norm(x, rotation.norm, rotation.eps, rotation.head_dim, x);
    for (int pair = 0; pair < n_pairs; ++pair) {
      const int a = rotation.interleaved ? 2 * pair : pair;
      const int b = rotation.interleaved ? 2 * pair + 1 : pair + n_pairs;
      rotate(x[a], x[b], rotation.table[pair], rotation.table[n_pairs + pair]);
    }
  }
}

float silu(float x) { return x / (1.0f + std::exp(-x)); }

float gelu_tanh(float x) {
  const float inner = 0.7978845608f * (x + 0.044715f * x * x * x);  // sqrt(2 / pi)
  return 0.5f * x * (1.0f + std::tanh(inner));
}

void gated_silu(const float* gate, const float* up, int n, float* out) {
  for (int i = 0; i < n; ++i) out[i] = silu(gate[i]) * up[i];
}

void gated_gelu(const float* gate, const float* up, int n, float* out) {
  for (int i = 0; i < n; ++i) out[i] = gelu_tanh(gate[i]) * up[i];
}

void gated_clamped(const float* gate, const float* up, int n, float* out) {
  for (int i = 0; i < n; ++i) {
    // Written so that NaN stays NaN.
    const float g = gate[i] > kSwigluLimit ? kSwigluLimit : gate[i];
    const float u = up[i] > kSwigluLimit ? kSwigluLimit : up[i] < -kSwigluLimit ? -kSwigluLimit : up[i];
    out[i] = g / (1.0f + std::exp(-kSwigluAlpha * g)) * (u + 1.0f);
  }
}

void gated_sigmoid(const float* gate, const float* up, int n, float* out) {
  for (int i = 0; i < n; ++i) out[i] = up[i] / (1.0f + std::exp(-gate[i]));
}

void add(float* x, const float* y, const Residual& residual, int n) {
  const float inverse = residual.norm != nullptr ? inverse_rms(y, residual.eps, n) : 1.0f;
  for (int i = 0; i < n; ++i) {
    const float sum = x[i] + (residual.norm != nullptr ? y[i] * inverse * residual.norm[i] : y[i]);
    x[i] = residual.round_to_bf16 ? to_float(to_bf16(sum)) : sum;
  }
}

void add_scaled(float* x, const float* y, float scale, int n) {
  for (int i = 0; i < n; ++i) x[i] = std::fma(scale, y[i], x[i]);
}

void scale(float* x, float factor, int n) {
  for (int i = 0; i < n; ++i) x[i] = to_float(to_bf16(x[i] * factor));
}

float maximum(const float* x, int n) {
  float largest = -std::numeric_limits<float>::infinity();
  for (int i = 0; i < n; ++i) {
    if (x[i] > largest) largest = x[i];
  }
  return largest;
}

int first_above(const float* x, int n, float floor) {
  int i = 0;
  while (i < n && !(x[i] > floor)) ++i;
  return i;
}

void soft_cap(float* x, int n, float cap) {
  for (int i = 0; i < n; ++i) {
    if (x[i] >= std::numeric_limits<float>::lowest()) x[i] = cap * std::tanh(x[i] / cap);
  }
}

void unpack_bf16(const std::uint16_t* from, int n, float* out) {
  for (int i = 0; i < n; ++i) out[i] = to_float(from[i]);
}

void pack_bf16(const float* from, int n, std::uint16_t* out) {
  for (int i = 0; i < n; ++i) out[i] = to_bf16(from[i]);
}

/// One head's part of a block: keys [64, head_dim], then values [64, head_dim], then the scales of an int8 block.
template <typename Stored>
struct HeadBlock {
  using Byte = std::conditional_t<std::is_const_v<Stored>, const std::byte, std::byte>;
  using Float = std::conditional_t<std::is_const_v<Stored>, const float, float>;
  Byte* data;
  int head_dim;

  Stored* key(int slot) const { return reinterpret_cast<Stored*>(data) + slot * head_dim; }
  Stored* value(int slot) const { return key(kBlockPositions + slot); }
  Float& key_scale(int slot) const { return reinterpret_cast<Float*>(data + scales_offset(head_dim))[slot]; }
  Float& value_scale(int slot) const { return key_scale(kBlockPositions + slot); }
};

/// Rounds to int8 and returns the scale: 0 when all values are next to nothing, NaN when one is not finite.
float quantise(const float* from, int n, std::int8_t* out) {
  float largest = 0.0f;
  for (int i = 0; i < n; ++i) largest = std::max(largest, std::abs(from[i]));
  const bool is_finite = std::all_of(from, from + n, [](float x) { return std::isfinite(x); });
  if (!is_finite) largest = std::numeric_limits<float>::quiet_NaN();
  const float scale = largest / 127.0f < kSmallestNormal ? 0.0f : largest / 127.0f;
  const float inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
  for (int i = 0; i < n; ++i) {
    out[i] = inverse > 0.0f ? static_cast<std::int8_t>(std::nearbyint(from[i] * inverse)) : std::int8_t{0};
  }
  return scale;
}

void append_bf16(std::byte* head_block, int slot, const float* key, const float* value, int head_dim) {
  const HeadBlock<bf16> block = {head_block, head_dim};
  pack_bf16(key, head_dim, block.key(slot));
  pack_bf16(value, head_dim, block.value(slot));
}

void append_int8(std::byte* head_block, int slot, const float* key, const float* value, int head_dim) {
  const HeadBlock<std::int8_t> block = {head_block, head_dim};
  block.key_scale(slot) = quantise(key, head_dim, block.key(slot));
  block.value_scale(slot) = quantise(value, head_dim, block.value(slot));
}

float unscaled(bf16 value) { return to_float(value); }
float unscaled(std::int8_t value) { return static_cast<float>(value); }

template <typename Stored>
float score(const float* q, HeadBlock<const Stored> block, int slot) {
  const Stored* key = block.key(slot);
  double sum = 0.0;
  for (int i = 0; i < block.head_dim; ++i) sum += static_cast<double>(q[i]) * static_cast<double>(unscaled(key[i]));
  if constexpr (sizeof(Stored) == 1) sum *= static_cast<double>(block.key_scale(slot));
  return static_cast<float>(sum);
}

/// Running softmax of one query: maximum, sum of weights; the weighted values stand in the output row.
struct Softmax {
  float max = -std::numeric_limits<float>::infinity();
  float sum = 0.0f;
};

/// Folds slots [first, last) of one block into `out`.
template <typename Stored>
void fold(const AttendItem& item, const float* q, HeadBlock<const Stored> block, int first, int last, Softmax& state,
          float* out) {
  std::array<float, kBlockPositions> weights{};
  float max = state.max;
  for (int slot = first; slot < last; ++slot) {
    weights[slot] = item.scale * score(q, block, slot);
    if (item.softcap > 0.0f) weights[slot] = item.softcap * std::tanh(weights[slot] / item.softcap);
    max = std::max(max, weights[slot]);
  }
  const float keep = std::exp(state.max - max);  // 0 for the first block: exp(-inf)
  for (int i = 0; i < item.head_dim; ++i) out[i] *= keep;
  double sum = 0.0;
  for (int slot = first; slot < last; ++slot) {
    const float weight = std::exp(weights[slot] - max);
    const float scaled = sizeof(Stored) == 1 ? weight * block.value_scale(slot) : weight;
    const Stored* value = block.value(slot);
    for (int i = 0; i < item.head_dim; ++i) out[i] += scaled * unscaled(value[i]);
    sum += static_cast<double>(weight);
  }
  state.sum = state.sum * keep + static_cast<float>(sum);
  state.max = max;
}

template <typename Stored>
void attend_query(const AttendItem& item, int row, const float* q, const float* sink, float* out) {
  const int begin = first_key(item.window, item.first_position + row), last = last_key(item, row);
  Softmax state;
  std::fill_n(out, item.head_dim, 0.0f);
  for (int block = begin / kBlockPositions; block <= last / kBlockPositions; ++block) {
    const int base = block * kBlockPositions;
    const std::byte* data = item.cache + item.blocks[block] * item.block_stride;
    fold(item, q, HeadBlock<const Stored>{data, item.head_dim}, std::max(begin - base, 0),
         std::min(last - base + 1, kBlockPositions), state, out);
  }
  if (sink != nullptr) state.sum += std::exp(*sink - state.max);
  for (int i = 0; i < item.head_dim; ++i) out[i] /= state.sum;
}

template <typename Stored>
void attend(const AttendItem& item, float*) {
  for (int row = 0; row < item.n_rows; ++row) {
    const float* q = item.q + static_cast<std::ptrdiff_t>(row) * item.q_stride;
    float* out = item.out + static_cast<std::ptrdiff_t>(row) * item.out_stride;
    for (int head = 0; head < item.n_heads; ++head) {
      const float* sink = item.sinks == nullptr ? nullptr : item.sinks + head;
      attend_query<Stored>(item, row, q + head * item.head_dim, sink, out + head * item.head_dim);
    }
  }
}

}  // namespace

void matmul(const MatrixSource& weight, Rows x, Rows out, int first, int last) {
  const int n = static_cast<int>(weight.n_cols);
  const std::size_t stride = row_bytes(weight.dtype, n);
  std::vector<float> values(n);
  for (int output = first; output < last; ++output) {
    dequantise(weight.dtype, weight.data.bytes.data() + output * stride, values);
    for (int row = 0; row < x.n_rows; ++row) {
      row_of(out, row)[output] = static_cast<float>(dot(values.data(), row_of(x, row), n));
    }
  }
}

const PointwiseKernels kPointwise = {rms_norm,      layer_norm,    norm_rope, gated_silu,  gated_gelu,
                                     gated_clamped, gated_sigmoid, add,       add_scaled,  scale,
                                     maximum,       first_above,   soft_cap,  unpack_bf16, pack_bf16};
const AttentionKernels kAttention = {{append_bf16, attend<bf16>}, {append_int8, attend<std::int8_t>}, nullptr};

}  // namespace commissure::cpu::reference
