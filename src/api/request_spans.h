#pragma once

#include <vector>

#include "api/request_log.h"
#include "core/span_exporter.h"
#include "engine/generation.h"

namespace commissure {

/// Steps of a choice that get spans of their own; an answer of thousands of tokens would drown its trace.
inline constexpr std::size_t kMaxSpanSteps = 64;

/// The work of the stages in `steps`, as children of the request's span: one span per stage and step, the time in the
/// stage's queue and on the wire as attributes. Stages report times, not clocks: their spans lie one behind the other
/// from the step's start on stage A's clock.
std::vector<Span> stage_spans(const TraceContext& trace, int choice, const std::vector<StepTrace>& steps);

}  // namespace commissure
