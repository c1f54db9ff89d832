#include <algorithm>
#include <cmath>
#include <vector>

#include "core/index.h"
#include "image/image.h"

namespace commissure {

namespace {

constexpr int kFractionBits = 32 - 8 - 2;  // of a weight: sums of weighted bytes fit 32 bits

double bilinear(double x) { return std::max(1.0 - std::abs(x), 0.0); }

/// Source: cubic convolution, R. Keys 1981, with a = -0.5.
double bicubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}

/// What one output pixel is made of: `weights` of the pixels from `first` on.
struct Taps {
  int first = 0;
  std::vector<std::int32_t> weights;
};

/// The taps of every output pixel along one side. A filter is stretched where the side shrinks, so that every input
/// pixel counts (antialiasing).
/// Source: Pillow, src/libImaging/Resample.c, precompute_coeffs and normalize_coeffs_8bpc.
std::vector<Taps> taps_of(int from, int to, ResizeFilter filter) {
  const auto shape = filter == ResizeFilter::kBilinear ? &bilinear : &bicubic;
  const double scale = static_cast<double>(from) / to;
  const double stretch = std::max(scale, 1.0);
  const double support = (filter == ResizeFilter::kBilinear ? 1.0 : 2.0) * stretch;
  std::vector<Taps> all(to_size(to));
  std::vector<double> weights;
  for (int i = 0; i < to; ++i) {
    const double center = (i + 0.5) * scale;
    const int first = std::max(static_cast<int>(center - support + 0.5), 0);
    const int end = std::min(static_cast<int>(center + support + 0.5), from);
    weights.clear();
    double sum = 0.0;
    for (int x = first; x < end; ++x) {
      weights.push_back(shape((x - center + 0.5) * (1.0 / stretch)));
      sum += weights.back();
    }
    Taps& taps = all[i];
    taps.first = first;
    for (double weight : weights) {
      if (sum != 0.0) weight /= sum;
      const double fixed = weight * (1 << kFractionBits);
      taps.weights.push_back(static_cast<std::int32_t>(weight < 0 ? fixed - 0.5 : fixed + 0.5));
    }
  }
  return all;
}

constexpr std::int32_t kHalf = 1 << (kFractionBits - 1);

std::uint8_t to_byte(std::int32_t sum) { return static_cast<std::uint8_t>(std::clamp(sum >> kFractionBits, 0, 255)); }

Image narrowed(const Image& image, int width, ResizeFilter filter) {
  const std::vector<Taps> all = taps_of(image.width, width, filter);
  Image result{.width = width, .height = image.height, .rgb = {}};
  result.rgb.reserve(n_elements(image.height, width, 3));
  for (int y = 0; y < image.height; ++y) {
    const std::uint8_t* row = image.rgb.data() + n_elements(y, image.width, 3);
    for (const Taps& taps : all) {
      std::int32_t red = kHalf, green = kHalf, blue = kHalf;
      const std::uint8_t* in = row + n_elements(taps.first, 3);
      for (const std::int32_t weight : taps.weights) {
        red += in[0] * weight;
        green += in[1] * weight;
        blue += in[2] * weight;
        in += 3;
      }
      for (const std::int32_t sum : {red, green, blue}) result.rgb.push_back(to_byte(sum));
    }
  }
  return result;
}

Image lowered(const Image& image, int height, ResizeFilter filter) {
  Image result{.width = image.width, .height = height, .rgb = {}};
  const std::size_t row_bytes = n_elements(image.width, 3);
  result.rgb.reserve(to_size(height) * row_bytes);
  std::vector<std::int32_t> sums(row_bytes);
  for (const Taps& taps : taps_of(image.height, height, filter)) {
    std::ranges::fill(sums, kHalf);
    const std::uint8_t* in = image.rgb.data() + to_size(taps.first) * row_bytes;
    for (const std::int32_t weight : taps.weights) {
      for (std::size_t i = 0; i < row_bytes; ++i) sums[i] += in[i] * weight;
      in += row_bytes;
    }
    for (const std::int32_t sum : sums) result.rgb.push_back(to_byte(sum));
  }
  return result;
}

}  // namespace

Image resize(const Image& image, int width, int height, ResizeFilter filter) {
  Image result = width != image.width ? narrowed(image, width, filter) : image;
  if (height != image.height) result = lowered(result, height, filter);
  return result;
}

}  // namespace commissure
