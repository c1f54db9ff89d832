#include "deploy/planner.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>

namespace commissure {

namespace {

constexpr double kGiga = 1e9;
constexpr double kNever = std::numeric_limits<double>::infinity();

/// Steps that run at the same time: one per stage, as far as there are streams.
int slots_of(int n_stages, int n_streams) { return std::min(n_stages, n_streams); }

int rows_of(int n_stages, int n_streams) {
  const int slots = slots_of(n_stages, n_streams);
  return (n_streams + slots - 1) / slots;
}

/// From one token of a stream to its next: every slot passes the slowest stage once, and a step passes every stage.
double period_seconds(double slowest, double sum, int n_stages, int n_streams, double hop_seconds) {
  return std::max(slots_of(n_stages, n_streams) * slowest, sum + 2 * (n_stages - 1) * hop_seconds);
}

double single_stream_seconds(const ModelFootprint& model, const std::vector<PlannedStage>& stages,
                             const Catalogue& catalogue, PlanWish wish) {
  wish.streams = 1;
  const int n = static_cast<int>(stages.size());
  double sum = 0;
  for (const PlannedStage& stage : stages) {
    sum += plan_stage(model, stage.layers, *stage.machine, wish, n).step_seconds;
  }
  return sum + 2 * (n - 1) * catalogue.hop_seconds;
}

/// Searches chains of one length. The cheapest is found exactly: of prefixes that cover the same layers at the same
/// cost only the one with the least time can be part of it, and there are few costs.
class ChainSearch {
 public:
  ChainSearch(const ModelFootprint& model, const std::vector<const Machine*>& machines, const Catalogue& catalogue,
              const PlanWish& wish, int n_stages)
      : model_(model), machines_(machines), catalogue_(catalogue), wish_(wish), n_stages_(n_stages) {}

  /// Nothing when no chain of this length fits and meets the speed.
  std::optional<std::vector<PlannedStage>> cheapest() {
    const std::vector<int> sequence = cheapest_sequence();
    if (sequence.empty()) return std::nullopt;
    return levelled(sequence);
  }

 private:
  struct Prefix {
    double sum = kNever;  ///< of its stages' steps
    int begin = 0;        ///< first layer of its last stage
    int machine = -1;
    std::int64_t cost_before = 0;
  };
  /// By cost in millionths of a dollar per hour, whole so that equal costs are equal.
  using Prefixes = std::map<std::int64_t, Prefix>;

  static std::int64_t cost_of(const Machine& machine) { return std::llround(machine.usd_per_hour * 1e6); }
  int n_layers() const { return static_cast<int>(model_.layers.size()); }

  /// The longest a stream may wait for its next token.
  double limit() const { return wish_.tokens_per_second > 0 ? 1 / wish_.tokens_per_second : kNever; }
  double sum_limit() const { return limit() - 2 * (n_stages_ - 1) * catalogue_.hop_seconds; }

  std::optional<double> step_seconds(int begin, int end, const Machine& machine) const {
    const PlannedStage stage = plan_stage(model_, {begin, end}, machine, wish_, n_stages_);
    const double needed = stage.weight_bytes + stage.kv_bytes + stage.scratch_bytes;
    if (needed > machine.usable_bytes * (1 - wish_.margin)) return std::nullopt;
    if (slots_of(n_stages_, wish_.streams) * stage.step_seconds > limit()) return std::nullopt;
    return stage.step_seconds;
  }

  /// Layers that stage `index` may end at: every stage has one.
  bool can_end(int index, int end) const {
    return index == n_stages_ - 1 ? end == n_layers() : end <= n_layers() - (n_stages_ - 1 - index);
  }

  /// The machines of the cheapest chain, first stage to last; empty when there is none.
  std::vector<int> cheapest_sequence() {
    std::vector<std::vector<Prefixes>> table(static_cast<std::size_t>(n_stages_) + 1,
                                             std::vector<Prefixes>(static_cast<std::size_t>(n_layers()) + 1));
    table[0][0][0] = {.sum = 0};
    for (int index = 0; index < n_stages_; ++index) {
      for (int begin = index; begin < n_layers(); ++begin) {
        const Prefixes& before = table[static_cast<std::size_t>(index)][static_cast<std::size_t>(begin)];
        if (before.empty()) continue;
        for (int end = begin + 1; end <= n_layers(); ++end) {
          if (can_end(index, end)) extend(before, index, begin, end, table);
        }
      }
    }
    return read_back(table);
  }

  void extend(const Prefixes& before, int index, int begin, int end, std::vector<std::vector<Prefixes>>& table) const {
    Prefixes& after = table[static_cast<std::size_t>(index) + 1][static_cast<std::size_t>(end)];
    for (std::size_t m = 0; m < machines_.size(); ++m) {
      const std::optional<double> seconds = step_seconds(begin, end, *machines_[m]);
      if (!seconds) continue;
      for (const auto& [cost, prefix] : before) {
        const double sum = prefix.sum + *seconds;
        if (sum > sum_limit()) continue;
        Prefix& best = after[cost + cost_of(*machines_[m])];
        if (sum < best.sum) best = {sum, begin, static_cast<int>(m), cost};
      }
    }
  }

