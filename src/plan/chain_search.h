#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <vector>

#include "core/index.h"
#include "plan/planner.h"

namespace commissure {

/// Searches the chains of `n_stages` stages for the cheapest, which it finds exactly. A prefix is the first stages of a
/// chain. Among prefixes that cover the same layers at the same cost, a prefix that another beats in every time that
/// the wish limits cannot begin the cheapest chain and is dropped; few are left, since few costs occur.
class ChainSearch {
 public:
  /// All arguments outlive the search.
  ChainSearch(const ModelFootprint& model, const std::vector<const Machine*>& machines, const Catalogue& catalogue,
              const PlanWish& wish, int n_stages)
      : model_(model),
        machines_(machines),
        catalogue_(catalogue),
        wish_(wish),
        n_stages_(n_stages),
        times_(machines.size() * model.layers.size() * (model.layers.size() + 1)) {}

  /// The cheapest chain of this length; nothing when none fits, meets the wish's speed and costs at most
  /// `most_usd_per_hour`.
  std::optional<std::vector<PlannedStage>> cheapest(double most_usd_per_hour);

 private:
  struct Prefix {
    double sum = 0;         ///< seconds of its stages' steps
    double chunk_sum = 0;   ///< seconds of its stages' prefill chunks; 0 while no wish limits the first token
    double chunk_most = 0;  ///< seconds of its slowest prefill chunk
    int begin = 0;          ///< first layer of its last stage
    int machine = -1;
    std::int64_t cost_before = 0;
    std::size_t before = 0;  ///< index, in its front, of the prefix it continues
  };
  using Front = std::vector<Prefix>;
  /// Fronts by cost in millionths of a dollar per hour: whole numbers, so that equal costs are equal.
  using Prefixes = std::map<std::int64_t, Front>;
  using Table = std::vector<std::vector<Prefixes>>;  ///< [stages][layers]
  struct Place {
    int begin, machine;
  };
  /// Of a stage of some layers on some machine, whatever its place in the chain.
  struct StageTimes {
    bool is_known = false;
    bool is_possible = false;  ///< it fits and is fast enough
    double step = 0, chunk = 0;
  };

  int n_layers() const { return count_of(model_.layers); }
  double limit() const;
  double sum_limit() const;
  double chunk_limit() const;
  const StageTimes& stage(int begin, int end, int machine);
  bool can_end(int index, int end) const;
  bool is_dear(std::int64_t cost, int index, double most_usd_per_hour) const;
  void extend(const Prefixes& before, int index, int begin, int end, double most_usd_per_hour, Table& table);
  std::vector<Place> search(double most_usd_per_hour);
  std::vector<Place> read_back(const Table& table) const;
  std::optional<std::vector<PlannedStage>> levelled(const std::vector<Place>& places);
  std::vector<PlannedStage> placed(const std::vector<Place>& places) const;
  bool meets_wishes(const std::vector<PlannedStage>& stages) const;

  const ModelFootprint& model_;
  const std::vector<const Machine*>& machines_;
  const Catalogue& catalogue_;
  const PlanWish& wish_;
  const int n_stages_;
  std::vector<StageTimes> times_;  ///< [machine][begin][end], each computed once
};

}  // namespace commissure
