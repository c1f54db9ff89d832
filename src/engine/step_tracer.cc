#include "engine/step_tracer.h"

#include <algorithm>

namespace commissure {

namespace {

/// One slice's share of a stage's checksums, [slice][layer]. A stage that sent another number than one per layer and
/// slice is shown without.
std::vector<std::uint32_t> checksums_of(const StageTiming& timing, int slice, std::size_t n_slices) {
  if (slice < 0 || n_slices == 0 || timing.checksums.size() % n_slices != 0) return {};
  const auto n_layers = static_cast<std::ptrdiff_t>(timing.checksums.size() / n_slices);
  const auto first = timing.checksums.begin() + slice * n_layers;
  return {first, first + n_layers};
}

std::int64_t unix_ns() {
  using std::chrono::nanoseconds;
  return std::chrono::duration_cast<nanoseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

void StepTracer::begin(SequenceId sequence, const GenerationRequest& asked) {
  if (asked.trace == TraceLevel::kNone && !asked.trace_parent) return;
  Request& request = requests_.emplace(sequence, Request{asked.trace}).first->second;
  if (asked.trace_parent) request.link = SliceTrace{.choice = asked.choice, .parent = *asked.trace_parent};
}

void StepTracer::on_submit(StepBatch& batch) {
  Step& step = in_flight_.emplace_back(Step{Clock::now()});
  if (requests_.empty()) return;
  for (std::size_t i = 0; i < batch.slices.size(); ++i) {
    SequenceRows& slice = batch.slices[i];
    const auto it = requests_.find(slice.sequence);
    if (it == requests_.end()) continue;
    Request& request = it->second;
    const bool is_linked = request.link && request.n_linked < kMaxSpanSteps && !batch.is_rebuild();
    if (is_linked) {
      ++request.n_linked;
      request.link->slice = static_cast<std::int32_t>(i);
      batch.traces.push_back(*request.link);
    }
    if (request.level == TraceLevel::kNone) continue;
    if (step.rows.empty()) step.started_unix_ns = unix_ns();
    Rows rows{slice.sequence, {batch.step, slice.first_position, slice.n_rows(), 0, {}}, is_linked};
    slice.sum_layers = request.level == TraceLevel::kLayers && !batch.is_rebuild();
    if (slice.sum_layers) rows.summed_slice = static_cast<int>(step.n_summed++);
    rows.trace.started_unix_ns = step.started_unix_ns;
    step.rows.push_back(std::move(rows));
  }
}

void StepTracer::on_answer(const std::vector<StageTiming>& timings) {
  if (in_flight_.empty()) return;
  Step step = std::move(in_flight_.front());
  in_flight_.pop_front();
  if (step.rows.empty()) return;
  const auto total = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - step.submitted).count();
  std::int64_t known = 0;
  for (const StageTiming& timing : timings) known += std::int64_t{timing.queue_us} + timing.compute_us + timing.wire_us;
  for (Rows& rows : step.rows) {
    const auto it = requests_.find(rows.sequence);
    if (it == requests_.end()) continue;
    rows.trace.total_us = static_cast<std::uint32_t>(total);
    for (const StageTiming& timing : timings) {
      StageTiming& own = rows.trace.stages.emplace_back(timing);
      own.checksums = checksums_of(timing, rows.summed_slice, step.n_summed);
      own.has_span = timing.has_span && rows.is_linked;
    }
    if (!rows.trace.stages.empty()) {
      rows.trace.stages.back().wire_us += static_cast<std::uint32_t>(std::max<std::int64_t>(0, total - known));
    }
    it->second.steps.push_back(std::move(rows.trace));
  }
}

void StepTracer::drop_oldest() {
  if (!in_flight_.empty()) in_flight_.pop_front();
}

void StepTracer::drop_newest() {
  if (!in_flight_.empty()) in_flight_.pop_back();
}

std::vector<StepTrace> StepTracer::take(SequenceId sequence) {
  auto request = requests_.extract(sequence);
  return request.empty() ? std::vector<StepTrace>{} : std::move(request.mapped().steps);
}

}  // namespace commissure
