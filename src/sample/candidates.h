#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace commissure {

/// One token that may still be drawn.
struct Candidate {
  float score;  ///< logit / temperature - the largest such, so <= 0
  std::int32_t token;
};

/// Likeliest first; equal ones by id, so that the order is one and the same everywhere.
inline constexpr auto kLikelier = [](const Candidate& a, const Candidate& b) {
  return a.score != b.score ? a.score > b.score : a.token < b.token;
};

/// The tokens that the filters have left. Probabilities are those among the ones left, except where `total` is given.
/// Every filter leaves at least one. Threading: one thread at a time.
class Candidates {
 public:
  /// All tokens with scores of at least `lowest`; -infinity is left out. Not sorted.
  void fill(std::span<const float> scores, float lowest);
  /// The k likeliest of those, sorted.
  void fill_top_k(std::span<const float> scores, float lowest, int top_k);
  /// The shortest prefix, sorted, of mass top_p * total.
  void keep_top_p(float top_p, double total);
  /// Those whose surprise is nearest to the entropy, until their mass reaches typical_p.
  /// Source: locally typical sampling, arXiv:2202.00666.
  void keep_typical(float typical_p);
  /// Drops all that reach `threshold` but the least likely one. Source: XTC, llama.cpp and text-generation-webui.
  void drop_top_choices(float threshold);
  /// Those whose surprise is at most `bits`, and the likeliest.
  void keep_surprise_below(float bits);

  /// Sum of the weights exp(score).
  double mass() const;
  /// The candidate that `share` in [0, 1) of the mass falls on.
  const Candidate& pick(double share) const;
  /// All that are left, the `n` likeliest in front and in order.
  std::span<const Candidate> likeliest_first(std::size_t n);

 private:
  /// Those of list_, not sorted.
  void drop_all_but(std::size_t n_likeliest);

  std::vector<Candidate> list_;
  std::vector<Candidate> sorted_;  // scratch of keep_typical: scores are distances there
};

}  // namespace commissure
