#include "api/request_spans.h"

#include <algorithm>

#include "core/trace_parent.h"

namespace commissure {

std::vector<Span> stage_spans(const TraceContext& trace, int choice, const std::vector<StepTrace>& steps) {
  std::vector<Span> spans;
  const std::size_t n_steps = std::min(steps.size(), kMaxSpanSteps);
  for (std::size_t i = 0; i < n_steps; ++i) {
    const StepTrace& step = steps[i];
    std::int64_t now = step.started_unix_ns;
    for (const StageTiming& timing : step.stages) {
      Span span{.trace_id = trace.trace_id,
                .span_id = new_span_id(),
                .parent_id = trace.span_id,
                .name = "stage " + timing.stage};
      span.start_unix_ns = now + std::int64_t{timing.queue_us} * 1000;
      span.end_unix_ns = span.start_unix_ns + std::int64_t{timing.compute_us} * 1000;
      now = span.end_unix_ns + std::int64_t{timing.wire_us} * 1000;
      if (timing.has_span) continue;
      span.attributes = {{"commissure.stage", timing.stage},    {"commissure.step", step.step.value},
                         {"commissure.choice", choice},         {"commissure.position", step.first_position},
                         {"commissure.rows", step.n_rows},      {"commissure.queue_us", timing.queue_us},
                         {"commissure.wire_us", timing.wire_us}};
      spans.push_back(std::move(span));
    }
  }
  return spans;
}

}  // namespace commissure
