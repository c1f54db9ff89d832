#include "core/dtype.h"

#include <cmath>

#include "core/check.h"
#include "core/index.h"

namespace commissure {

namespace {

struct Entry {
  std::string_view name;
  BlockSize size;
};

const Entry& entry(DType dtype) {
  // Indexed by DType.
  static constexpr Entry kTable[] = {
      {"F32", {1, 4}},      {"F16", {1, 2}},    {"BF16", {1, 2}},   {"Q8_0", {32, 34}},   {"Q4_0", {32, 18}},
      {"Q4_1", {32, 20}},   {"Q5_0", {32, 22}}, {"Q5_1", {32, 24}}, {"Q4_K", {256, 144}}, {"Q5_K", {256, 176}},
      {"Q6_K", {256, 210}}, {"I32", {1, 4}},    {"NF4", {64, 34}},  {"U8", {1, 1}},       {"MXFP4", {32, 17}},
  };
  return kTable[static_cast<int>(dtype)];
}

}  // namespace

BlockSize block_size(DType dtype) { return entry(dtype).size; }

std::string_view dtype_name(DType dtype) { return entry(dtype).name; }

std::size_t row_bytes(DType dtype, std::int64_t n_cols) {
  const BlockSize size = block_size(dtype);
  DCHECK(n_cols % size.n_elements == 0);
  return n_elements(n_cols / size.n_elements, size.n_bytes);
}

float half_to_float(std::uint16_t half) {
  const std::uint32_t sign = std::uint32_t{half & 0x8000u} << 16;
  const std::uint32_t exponent = (half >> 10) & 0x1fu;
  const std::uint32_t mantissa = half & 0x3ffu;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;  // subnormal or zero
  return sign ? -magnitude : magnitude;
}

std::uint16_t float_to_half(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<std::uint16_t>(sign | 0x7e00u);
  if (magnitude >= 0x477ff000u) return static_cast<std::uint16_t>(sign | 0x7c00u);  // rounds to infinity
  if (magnitude < 0x38800000u) {  // subnormal half: let the FPU round at the half's last place
    const float scaled = std::bit_cast<float>(magnitude) * 0x1p24f;
    return static_cast<std::uint16_t>(sign | static_cast<std::uint16_t>(std::nearbyint(scaled)));
  }
  const std::uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return static_cast<std::uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
}

}  // namespace commissure
