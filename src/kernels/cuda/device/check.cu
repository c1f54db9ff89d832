#include "kernels/cuda/device/numbers.cuh"

/// What every answer rests on, once, for the host to compare (self_check.h): the matrix instructions, both ways of
/// loading, a sum over lanes, and roundings.
namespace commissure::cuda {

constexpr int kCheckThreads = kWarp;

struct CheckShared {
  uint4 words[kWarp];
};

/// Pairs of small whole numbers, so that no order of sums rounds.
DEVICE unsigned whole_pair(unsigned word) {
  return bf16_pair(static_cast<float>(word & 15u) - 8.0f, static_cast<float>(word >> 4 & 15u) - 8.0f);
}

KERNEL(CheckArgs, kCheckThreads, self_check) {
  SHARED(CheckShared, shared);
  const int lane = threadIdx.x;
  const auto* rows = reinterpret_cast<const uint4*>(args.words);
  const auto* columns = reinterpret_cast<const uint2*>(args.words + kWarp * 4);
  copy_async(&shared.words[lane], rows + lane);
  copy_commit();
  copy_wait<0>();
  __syncthreads();
  const uint4 row = load_wide(&shared.words[lane]);
  const uint2 column = load_stream(columns + lane);
  const unsigned a[4] = {row.x, row.y, row.z, row.w}, b[2] = {column.x, column.y};
  int whole[4] = {lane, lane, lane, lane};
  multiply_add(whole, a, b);
  const unsigned a_pairs[4] = {whole_pair(a[0]), whole_pair(a[1]), whole_pair(a[2]), whole_pair(a[3])};
  const unsigned b_pairs[2] = {whole_pair(b[0]), whole_pair(b[1])};
  const float start = static_cast<float>(lane);
  float sums[4] = {start, start, start, start};
  multiply_add(sums, a_pairs, b_pairs);

  uint32_t* out = args.out + lane * kCheckWords;
  for (int i = 0; i < 4; ++i) {
    out[i] = static_cast<uint32_t>(whole[i]);
    out[4 + i] = __float_as_uint(sums[i]);
  }
  const float value = static_cast<float>(static_cast<int>(row.x));
  out[8] = __float_as_uint(sum_of_16(value));
  out[9] = __float_as_uint(value * value - value);
  out[10] = __float_as_uint(fmaf(value, value, 0.0f - value * value));
  out[11] = __float_as_uint(1.0f / value);
  out[12] = __float_as_uint(sqrtf(value * value + 1.0f));
  out[13] = __float_as_uint(half_to_float(static_cast<uint16_t>(row.y & 0xbbffu)));
}

}  // namespace commissure::cuda
