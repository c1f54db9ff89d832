#include <algorithm>

#include "core/index.h"
#include "kernels/cuda/cuda_backend.h"

namespace commissure::cuda {

namespace {

constexpr int kSpanPositions = kSpanBlocks * kPositions;

/// Spans that the queries [first, first + 16) of a sequence see.
std::pair<int, int> spans_of(const SequenceSpan& span, int first, int n_queries, int heads_per_kv, int window) {
  const int last = std::min(first + kQueries, n_queries) - 1;
  const int first_position = span.first_position + first / heads_per_kv;
  const int last_position = span.seen_to > 0 ? span.seen_to - 1 : span.first_position + last / heads_per_kv;
  const int seen = window > 0 && first_position >= window ? first_position - window + 1 : 0;
  return {seen / kSpanPositions, last_position / kSpanPositions + 1};
}

}  // namespace

AttendPlan plan_attention(const StepShape& shape, std::span<const std::int32_t> tables, int heads_per_kv, int window,
                          int n_wanted, int max_partials) {
  AttendPlan plan;
  for (std::size_t s = 0; s < shape.sequences.size(); ++s) {
    const SequenceSpan& span = shape.sequences[s];
    const int n_queries = span.n_rows * heads_per_kv;
    for (int first = 0; first < n_queries; first += kQueries) {
      const auto [first_span, last_span] = spans_of(span, first, n_queries, heads_per_kv, window);
      plan.items.push_back(
          {span.first_row, span.first_position, span.seen_to, first, n_queries, tables[s], first_span, last_span, -1});
    }
  }
  if (count_of(plan.items) >= n_wanted) return plan;
  std::vector<AttendItem> cut;
  for (AttendItem item : plan.items) {
    const int n_spans = item.last_span - item.first_span;
    if (n_spans < 2 || n_spans > max_partials - plan.n_partials) {
      cut.push_back(item);
      continue;
    }
    item.partial = plan.n_partials;
    plan.joins.push_back(item);
    for (int i = item.first_span; i < item.last_span; ++i) {
      AttendItem one = item;
      one.first_span = i;
      one.last_span = i + 1;
      one.partial = plan.n_partials++;
      cut.push_back(one);
    }
  }
  plan.items = std::move(cut);
  return plan;
}

}  // namespace commissure::cuda
