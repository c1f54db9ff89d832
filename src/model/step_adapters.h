#pragma once

#include <span>
#include <vector>

#include "kernels/backend.h"
#include "kernels/low_rank.h"
#include "model/adapter_weights.h"

namespace commissure {

/// Rows of a step that are computed with an adapter.
struct AdapterRows {
  const AdapterWeights* weights = nullptr;
  int first_row = 0;
  int n_rows = 0;
  float scale = 1.0f;  ///< multiplies what the adapter adds
};

/// The adapters of one step's rows. Rows without one cost nothing.
/// Threading: one thread at a time, the decoder's.
class StepAdapters {
 public:
  /// The weights outlive the step; no row is named twice.
  void set(std::span<const AdapterRows> rows);

  /// Adds the adapters' shares to finished products of the same x. `layer` counts from the part's first; sites[i] says
  /// which matrix products[i] is of.
  void add(Backend& backend, int layer, Rows x, std::span<const MatmulJob> products,
           std::span<const AdapterSite> sites);

 private:
  std::vector<AdapterRows> rows_;  // those of one adapter follow one another, so that its matrices are read once
  std::vector<LowRankJob> jobs_;   // reused by every add()
};

}  // namespace commissure
