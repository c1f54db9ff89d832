#include "model/step_adapters.h"

#include <algorithm>
#include <functional>

#include "core/index.h"

namespace commissure {

void StepAdapters::set(std::span<const AdapterRows> rows) {
  rows_.assign(rows.begin(), rows.end());
  std::ranges::stable_sort(rows_, std::less<>(), &AdapterRows::weights);
  std::size_t n = 0;
  for (const AdapterRows& next : rows_) {
    AdapterRows* last = n > 0 ? &rows_[n - 1] : nullptr;
    if (last != nullptr && last->weights == next.weights && last->scale == next.scale &&
        last->first_row + last->n_rows == next.first_row) {
      last->n_rows += next.n_rows;
    } else {
      rows_[n++] = next;
    }
  }
  rows_.resize(n);
}

void StepAdapters::add(Backend& backend, int layer, Rows x, std::span<const MatmulJob> products,
                       std::span<const AdapterSite> sites) {
  if (rows_.empty()) return;
  jobs_.clear();
  for (std::size_t i = 0; i < products.size(); ++i) {
    for (const AdapterRows& rows : rows_) {
      const LowRank* weight = rows.weights->layers[to_size(layer)].at(sites[i]);
      if (weight != nullptr) jobs_.push_back({weight, products[i], rows.first_row, rows.n_rows, rows.scale});
    }
  }
  if (!jobs_.empty()) backend.add_low_rank(x, jobs_);
}

}  // namespace commissure
