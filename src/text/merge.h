#pragma once

#include <algorithm>
#include <cstdint>
#include <queue>
#include <string_view>
#include <vector>

namespace commissure {

/// A stretch of a piece while its neighbours are being merged.
struct Symbol {
  std::uint32_t begin = 0;    ///< bytes into the piece
  std::uint32_t n_bytes = 0;  ///< 0: merged into the symbol on its left
  std::int32_t token = -1;    ///< -1: no token is spelled so
};

/// What merging two neighbours would give.
struct MergedPair {
  static constexpr std::uint32_t kNever = 0xFFFFFFFFu;
  std::uint32_t priority = kNever;  ///< lower merges earlier
  std::int32_t token = -1;
};

/// Scratch memory of merging, kept between pieces. Threading: one thread at a time.
struct MergeScratch {
  struct Candidate {
    std::uint64_t order;  // priority, then place: ties go to the leftmost pair
    std::uint32_t n_bytes;
    std::int32_t token;
  };
  std::vector<Symbol> symbols;
  std::vector<MergedPair> pairs;
  std::vector<std::int32_t> previous, next;
  std::vector<Candidate> heap;
};

/// Longer lists of symbols use the heap; below this rescanning them is faster.
inline constexpr std::size_t kHeapFrom = 48;

/// Merges by rescanning: the next merge is the minimum over all pairs.
template <typename Rule>
void merge_short(MergeScratch& scratch, const Rule& rule) {
  std::vector<Symbol>& symbols = scratch.symbols;
  std::vector<MergedPair>& pairs = scratch.pairs;
  pairs.clear();
  for (std::size_t i = 0; i + 1 < symbols.size(); ++i) pairs.push_back(rule(symbols[i], symbols[i + 1]));
  while (!pairs.empty()) {
    const auto best = std::min_element(
        pairs.begin(), pairs.end(), [](const MergedPair& a, const MergedPair& b) { return a.priority < b.priority; });
    if (best->priority == MergedPair::kNever) return;
    const std::size_t left = best - pairs.begin();
    symbols[left].n_bytes += symbols[left + 1].n_bytes;
    symbols[left].token = best->token;
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(left) + 1);
    pairs.erase(best);
    if (left > 0) pairs[left - 1] = rule(symbols[left - 1], symbols[left]);
    if (left < pairs.size()) pairs[left] = rule(symbols[left], symbols[left + 1]);
  }
}

/// Merges through a heap of candidates in O(n log n); leaves merged-away symbols with n_bytes 0.
template <typename Rule>
void merge_long(MergeScratch& scratch, const Rule& rule) {
  std::vector<Symbol>& symbols = scratch.symbols;
  std::vector<MergeScratch::Candidate>& heap = scratch.heap;
  const auto later = [](const MergeScratch::Candidate& a, const MergeScratch::Candidate& b) {
    return a.order > b.order;
  };
  const auto n_symbols = static_cast<std::int32_t>(symbols.size());
  scratch.previous.resize(symbols.size());
  scratch.next.resize(symbols.size());
  heap.clear();
  const auto at = [&symbols](std::int32_t i) -> Symbol& { return symbols[i]; };
  const auto candidate = [&](std::int32_t left, std::int32_t right) -> bool {
    const MergedPair pair = rule(at(left), at(right));
    if (pair.priority == MergedPair::kNever) return false;
    heap.push_back({(std::uint64_t{pair.priority} << 32) | static_cast<std::uint32_t>(left),
                    at(left).n_bytes + at(right).n_bytes, pair.token});
    return true;
  };
  for (std::int32_t i = 0; i < n_symbols; ++i) {
    scratch.previous[i] = i - 1;
    scratch.next[i] = i + 1;
    if (i + 1 < n_symbols) candidate(i, i + 1);
  }
  std::make_heap(heap.begin(), heap.end(), later);

  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), later);
    const MergeScratch::Candidate best = heap.back();
    heap.pop_back();
    const auto left = static_cast<std::int32_t>(best.order & 0xFFFFFFFFu);
    const std::int32_t right = scratch.next[left];
    // A border once removed never returns, so the size tells whether this pair still stands.
    if (at(left).n_bytes == 0 || right >= n_symbols || at(left).n_bytes + at(right).n_bytes != best.n_bytes) continue;
    at(left).n_bytes = best.n_bytes;
    at(left).token = best.token;
    at(right).n_bytes = 0;
    const std::int32_t after = scratch.next[right];
    scratch.next[left] = after;
    if (after < n_symbols) scratch.previous[after] = left;
    const std::int32_t before = scratch.previous[left];
    if (before >= 0 && candidate(before, left)) std::push_heap(heap.begin(), heap.end(), later);
    if (after < n_symbols && candidate(left, after)) std::push_heap(heap.begin(), heap.end(), later);
  }
}

/// Merges neighbours in `scratch.symbols`, the best pair first (ties: the leftmost), until no pair merges.
///   rule  (left, right) -> MergedPair; depends on the two symbols only
template <typename Rule>
void merge_symbols(MergeScratch& scratch, const Rule& rule) {
  if (scratch.symbols.size() < kHeapFrom) {
    merge_short(scratch, rule);
  } else {
    merge_long(scratch, rule);
  }
}

}  // namespace commissure
