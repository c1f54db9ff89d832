#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace commissure {

/// One token that may still be drawn.
struct Candidate {
  float score;  ///< logit / temperature, minus the largest in the vocabulary: <= 0
  std::int32_t token;
};

/// Likeliest first; equal scores by token id, so that the order is the same on every machine.
inline constexpr auto kLikelier = [](const Candidate& a, const Candidate& b) {
  return a.score != b.score ? a.score > b.score : a.token < b.token;
};

/// The tokens that may still be drawn, which filters make fewer. A token's weight is exp(score); its probability is its
/// share of the weight of all tokens left, except where `total` is given. Every filter leaves at least one token.
/// Threading: one thread at a time.
class Candidates {
 public:
  /// Starts with every token i whose scores[i] is at least `lowest` and not -infinity; not sorted.
  void fill(std::span<const float> scores, float lowest);
  /// Starts with the `top_k` likeliest of the tokens that fill() would take, sorted.
  void fill_top_k(std::span<const float> scores, float lowest, int top_k);
  /// Keeps the fewest likeliest tokens whose weights add up to top_p * total; sorts them.
  void keep_top_p(float top_p, double total);
  /// Keeps the tokens whose surprise (-log p) is nearest to the entropy, as many as make a probability of typical_p.
  /// Source: locally typical sampling, arXiv:2202.00666.
  void keep_typical(float typical_p);
  /// Drops every token with p >= `threshold` except the least likely of them. Source: XTC, llama.cpp and
  /// text-generation-webui.
  void drop_top_choices(float threshold);
  /// Keeps the tokens whose surprise (-log2 p) is at most `bits`, and always the likeliest.
  void keep_surprise_below(float bits);

  /// Sum of the weights of all tokens left.
  double mass() const;
  /// The token at which the weights, added up in the order of the list, pass `share` (in [0, 1)) of mass().
  const Candidate& pick(double share) const;
  /// All tokens left, the `n` likeliest in front and in order.
  std::span<const Candidate> likeliest_first(std::size_t n);

 private:
  /// Keeps the n_likeliest likeliest tokens of list_, not sorted.
  void drop_all_but(std::size_t n_likeliest);

  std::vector<Candidate> list_;
  std::vector<Candidate> sorted_;  // scratch of keep_typical: scores are distances there
};

}  // namespace commissure
