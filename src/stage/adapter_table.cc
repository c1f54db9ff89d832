#include "stage/adapter_table.h"

#include <cmath>
#include <utility>

namespace commissure {

std::shared_ptr<const AdapterWeights> AdapterTable::find(AdapterId id) const {
  return adapters_.with([&](const auto& adapters) {
    const auto found = adapters.find(id);
    return found == adapters.end() ? nullptr : found->second;
  });
}

void AdapterTable::put(AdapterId id, AdapterWeights weights) {
  auto shared = std::make_shared<const AdapterWeights>(std::move(weights));
  adapters_.with([&](auto& adapters) { adapters.insert_or_assign(id, std::move(shared)); });
}

void AdapterTable::drop(AdapterId id) {
  // What goes out of memory here goes outside the lock.
  const auto dropped = adapters_.with([&](auto& adapters) { return adapters.extract(id); });
}

Result<HeldAdapters> AdapterTable::hold(const StepBatch& batch) const {
  HeldAdapters held;
  int first_row = 0;
  for (const SequenceRows& slice : batch.slices) {
    const int n_rows = slice.n_rows();
    if (slice.adapter && n_rows > 0) {
      const auto problem = [&](Code code, const char* what) {
        return Error(code, "step ", batch.step.value, ", sequence ", slice.sequence.value, ": adapter ",
                     fmt::format("{:016x}", slice.adapter.id.value), what);
      };
      if (!std::isfinite(slice.adapter.scale)) return problem(Code::kInvalidArgument, " has a scale that is no number");
      auto weights = find(slice.adapter.id);
      if (weights == nullptr) return problem(Code::kNotFound, " is not loaded on this stage");
      held.rows.push_back({weights.get(), first_row, n_rows, slice.adapter.scale});
      held.owners.push_back(std::move(weights));
    }
    first_row += n_rows;
  }
  return held;
}

}  // namespace commissure
