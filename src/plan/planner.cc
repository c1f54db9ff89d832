#include "plan/planner.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "core/index.h"
#include "core/units.h"
#include "plan/chain_search.h"
#include "step/step_batch.h"

namespace commissure {

namespace {

constexpr int kChunkRows = 512;  // of a prompt that pass the stages together
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
  const int n = count_of(stages);
  double sum = 0;
  for (const PlannedStage& stage : stages) {
    sum += plan_stage(model, stage.layers, *stage.machine, wish, n).step_seconds;
  }
  return sum + 2 * (n - 1) * catalogue.hop_seconds;
}

std::optional<ChainPlan> find_chain(const ModelFootprint& model, const std::vector<const Machine*>& machines,
                                    const Catalogue& catalogue, const PlanWish& wish) {
  std::optional<ChainPlan> best;
  const int n_layers = count_of(model.layers);
  for (int n_stages = 1; n_stages <= std::min({wish.max_stages, n_layers, kMaxStages}); ++n_stages) {
    auto stages = ChainSearch(model, machines, catalogue, wish, n_stages).cheapest(best ? best->usd_per_hour : kNever);
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

/// The nearest to an impossible `wish.*field` that a chain can have: the most tokens a second, the earliest first
/// token.
double nearest_wish(const ModelFootprint& model, const std::vector<const Machine*>& machines,
                    const Catalogue& catalogue, PlanWish wish, double PlanWish::* field) {
  double impossible = wish.*field;
  double possible = 0;
  if (field == &PlanWish::first_token_seconds) {
    wish.*field = possible = impossible;
    while (!find_chain(model, machines, catalogue, wish) && possible < 1e9) wish.*field = possible *= 2;
  }
  for (int i = 0; i < 20; ++i) {
    wish.*field = (possible + impossible) / 2;
    (find_chain(model, machines, catalogue, wish) ? possible : impossible) = wish.*field;
  }
  return possible;
}

/// Why nothing was found, with the nearest that can be had.
Error why_not(const ModelFootprint& model, const std::vector<const Machine*>& machines, const Catalogue& catalogue,
              PlanWish wish) {
  if (wish.first_token_seconds > 0) {
    PlanWish without = wish;
    without.first_token_seconds = 0;
    if (!find_chain(model, machines, catalogue, without)) return why_not(model, machines, catalogue, without);
    return Error(
        Code::kNotFound,
        fmt::format("no chain of at most {} stages gives the first token of a prompt of {} within {:.3g} s; the "
                    "fastest takes {:.3g}: ask for less, or for other weights",
                    wish.max_stages, wish.prompt, wish.first_token_seconds,
                    nearest_wish(model, machines, catalogue, wish, &PlanWish::first_token_seconds)));
  }
  if (wish.tokens_per_second > 0) {
    PlanWish without = wish;
    without.tokens_per_second = 0;
    if (!find_chain(model, machines, catalogue, without)) return why_not(model, machines, catalogue, without);
    return Error(Code::kNotFound,
                 fmt::format("no chain of at most {} stages gives {} streams {:.3g} tokens a second each; the fastest "
                             "gives {:.3g}: ask for less, or for other weights",
                             wish.max_stages, wish.streams, wish.tokens_per_second,
                             nearest_wish(model, machines, catalogue, wish, &PlanWish::tokens_per_second)));
  }
  double kv = 0, largest = 0;
  const PlannedStage whole = plan_stage(model, {0, count_of(model.layers)}, *machines.front(), wish, 1);
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

const LayerTimes* times_on(const ModelFootprint& model, const Machine& machine) {
  const auto found = std::ranges::find(model.times, machine.name, &LayerTimes::machine);
  return found == model.times.end() ? nullptr : &*found;
}

/// The stage's times as measured layers add up to them.
void take_times(const LayerTimes& times, const PlanWish& wish, int rows, PlannedStage& stage) {
  const int chunk_rows = std::min(wish.prompt, kChunkRows);
  stage.step_seconds = stage.chunk_seconds = 0;
  for (int i = stage.layers.first; i < stage.layers.last; ++i) {
    const LayerKind& kind = times.kind_of(i);
    const int seen = kind.window > 0 ? std::min(kind.window, wish.context) : wish.context;
    stage.step_seconds += seconds_for(kind.decode, rows) + rows * seen * kind.position_seconds;
    stage.chunk_seconds += seconds_for(kind.prefill, chunk_rows);
  }
  if (stage.layers.first == 0) {
    stage.step_seconds += seconds_for(times.embedding, rows);
    stage.chunk_seconds += seconds_for(times.embedding, chunk_rows);
  }
  if (stage.layers.last == times.n_layers) {
    stage.step_seconds += seconds_for(times.head, rows);
    stage.chunk_seconds += seconds_for(times.head, 1);
  }
  stage.is_measured = true;
}

}  // namespace

double PlannedStage::host_room(double margin) const { return machine->memory_gib * kGib * (1 - margin); }

bool PlannedStage::fits(double margin) const {
  return needed_bytes() <= machine->usable_bytes * (1 - margin) && (!has_gpu() || host_bytes() <= host_room(margin));
}

double LayerFootprint::unread_experts(double rows) const { return std::pow(1 - used_share, rows); }

double ModelFootprint::total_bytes() const {
  double total = embedding_bytes + (tied ? 0 : head_bytes);
  for (const LayerFootprint& layer : layers) total += layer.weight_bytes + layer.table_bytes;
  return total;
}

Status add_times(ModelFootprint& model, LayerTimes times, std::string_view kv_dtype) {
  const auto wrong = [&](const std::string& what, const std::string& has, std::string_view wants) {
    return Error(Code::kInvalidArgument, "the times were measured for ", what, " ", has, ", the plan is for ", wants);
  };
  if (times.weights != model.weights) return wrong("weights in", times.weights, model.weights);
  if (times.kv_dtype != kv_dtype) return wrong("KV in", times.kv_dtype, kv_dtype);
  bool same = times.kind_index.size() == model.layers.size();
  for (std::size_t i = 0; same && i < model.layers.size(); ++i) {
    const LayerKind& kind = times.kind_of(static_cast<int>(i));
    const LayerFootprint& layer = model.layers[i];
    // A config.json gives bytes but for the width of norms.
    same = kind.window == layer.window && std::abs(kind.weight_bytes - layer.weight_bytes) < 0.01 * layer.weight_bytes;
  }
  if (!same) return wrong("the layers of", times.model, model.name);
  if (std::ranges::find(model.times, times.machine, &LayerTimes::machine) != model.times.end())
    return Error(Code::kAlreadyExists, "there are other times of ", times.machine);
  model.times.push_back(std::move(times));
  return {};
}

ModelFootprint requantised(const ModelFootprint& model, const std::string& name, double bits) {
  ModelFootprint other = model;
  other.weights = name;
  other.no_quant =
      Error(Code::kInvalidArgument, "the weights are quantised already (", name, "), --quant (quant:) is for others");
  other.times.clear();
  for (LayerFootprint& layer : other.layers) {
    layer.weight_bytes = layer.parameters * bits / 8;
    layer.expert_bytes = layer.expert_parameters * bits / 8;
    layer.table_bytes = layer.table_parameters * bits / 8;
  }
  other.head_bytes = other.head_parameters * bits / 8;
  if (other.head_parameters > 0 && model.head_bytes > 0) {
    other.embedding_bytes = model.embedding_bytes * other.head_bytes / model.head_bytes;
  }
  return other;
}

ModelFootprint with_quantised(const ModelFootprint& model, LayerRange layers, double bits, bool head) {
  ModelFootprint other = model;
  other.times.clear();
  for (int i = layers.first; i < layers.last; ++i) {
    LayerFootprint& layer = other.layers[to_size(i)];
    layer.weight_bytes = layer.parameters * bits / 8;
    layer.expert_bytes = layer.expert_parameters * bits / 8;
  }
  if (!head) return other;
  if (layers.last == count_of(model.layers)) other.head_bytes = other.head_parameters * bits / 8;
  if (layers.first == 0 && model.tied) other.embedding_bytes = other.head_parameters * bits / 8;
  return other;
}

int prompt_chunks(const PlanWish& wish) { return (wish.prompt + kChunkRows - 1) / kChunkRows; }

std::int64_t held_positions(const LayerFootprint& layer, const PlanWish& wish, int n_stages) {
  const std::int64_t all = (std::int64_t{wish.context} * wish.streams + kBlockPositions - 1) / kBlockPositions;
  if (layer.window == 0) return all * kBlockPositions;
  const std::int64_t spanned = blocks_for(layer.window - 1) + 1;
  const std::int64_t in_flight = std::int64_t{n_stages + 1} * blocks_for(kChunkRows);
  return std::min(all, wish.sequences * spanned + in_flight) * kBlockPositions;
}

PlannedStage plan_stage(const ModelFootprint& model, LayerRange layers, const Machine& machine, const PlanWish& wish,
                        int n_stages) {
  PlannedStage stage{.layers = layers, .machine = &machine, .scratch_bytes = model.scratch_bytes};
  const int rows = rows_of(n_stages, wish.streams);
  const int chunk_rows = std::min(wish.prompt, kChunkRows);
  double parameters = 0, kv_per_stream = 0, step_read_bytes = 0, chunk_read_bytes = 0;
  double used_share = 1, step_unread = 0, chunk_unread = 0;  // of the experts, mostly the same in all layers
  for (int i = layers.first; i < layers.last; ++i) {
    const LayerFootprint& layer = model.layers[i];
    stage.weight_bytes += layer.weight_bytes;
    parameters += layer.row_parameters();
    if (std::exchange(used_share, layer.used_share) != layer.used_share) {
      step_unread = layer.unread_experts(rows);
      chunk_unread = layer.unread_experts(chunk_rows);
    }
    step_read_bytes += layer.read_bytes(step_unread);
    chunk_read_bytes += layer.read_bytes(chunk_unread);
    const int seen = layer.window > 0 ? std::min(layer.window, wish.context) : wish.context;
    stage.table_bytes += layer.table_bytes;
    if (layer.kv_before < layers.first) {  // its own, or the first here that needs a copy
      stage.kv_bytes += layer.kv_position_bytes * static_cast<double>(held_positions(layer, wish, n_stages));
    }
    stage.kv_bytes += layer.state_bytes * wish.sequences;
    kv_per_stream += layer.kv_position_bytes * seen + layer.state_bytes;  // one place is read, one written
  }
  const bool is_first = layers.first == 0;
  const bool is_last = layers.last == count_of(model.layers);
  if (!is_last)
    stage.row_log_bytes = (model.boundary_row_bytes + model.layers[layers.last - 1].carried_row_bytes) *
                          static_cast<double>(held_positions({}, wish, n_stages));
  if (is_last) {
    stage.weight_bytes += model.head_bytes;
    step_read_bytes += model.head_bytes;
    chunk_read_bytes += model.head_bytes;
    parameters += model.head_parameters;
  }
  const double read_bytes = step_read_bytes + kv_per_stream * rows;
  if (is_first && !(is_last && model.tied)) stage.weight_bytes += model.embedding_bytes;
  if (is_first) stage.image_encoder_bytes = model.image_encoder_bytes;
  stage.step_seconds = std::max(read_bytes / machine.bytes_per_second, 2 * parameters * rows / machine.ops_per_second);
  // Of a prompt only the last row needs the head; what a chunk reads of the cache hides behind its products.
  const double head = is_last ? model.head_parameters : 0;
  const double ops = 2 * ((parameters - head) * chunk_rows + head);
  stage.chunk_seconds = std::max(chunk_read_bytes / machine.bytes_per_second, ops / machine.ops_per_second);
  if (const LayerTimes* const times = times_on(model, machine)) take_times(*times, wish, rows, stage);
  return stage;
}

ChainPlan total_chain(const ModelFootprint& model, std::vector<PlannedStage> stages, const Catalogue& catalogue,
                      const PlanWish& wish) {
  ChainPlan plan;
  plan.weights = model.weights;
  double slowest = 0, sum = 0, slowest_chunk = 0, chunk_sum = 0, table_bytes = 0;
  for (const LayerFootprint& layer : model.layers) table_bytes += layer.table_bytes;
  for (const PlannedStage& stage : stages) {
    slowest_chunk = std::max(slowest_chunk, stage.chunk_seconds);
    chunk_sum += stage.chunk_seconds;
    slowest = std::max(slowest, stage.step_seconds);
    sum += stage.step_seconds;
    plan.usd_per_hour += stage.machine->usd_per_hour;
    // A row of the layers' own embeddings lies over the layers of all stages: each reads the whole table.
    const double read_bytes = stage.weight_bytes + table_bytes;
    plan.cold_start_seconds = std::max(plan.cold_start_seconds,
                                       stage.machine->start_seconds + read_bytes / catalogue.source_bytes_per_second);
  }
  const int n_stages = count_of(stages);
  plan.tokens_per_second = 1 / period_seconds(slowest, sum, n_stages, wish.streams, catalogue.hop_seconds);
  plan.first_token_seconds =
      chunk_sum + (prompt_chunks(wish) - 1) * slowest_chunk + 2 * (n_stages - 1) * catalogue.hop_seconds;
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
