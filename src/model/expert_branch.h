#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/backend.h"
#include "model/decoder_spec.h"
#include "model/layer_weights.h"

namespace commissure {

/// A step's rows by the expert that they take.
class RowsByExpert {
 public:
  /// Chooses every row's experts from the router's logits [n_rows, n_experts]: those with the largest, of equal ones
  /// the first. `scale` multiplies all weights, and `factors` [n_experts], where there are any, those of each expert. A
  /// row's choice and weights depend on its own logits alone.
  void assign(std::span<const float> logits, int n_rows, const ExpertSpec& spec, float scale,
              std::span<const float> factors = {});

  /// The rows that take an expert, rising, and what each weighs its result with.
  std::span<const std::int32_t> rows(int expert) const { return part(rows_, expert); }
  std::span<const float> weights(int expert) const { return part(weights_, expert); }

 private:
  template <typename T>
  std::span<const T> part(const std::vector<T>& all, int expert) const {
    return std::span(all).subspan(ends_[expert], ends_[expert + 1] - ends_[expert]);
  }
  void choose(std::span<const float> logits, const ExpertSpec& spec, float scale, std::span<std::int32_t> experts,
              std::span<float> weights);

  std::vector<std::size_t> ends_;    // [n_experts + 1]: where each expert's rows end, after a 0
  std::vector<std::size_t> places_;  // scratch of assign()
  std::vector<std::int32_t> rows_;
  std::vector<float> weights_;
  std::vector<std::int32_t> order_, chosen_;  // of a row: all experts; of all rows: those they take
  std::vector<float> chosen_weights_;
};

/// The feed-forward of layers with experts. Every expert that a row takes multiplies all its rows at once; the results
/// join in the order of the experts, so a row's bits do not depend on who else takes its experts (decision 009).
/// Threading: one thread. Waits for the device once a layer, since the host deals out the rows, and once more for the
/// weights of an expert that every row takes.
class ExpertBranch {
 public:
  /// Of the products, as Decoder takes them.
  struct Planes {
    InputPlanes in, down;
  };

  explicit ExpertBranch(Backend& backend, float norm_eps = 0.0f) : backend_(backend), norm_eps_(norm_eps) {}

  /// Floats of scratch for each row.
  static std::size_t scratch_floats(const ExpertSpec& spec, int d_model);

  /// The branch's output for x [n_rows, d_model], in scratch: x is the residual, normed unless the experts stand beside
  /// a dense feed-forward, where router and experts have norms of their own. Errors: as Backend::peek.
  ///   scratch  max_rows * scratch_floats() floats, n_rows <= max_rows
  Result<Rows> run(const LayerSpec& spec, const LayerWeights& weights, Planes planes, Rows x, DevicePtr scratch,
                   int max_rows);

 private:
  struct Scratch;
  void run_expert(const LayerSpec& spec, const LayerWeights& weights, int expert, Planes planes, Rows x, Rows result,
                  const Scratch& scratch);
  void run_row(const LayerSpec& spec, const LayerWeights& weights, Planes planes, Rows x, const Scratch& scratch);
  Status run_shared(const LayerSpec& spec, const LayerWeights& weights, Planes planes, Rows x, const Scratch& scratch);

  Backend& backend_;
  const float norm_eps_;
  RowsByExpert taken_;
  std::vector<MatmulJob> jobs_;
  std::vector<std::int32_t> all_rows_;
  std::vector<float> shared_weights_;
};

}  // namespace commissure
