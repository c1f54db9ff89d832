#include "model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/check.h"

namespace commissure {

std::vector<float> rope_frequencies(int head_dim, double theta) {
  std::vector<float> frequencies(head_dim / 2);
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    frequencies[i] = static_cast<float>(std::pow(theta, -2.0 * static_cast<double>(i) / head_dim));
  }
  return frequencies;
}

void scale_linear(std::vector<float>& frequencies, double factor) {
  for (float& frequency : frequencies) frequency = static_cast<float>(frequency / factor);
}

void scale_llama3(std::vector<float>& frequencies, const Llama3Scaling& scaling) {
  const double low = scaling.low_frequency_factor;
  const double high = scaling.high_frequency_factor;
  for (float& frequency : frequencies) {
    const double wavelength = 2.0 * std::numbers::pi / frequency;
    if (wavelength < scaling.original_context / high) continue;
    const double slowed = frequency / scaling.factor;
    if (wavelength > scaling.original_context / low) {
      frequency = static_cast<float>(slowed);
      continue;
    }
    const double keep = (scaling.original_context / wavelength - low) / (high - low);
    frequency = static_cast<float>((1.0 - keep) * slowed + keep * frequency);
  }
}

double yarn_magnitude(double factor, double weight) {
  return factor <= 1.0 ? 1.0 : 0.1 * weight * std::log(factor) + 1.0;
}

double long_rope_magnitude(double factor, double original_context) {
  return factor <= 1.0 ? 1.0 : std::sqrt(1.0 + std::log(factor) / std::log(original_context));
}

void scale_yarn(std::vector<float>& frequencies, double theta, const YarnScaling& scaling) {
  const auto head_dim = 2.0 * static_cast<double>(frequencies.size());
  // The pair whose angle makes `turns` turns within the original context.
  const auto pair_of = [&](double turns) {
    return head_dim * std::log(scaling.original_context / (turns * 2.0 * std::numbers::pi)) / (2.0 * std::log(theta));
  };
  double first = pair_of(scaling.beta_fast), last = pair_of(scaling.beta_slow);
  if (scaling.truncates) {
    first = std::floor(first);
    last = std::ceil(last);
  }
  first = std::max(first, 0.0);
  last = std::min(last, head_dim - 1.0);
  if (first == last) last += 0.001;
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const double slowed = std::clamp((static_cast<double>(i) - first) / (last - first), 0.0, 1.0);
    frequencies[i] = static_cast<float>(frequencies[i] * (1.0 - slowed) + frequencies[i] / scaling.factor * slowed);
  }
}

void divide(std::vector<float>& frequencies, std::span<const float> divisors) {
  CHECK(frequencies.size() == divisors.size());
  for (std::size_t i = 0; i < frequencies.size(); ++i) frequencies[i] /= divisors[i];
}

}  // namespace commissure
