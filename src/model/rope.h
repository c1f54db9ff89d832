#pragma once

#include <span>
#include <vector>

namespace commissure {

/// Rotation frequencies theta^(-2i / head_dim), i = 0 .. head_dim / 2 - 1, in radians per position.
/// Source: RoFormer, arXiv:2104.09864.
std::vector<float> rope_frequencies(int head_dim, double theta);

/// Position interpolation: every frequency divided by `factor`. Source: arXiv:2306.15595.
void scale_linear(std::vector<float>& frequencies, double factor);

/// Llama 3.1's by-wavelength scaling: frequencies of long waves are divided by `factor`, those of short waves stay, and
/// waves between get a mix of both.
struct Llama3Scaling {
  double factor = 8.0;
  double low_frequency_factor = 1.0;
  double high_frequency_factor = 4.0;
  double original_context = 8192.0;
};
void scale_llama3(std::vector<float>& frequencies, const Llama3Scaling& scaling);

/// YaRN: frequencies that turn often within the original context stay, those that turn seldom are divided by `factor`,
/// and a ramp joins both. `magnitude` goes into RopeSpec. Source: arXiv:2309.00071; transformers for the defaults.
struct YarnScaling {
  double factor = 1.0;
  double original_context = 0.0;
  double beta_fast = 32.0;
  double beta_slow = 1.0;
  double magnitude = 1.0;
  bool truncates = true;  ///< the ramp's ends are whole indices
};
void scale_yarn(std::vector<float>& frequencies, double theta, const YarnScaling& scaling);

/// The factor of cosines and sines where a configuration does not name it: 0.1 weight ln(factor) + 1.
double yarn_magnitude(double factor, double weight = 1.0);

/// LongRoPE's factor of cosines and sines where a configuration does not name it: sqrt(1 + ln(factor) / ln(original)).
/// Source: arXiv:2402.13753; transformers for the default.
double long_rope_magnitude(double factor, double original_context);

/// Divides frequency i by divisors[i] (GGUF's rope_freqs tensor); the sizes are equal.
void divide(std::vector<float>& frequencies, std::span<const float> divisors);

}  // namespace commissure
