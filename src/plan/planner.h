#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/result.h"
#include "deployment/hardware.h"
#include "plan/layer_times.h"
#include "step/stage_plan.h"

namespace commissure {

/// One layer of a model in numbers.
struct LayerFootprint {
  double weight_bytes = 0;
  double parameters = 0;
  double kv_position_bytes = 0;
  int window = 0;  ///< positions it looks back; 0: all
};

/// A model in the numbers that decide where it fits and how fast it runs.
struct ModelFootprint {
  std::string name;
  std::string weights;  ///< "BF16, as stored", "Q8_0"
  std::vector<LayerFootprint> layers;
  double embedding_bytes = 0;  ///< held by the first stage, looked up row by row
  double head_bytes = 0;       ///< held and read by the last stage; a tied one is the embedding again
  double head_parameters = 0;
  bool tied = false;                ///< one stage alone holds the embedding once
  double scratch_bytes = 0;         ///< activations of a stage
  double boundary_row_bytes = 0;    ///< what a stage hands on of one position
  std::vector<LayerTimes> times{};  ///< measured, by machine; stages elsewhere have computed ones

  double total_bytes() const;
};

/// Gives the model what was measured of it on one machine.
/// Errors: kInvalidArgument, the times are of another model, other weights or another KV type; kAlreadyExists, there
/// are some of this machine.
Status add_times(ModelFootprint& model, LayerTimes times, std::string_view kv_dtype);

/// The same model with its matrices at another width, of which nothing is measured. `bits` per parameter as the format
/// stores them, scales included.
ModelFootprint requantised(const ModelFootprint& model, const std::string& name, double bits);

struct PlanWish {
  int context = 8192;              ///< positions of one stream
  int streams = 1;                 ///< at once, each with a full context
  int sequences = 64;              ///< that may run at once: layers with a window hold one window for each
  double tokens_per_second = 0;    ///< each stream gets at least so many; 0: as fast as the cheapest is
  double first_token_seconds = 0;  ///< at most so long for a prompt on a warm, idle chain; 0: no matter
  int prompt = 1024;               ///< tokens of that prompt
  int max_stages = 8;
  double margin = 0.05;  ///< share of a machine's memory that stays free
};

struct PlannedStage {
  LayerRange layers;
  const Machine* machine = nullptr;
  double weight_bytes = 0;
  double kv_bytes = 0;
  double scratch_bytes = 0;
  double row_log_bytes =
      0;                    ///< what it handed on, kept in host memory for a next stage that loses its own; 0: the last
  double step_seconds = 0;  ///< one step with this stage's share of the streams
  double chunk_seconds = 0;  ///< one chunk of a prompt
  bool is_measured = false;  ///< or both computed from the machine's numbers

  /// Of the memory that the stage computes in, which without a GPU is the host's.
  double needed_bytes() const { return weight_bytes + kv_bytes + scratch_bytes + (has_gpu() ? 0 : row_log_bytes); }
  bool has_gpu() const { return !machine->gpu.empty(); }
  /// Beside a GPU, the host's memory for what is not on it.
  double host_room(double margin) const;
  /// With `margin` of each memory left free.
  bool fits(double margin) const;
};

/// A chain that fits. Times follow docs/planner.md.
struct ChainPlan {
  std::string weights;
  std::vector<PlannedStage> stages;
  double usd_per_hour = 0;         ///< while all stages are up
  double tokens_per_second = 0;    ///< of each stream, all at once
  double first_token_seconds = 0;  ///< of the wish's prompt on a warm, idle chain
  double single_stream = 0;        ///< of one stream alone
  double cold_start_seconds = 0;   ///< stages start at the same time: the slowest
  double usd_per_million = 0;      ///< tokens, when all streams are busy

  std::vector<int> cuts() const;
};

/// The cheapest chain of `machines` that holds the model with all its streams and meets the speed; of equally cheap
/// ones the one whose slowest stage is fastest. `machines` outlive the plan.
/// Errors: kNotFound, nothing fits or is fast enough; the message says which and how far off.
Result<ChainPlan> plan_chain(const ModelFootprint& model, const std::vector<const Machine*>& machines,
                             const Catalogue& catalogue, const PlanWish& wish);

/// Chunks that the wish's prompt passes the stages in.
int prompt_chunks(const PlanWish& wish);

/// Positions of KV that a layer holds: all contexts; with a window no more than the sequences' windows and the chunks
/// of prompts in flight, in whole blocks, as a stage lays them out.
std::int64_t held_positions(const LayerFootprint& layer, const PlanWish& wish, int n_stages);

/// One stage's numbers, for a given place: what plan_chain adds up. `n_stages` is the length of the chain.
PlannedStage plan_stage(const ModelFootprint& model, LayerRange layers, const Machine& machine, const PlanWish& wish,
                        int n_stages);

/// Puts a chain's totals together from its stages.
ChainPlan total_chain(const ModelFootprint& model, std::vector<PlannedStage> stages, const Catalogue& catalogue,
                      const PlanWish& wish);

}  // namespace commissure