  std::vector<int> read_back(const std::vector<std::vector<Prefixes>>& table) const {
    int end = n_layers();
    const Prefixes& whole = table[static_cast<std::size_t>(n_stages_)][static_cast<std::size_t>(end)];
    std::vector<int> sequence;
    if (whole.empty()) return sequence;
    std::int64_t cost = whole.begin()->first;
    for (int index = n_stages_; index > 0; --index) {
      const Prefix& prefix = table[static_cast<std::size_t>(index)][static_cast<std::size_t>(end)].at(cost);
      sequence.insert(sequence.begin(), prefix.machine);
      end = prefix.begin;
      cost = prefix.cost_before;
    }
    return sequence;
  }

  /// Cuts for these machines that make the slowest stage as fast as can be.
  std::optional<std::vector<PlannedStage>> levelled(const std::vector<int>& sequence) const {
    struct Cell {
      double slowest = kNever;
      int begin = 0;
    };
    std::vector<std::vector<Cell>> table(static_cast<std::size_t>(n_stages_) + 1,
                                         std::vector<Cell>(static_cast<std::size_t>(n_layers()) + 1));
    table[0][0].slowest = 0;
    for (int index = 0; index < n_stages_; ++index) {
      const Machine& machine = *machines_[static_cast<std::size_t>(sequence[static_cast<std::size_t>(index)])];
      for (int begin = index; begin < n_layers(); ++begin) {
        const double before = table[static_cast<std::size_t>(index)][static_cast<std::size_t>(begin)].slowest;
        if (before == kNever) continue;
        for (int end = begin + 1; end <= n_layers(); ++end) {
          if (!can_end(index, end)) continue;
          const std::optional<double> seconds = step_seconds(begin, end, machine);
          if (!seconds) continue;
          Cell& cell = table[static_cast<std::size_t>(index) + 1][static_cast<std::size_t>(end)];
          if (std::max(before, *seconds) < cell.slowest) cell = {std::max(before, *seconds), begin};
        }
      }
    }
    std::vector<PlannedStage> stages;
    for (int index = n_stages_, end = n_layers(); index > 0; --index) {
      const int begin = table[static_cast<std::size_t>(index)][static_cast<std::size_t>(end)].begin;
      const Machine& machine = *machines_[static_cast<std::size_t>(sequence[static_cast<std::size_t>(index) - 1])];
      stages.insert(stages.begin(), plan_stage(model_, {begin, end}, machine, wish_, n_stages_));
      end = begin;
    }
    return stages;
  }

