#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "net/span_exporter.h"
#include "step/step_batch.h"

namespace commissure {

/// A stage's own account of one step, for the traces that rows of it belong to: a span for each traced slice, from the
/// step's start to its end on this machine's clock. Threading: the executor thread.
class StepSpans {
 public:
  /// To be called when a step begins; keeps nothing when no slice is traced.
  void begin(const StepBatch& batch, const std::string& stage, std::chrono::microseconds queued);
  /// To be called when the step ends.
  void end(bool failed);

  bool empty() const { return spans_.empty(); }
  /// Takes out the finished spans.
  std::vector<Span> take();

 private:
  std::vector<Span> spans_;
};

}  // namespace commissure
