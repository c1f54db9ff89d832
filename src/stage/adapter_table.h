#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "core/guarded.h"
#include "core/result.h"
#include "model/adapter_weights.h"
#include "model/step_adapters.h"
#include "step/adapter.h"
#include "step/step_batch.h"

namespace commissure {

/// The adapters of one step's rows, kept as long as this lives.
struct HeldAdapters {
  std::vector<AdapterRows> rows;
  std::vector<std::shared_ptr<const AdapterWeights>> owners;  // shared: one may be dropped while the step runs
};

/// A stage's share of the adapters it has loaded.
/// Threading: any thread.
class AdapterTable {
 public:
  /// Null: there is none of this id.
  std::shared_ptr<const AdapterWeights> find(AdapterId id) const;
  void put(AdapterId id, AdapterWeights weights);
  /// Steps that run keep it until they end.
  void drop(AdapterId id);

  /// Those that the batch's slices name. Errors: kNotFound, one is not loaded; kInvalidArgument, a scale is no number.
  Result<HeldAdapters> hold(const StepBatch& batch) const;

 private:
  Guarded<std::unordered_map<AdapterId, std::shared_ptr<const AdapterWeights>>> adapters_;
};

}  // namespace commissure
