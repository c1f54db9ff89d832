#include "stage/step_spans.h"

#include <utility>

#include "core/index.h"

namespace commissure {

namespace {

std::int64_t unix_ns() {
  using std::chrono::nanoseconds;
  return std::chrono::duration_cast<nanoseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

void StepSpans::begin(const StepBatch& batch, const std::string& stage, std::chrono::microseconds queued) {
  spans_.clear();
  if (batch.traces.empty()) return;
  const std::int64_t now = unix_ns();
  for (const SliceTrace& trace : batch.traces) {
    if (!has_index(batch.slices, trace.slice)) continue;  // a batch that the executor refuses
    const SequenceRows& slice = batch.slices[trace.slice];
    Span span{.trace_id = trace.parent.trace_id,
              .span_id = new_span_id(),
              .parent_id = trace.parent.span_id,
              .name = "stage " + stage};
    span.start_unix_ns = now;
    span.attributes = {{"commissure.stage", stage},         {"commissure.step", batch.step.value},
                       {"commissure.choice", trace.choice}, {"commissure.position", slice.first_position},
                       {"commissure.rows", slice.n_rows()}, {"commissure.queue_us", queued.count()}};
    spans_.push_back(std::move(span));
  }
}

void StepSpans::end(bool failed) {
  if (spans_.empty()) return;
  const std::int64_t now = unix_ns();
  for (Span& span : spans_) {
    span.end_unix_ns = now;
    span.is_error = failed;
  }
}

std::vector<Span> StepSpans::take() { return std::exchange(spans_, {}); }

}  // namespace commissure
