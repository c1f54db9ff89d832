#pragma once

#include <cstdint>
#include <optional>
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
  int window = 0;          ///< positions a row looks back; 0: all
  double state_bytes = 0;  ///< recurrent states of one sequence, as a stage keeps them
  // Of a layer with experts, of which a row takes a few:
  double expert_bytes = 0;       ///< of all experts together, part of weight_bytes
  double expert_parameters = 0;  ///< part of parameters
  double used_share = 1;         ///< of the experts, by one row

  /// The share of the experts that none of `rows` rows may be expected to take, and so to read.
  double unread_experts(double rows) const;
  /// Bytes that rows read which leave this share of the experts unread.
  double read_bytes(double unread) const { return weight_bytes - expert_bytes * unread; }
  /// Parameters that one row is multiplied with.
  double row_parameters() const { return parameters - (1 - used_share) * expert_parameters; }

  /// Of its own embeddings of the tokens, looked up row by row on the host.
  double table_bytes = 0;
  double table_parameters = 0;
  /// The nearest layer before it that holds, or reads, the keys and values that it reads; -1: they are its own.
  int kv_before = -1;
  double carried_row_bytes = 0;  ///< what rows carry behind it beside ModelFootprint::boundary_row_bytes
};

/// A model in the numbers that decide where it fits and how fast it runs.
struct ModelFootprint {
  std::string name;
  std::string weights;  ///< "BF16, as stored", "Q8_0"
  std::vector<LayerFootprint> layers;
  double embedding_bytes = 0;  ///< held by the first stage, looked up row by row
  double head_bytes = 0;       ///< held and read by the last stage; of a tied head the embedding's bytes
  double head_parameters = 0;
  bool tied = false;              ///< the head is the embedding: a chain of one stage holds it once
  double scratch_bytes = 0;       ///< activations of one stage
  double boundary_row_bytes = 0;  ///< bytes that a stage hands on for one position
  /// Weights of the image encoder: in the host's memory of the first stage, with or without a GPU.
  double image_encoder_bytes = 0;
  /// Why stages refuse to quantise its weights while they load them; nothing where they do.
  std::optional<Error> no_quant{};
  std::vector<LayerTimes> times{};  ///< measured times, one entry per machine; other machines get computed times

  double total_bytes() const;
};

/// Adds to the model the times that were measured on one machine.
/// Errors: kInvalidArgument, the times are of another model, other weights or another KV type; kAlreadyExists, the
/// model has times of this machine.
Status add_times(ModelFootprint& model, LayerTimes times, std::string_view kv_dtype);

/// The same model with its matrices in another format, `name`, of `bits` bits per parameter, scales included. Measured
/// times are dropped.
ModelFootprint requantised(const ModelFootprint& model, const std::string& name, double bits);

/// The same model with the matrices of some layers, and the head when `head` is set, in `bits` bits a parameter.
/// Measured times are dropped.
ModelFootprint with_quantised(const ModelFootprint& model, LayerRange layers, double bits, bool head);

struct PlanWish {
  int context = 8192;              ///< positions of one stream
  int streams = 1;                 ///< streams at once, each with a full context
  int sequences = 64;              ///< sequences that may run at once; a layer with a window holds one window for each
  double tokens_per_second = 0;    ///< at least, of each stream; 0: no limit
  double first_token_seconds = 0;  ///< at most, for `prompt` tokens on a warm, idle chain; 0: no limit
  int prompt = 1024;               ///< tokens of the prompt that first_token_seconds is about
  int max_stages = 8;
  double margin = 0.05;  ///< share of a machine's memory that stays free
};

struct PlannedStage {
  LayerRange layers;
  const Machine* machine = nullptr;
  double weight_bytes = 0;
  double kv_bytes = 0;  ///< keys, values and recurrent states
  double scratch_bytes = 0;
  double table_bytes = 0;          ///< host memory: its layers' own embeddings of the tokens
  double row_log_bytes = 0;        ///< host memory: rows it handed on, kept to rebuild the next stage; 0 on the last
  double image_encoder_bytes = 0;  ///< host memory: the first stage's, of a model that takes images
  double step_seconds = 0;         ///< one step with this stage's share of the streams
  double chunk_seconds = 0;        ///< one chunk of a prompt
  bool is_measured = false;        ///< both times were measured; else computed from the machine's numbers

  /// Bytes of the memory that the stage computes in: the GPU's, or the host's without a GPU.
  double needed_bytes() const { return weight_bytes + kv_bytes + scratch_bytes + (has_gpu() ? 0 : host_bytes()); }
  /// Bytes that lie in the host's memory with or without a GPU.
  double host_bytes() const { return table_bytes + row_log_bytes + image_encoder_bytes; }
  bool has_gpu() const { return !machine->gpu.empty(); }
  /// Bytes of the host's memory beside a GPU, less `margin`.
  double host_room(double margin) const;
  /// Whether the stage fits its machine with the share `margin` of each memory left free.
  bool fits(double margin) const;
};

/// A chain that fits. Times follow docs/planner.md.
struct ChainPlan {
  std::string weights;
  std::vector<PlannedStage> stages;
  double usd_per_hour = 0;         ///< while all stages are up
  double tokens_per_second = 0;    ///< of each stream while all run
  double first_token_seconds = 0;  ///< for the wish's prompt on a warm, idle chain
  double single_stream = 0;        ///< tokens per second of one stream alone
  double cold_start_seconds = 0;   ///< until the slowest stage is up; all start at once
  double usd_per_million = 0;      ///< per million tokens, when all streams are busy

  std::vector<int> cuts() const;
};

/// The cheapest chain of `machines` that holds the model with all streams of `wish` and meets its speed; of equally
/// cheap chains, the chain whose slowest stage is fastest. `machines` outlive the plan.
/// Errors: kNotFound, no chain fits or none is fast enough; the message says which of the two and by how much.
Result<ChainPlan> plan_chain(const ModelFootprint& model, const std::vector<const Machine*>& machines,
                             const Catalogue& catalogue, const PlanWish& wish);

/// Number of chunks in which the wish's prompt passes through the stages.
int prompt_chunks(const PlanWish& wish);

/// Positions of KV that a layer holds. Without a window: the contexts of all streams. With one: at most a window for
/// each sequence and the chunks of prompts in flight. In whole blocks, as a stage lays them out.
std::int64_t held_positions(const LayerFootprint& layer, const PlanWish& wish, int n_stages);

/// The numbers of one stage that runs `layers` on `machine`. `n_stages` is the length of the chain.
PlannedStage plan_stage(const ModelFootprint& model, LayerRange layers, const Machine& machine, const PlanWish& wish,
                        int n_stages);

/// Puts a chain's totals together from its stages.
ChainPlan total_chain(const ModelFootprint& model, std::vector<PlannedStage> stages, const Catalogue& catalogue,
                      const PlanWish& wish);

}  // namespace commissure