  const ModelFootprint& model_;
  const std::vector<const Machine*>& machines_;
  const Catalogue& catalogue_;
  const PlanWish& wish_;
  const int n_stages_;
};

std::optional<ChainPlan> find_chain(const ModelFootprint& model, const std::vector<const Machine*>& machines,
                                    const Catalogue& catalogue, const PlanWish& wish) {
  std::optional<ChainPlan> best;
  const int n_layers = static_cast<int>(model.layers.size());
  for (int n_stages = 1; n_stages <= std::min({wish.max_stages, n_layers, kMaxStages}); ++n_stages) {
    auto stages = ChainSearch(model, machines, catalogue, wish, n_stages).cheapest();
    if (!stages) continue;
    ChainPlan plan = total_chain(model, std::move(*stages), catalogue, wish);
    // Costs that differ by less than a rounding are equal; then the faster chain, which is often the shorter one.
    const double difference = best ? plan.usd_per_hour - best->usd_per_hour : -1;
    if (difference < -1e-6 || (difference < 1e-6 && plan.tokens_per_second > best->tokens_per_second)) {
      best = std::move(plan);
    }
  }
  return best;
}

/// Why nothing was found, with the nearest that can be had.
Error why_not(const ModelFootprint& model, const std::vector<const Machine*>& machines, const Catalogue& catalogue,
              PlanWish wish) {
  if (wish.tokens_per_second > 0) {
    const double asked = std::exchange(wish.tokens_per_second, 0);
    double slow = 0, fast = asked;
    if (!find_chain(model, machines, catalogue, wish)) return why_not(model, machines, catalogue, wish);
    for (int i = 0; i < 30; ++i) {
      wish.tokens_per_second = (slow + fast) / 2;
      (find_chain(model, machines, catalogue, wish) ? slow : fast) = wish.tokens_per_second;
    }
    return Error(Code::kNotFound, fmt::format("no chain of at most {} stages gives {} streams {:.3g} tokens a second "
                                              "each; the fastest gives {:.3g}: ask for less, or for other weights",
                                              wish.max_stages, wish.streams, asked, slow));
  }
  double kv = 0, largest = 0;
  const PlannedStage whole = plan_stage(model, {0, static_cast<int>(model.layers.size())}, *machines.front(), wish, 1);
  kv = whole.kv_bytes;
  std::string name;
  for (const Machine* machine : machines) {
    if (machine->usable_bytes > largest) name = machine->name;
    largest = std::max(largest, machine->usable_bytes);
  }
  return Error(Code::kNotFound,
               fmt::format("{} needs {:.1f} GB of weights and {:.1f} GB of KV ({} streams of {} positions); {} x {} "
                           "with {:.1f} GB each do not hold that: allow more stages, fewer streams, a shorter context "
                           "or other weights",
                           model.name, model.total_bytes() / kGiga, kv / kGiga, wish.streams, wish.context,
                           wish.max_stages, name, largest / kGiga));
}

}  // namespace

double ModelFootprint::total_bytes() const {
  double total = embedding_bytes + (tied ? 0 : head_bytes);
  for (const LayerFootprint& layer : layers) total += layer.weight_bytes;
  return total;
}

ModelFootprint requantised(const ModelFootprint& model, const std::string& name, double bits) {
  ModelFootprint other = model;
  other.weights = name;
  for (LayerFootprint& layer : other.layers) layer.weight_bytes = layer.parameters * bits / 8;
  other.head_bytes = other.head_parameters * bits / 8;
  if (other.head_parameters > 0 && model.head_bytes > 0) {
    other.embedding_bytes = model.embedding_bytes * other.head_bytes / model.head_bytes;
  }
  return other;
}

PlannedStage plan_stage(const ModelFootprint& model, LayerRange layers, const Machine& machine, const PlanWish& wish,
                        int n_stages) {
  PlannedStage stage{.layers = layers, .machine = &machine, .scratch_bytes = model.scratch_bytes};
  const int rows = rows_of(n_stages, wish.streams);
  double parameters = 0, kv_per_stream = 0;
  for (int i = layers.first; i < layers.last; ++i) {
    const LayerFootprint& layer = model.layers[static_cast<std::size_t>(i)];
    stage.weight_bytes += layer.weight_bytes;
    parameters += layer.parameters;
    const int seen = layer.window > 0 ? std::min(layer.window, wish.context) : wish.context;
    // The pool holds the whole context of every layer; a step reads only what the layer looks back at.
    stage.kv_bytes += layer.kv_position_bytes * wish.context * wish.streams;
    kv_per_stream += layer.kv_position_bytes * seen;
  }
  double read_bytes = stage.weight_bytes + kv_per_stream * rows;
  const bool is_first = layers.first == 0;
  const bool is_last = layers.last == static_cast<int>(model.layers.size());
  if (is_last) {
    stage.weight_bytes += model.head_bytes;
    read_bytes += model.head_bytes;
    parameters += model.head_parameters;
  }
  if (is_first && !(is_last && model.tied)) stage.weight_bytes += model.embedding_bytes;
  stage.step_seconds = std::max(read_bytes / machine.bytes_per_second, 2 * parameters * rows / machine.ops_per_second);
  return stage;
}

ChainPlan total_chain(const ModelFootprint& model, std::vector<PlannedStage> stages, const Catalogue& catalogue,
                      const PlanWish& wish) {
  ChainPlan plan;
  plan.weights = model.weights;
  double slowest = 0, sum = 0;
  for (const PlannedStage& stage : stages) {
    slowest = std::max(slowest, stage.step_seconds);
    sum += stage.step_seconds;
    plan.usd_per_hour += stage.machine->usd_per_hour;
    plan.cold_start_seconds = std::max(
        plan.cold_start_seconds, stage.machine->start_seconds + stage.weight_bytes / catalogue.source_bytes_per_second);
  }
  const int n_stages = static_cast<int>(stages.size());
  plan.tokens_per_second = 1 / period_seconds(slowest, sum, n_stages, wish.streams, catalogue.hop_seconds);
  plan.single_stream = 1 / single_stream_seconds(model, stages, catalogue, wish);
  plan.usd_per_million = plan.usd_per_hour / 3600 / (plan.tokens_per_second * wish.streams) * 1e6;
  plan.stages = std::move(stages);
  return plan;
}

std::vector<int> ChainPlan::cuts() const {
  std::vector<int> cuts;
  for (std::size_t i = 1; i < stages.size(); ++i) cuts.push_back(stages[i].layers.first);
  return cuts;
}

Result<ChainPlan> plan_chain(const ModelFootprint& model, const std::vector<const Machine*>& machines,
                             const Catalogue& catalogue, const PlanWish& wish) {
  if (machines.empty()) return Error(Code::kNotFound, "no machine to plan with: the region or the choice leaves none");
  if (auto plan = find_chain(model, machines, catalogue, wish)) return std::move(*plan);
  return why_not(model, machines, catalogue, wish);
}

}  // namespace commissure
