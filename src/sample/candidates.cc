#include "sample/candidates.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "core/index.h"
#include "sample/reduce.h"

namespace commissure {

void Candidates::fill(std::span<const float> scores, float lowest) {
  list_.clear();
  const float floor = std::max(lowest, std::numeric_limits<float>::lowest());
  for (std::size_t i = find_at_least(scores, 0, floor); i < scores.size(); i = find_at_least(scores, i + 1, floor)) {
    list_.push_back({scores[i], static_cast<std::int32_t>(i)});
  }
}

double Candidates::mass() const {
  double mass = 0.0;
  for (const Candidate& candidate : list_) mass += double{exp_negative(candidate.score)};
  return mass;
}

void Candidates::drop_all_but(std::size_t n_likeliest) {
  if (list_.size() <= n_likeliest) return;
  std::nth_element(list_.begin(), list_.begin() + static_cast<std::ptrdiff_t>(n_likeliest) - 1, list_.end(), kLikelier);
  list_.resize(n_likeliest);
}

/// Whoever is no likelier than k others is passed over, so that of a large vocabulary few are written down.
void Candidates::fill_top_k(std::span<const float> scores, float lowest, int top_k) {
  const std::size_t k = std::min(to_size(top_k), scores.size()), room = 2 * k + 64;
  list_.clear();
  float floor = std::max(lowest, std::numeric_limits<float>::lowest());
  for (std::size_t i = find_at_least(scores, 0, floor); i < scores.size(); i = find_at_least(scores, i + 1, floor)) {
    list_.push_back({scores[i], static_cast<std::int32_t>(i)});
    if (list_.size() < room) continue;
    drop_all_but(k);
    floor = list_.back().score;
  }
  drop_all_but(k);
  std::sort(list_.begin(), list_.end(), kLikelier);
}

void Candidates::keep_top_p(float top_p, double total) {
  double mass = 0.0;
  std::size_t n_kept = 0, n_sorted = 0;
  const auto at = [this](std::size_t i) { return list_.begin() + static_cast<std::ptrdiff_t>(i); };
  const auto is_short = [&] { return n_kept < list_.size() && (n_kept == 0 || mass < double{top_p} * total); };
  while (is_short()) {
    if (n_kept == n_sorted) {  // most often a few of very many are enough: sorted as far as they are needed
      n_sorted = std::min(list_.size(), 4 * n_sorted + 64);
      if (n_sorted < list_.size()) std::nth_element(at(n_kept), at(n_sorted), list_.end(), kLikelier);
      std::sort(at(n_kept), at(n_sorted), kLikelier);
    }
    mass += double{exp_negative(list_[n_kept++].score)};
  }
  list_.resize(n_kept);
}

void Candidates::keep_typical(float typical_p) {
  const double total = mass();
  const double log_total = std::log(total);
  double entropy = 0.0;
  for (const Candidate& candidate : list_) {
    entropy += double{exp_negative(candidate.score)} / total * (log_total - double{candidate.score});
  }
  sorted_.clear();
  for (std::size_t i = 0; i < list_.size(); ++i) {
    const double distance = std::abs(log_total - double{list_[i].score} - entropy);
    sorted_.push_back({static_cast<float>(-distance), static_cast<std::int32_t>(i)});
  }
  std::sort(sorted_.begin(), sorted_.end(), kLikelier);
  double kept = 0.0;
  std::size_t n_kept = 0;
  while (n_kept < sorted_.size() && (n_kept == 0 || kept < double{typical_p} * total)) {
    Candidate& entry = sorted_[n_kept++];
    entry = list_[entry.token];
    kept += double{exp_negative(entry.score)};
  }
  sorted_.resize(n_kept);
  list_.swap(sorted_);
}

void Candidates::drop_top_choices(float threshold) {
  const double wanted = double{threshold} * mass();
  const auto is_top = [&](const Candidate& c) { return double{exp_negative(c.score)} >= wanted; };
  const Candidate* least = nullptr;
  for (const Candidate& candidate : list_) {
    if (is_top(candidate) && (least == nullptr || kLikelier(*least, candidate))) least = &candidate;
  }
  if (least == nullptr) return;
  const std::int32_t kept = least->token;
  std::erase_if(list_, [&](const Candidate& candidate) { return candidate.token != kept && is_top(candidate); });
}

void Candidates::keep_surprise_below(float bits) {
  // -log2 p <= bits, where p = exp(score) / total
  const double lowest = std::log(mass()) - double{bits} * std::numbers::ln2;
  const Candidate best = *std::min_element(list_.begin(), list_.end(), kLikelier);
  std::erase_if(list_, [&](const Candidate& candidate) {
    return double{candidate.score} < lowest && candidate.token != best.token;
  });
}

const Candidate& Candidates::pick(double share) const {
  const double aim = share * mass();
  double mass = 0.0;
  for (const Candidate& candidate : list_) {
    mass += double{exp_negative(candidate.score)};
    if (aim < mass) return candidate;
  }
  return list_.back();
}

std::span<const Candidate> Candidates::likeliest_first(std::size_t n) {
  const auto front = list_.begin() + static_cast<std::ptrdiff_t>(std::min(n, list_.size()));
  std::partial_sort(list_.begin(), front, list_.end(), kLikelier);
  return list_;
}

}  // namespace commissure
