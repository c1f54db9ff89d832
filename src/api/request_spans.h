#pragma once

#include <vector>

#include "api/request_log.h"
#include "engine/generation.h"
#include "net/span_exporter.h"

namespace commissure {

/// The work of the stages in `steps`, as children of the request's span: one span per stage and step, the time in the
/// stage's queue and on the wire as attributes. Stages report times, not clocks: their spans lie one behind the other
/// from the step's start on stage A's clock. A stage that tells a collector itself (StageTiming::has_span) gets none.
std::vector<Span> stage_spans(const TraceContext& trace, int choice, const std::vector<StepTrace>& steps);

}  // namespace commissure
