#include "step/stage_info.h"

#include <fmt/format.h>

#include <algorithm>

namespace commissure {
namespace {

std::string describe(const StageInfo& stage) {
  return fmt::format("stage {} (layers {}-{} of {}, fingerprint {}..)", stage.plan.name(), stage.plan.layers.first,
                     stage.plan.layers.last, stage.model, stage.fingerprint.substr(0, 12));
}

/// Checks what a stage says of itself, without its neighbours. The values may come from another process.
Status validate_alone(const StageInfo& stage) {
  const StagePlan& plan = stage.plan;
  const bool sane = plan.n_stages >= 1 && plan.n_stages <= kMaxStages && plan.index >= 0 &&
                    plan.index < plan.n_stages && plan.layers.first >= 0 && plan.layers.first < plan.layers.last &&
                    plan.layers.last <= plan.n_model_layers;
  if (!sane) {
    return Error(Code::kFailedPrecondition, "stage ", plan.index, " of ", plan.n_stages, " claims layers ",
                 plan.layers.first, "-", plan.layers.last, " of ", plan.n_model_layers, ", which is no stage plan");
  }
  if (plan.is_first() && plan.layers.first != 0) {
    return Error(Code::kFailedPrecondition, describe(stage), " is the first: layers 0-", plan.layers.first,
                 " are on no stage; give all stages the same cuts");
  }
  if (plan.is_last() && plan.layers.last != plan.n_model_layers) {
    return Error(Code::kFailedPrecondition, describe(stage), " is the last: layers ", plan.layers.last, "-",
                 plan.n_model_layers, " are on no stage; give all stages the same cuts");
  }
  return {};
}

}  // namespace

std::string_view load_state_name(LoadState state) {
  switch (state) {
    case LoadState::kCold: return "cold";
    case LoadState::kLoading: return "loading";
    case LoadState::kReady: return "ready";
    case LoadState::kFailed: return "failed";
    case LoadState::kUnreachable: return "unreachable";
  }
  return "failed";
}

std::string_view model_fingerprint(std::string_view fingerprint) {
  return fingerprint.substr(0, fingerprint.find('+'));
}

Status validate_neighbours(const StageInfo& before, const StageInfo& after) {
  TRY(validate_alone(before));
  TRY(validate_alone(after));
  const auto refused = [&](auto&&... what) {
    return Error(Code::kFailedPrecondition, describe(before), " and ", describe(after), ": ", what...);
  };
  if (model_fingerprint(before.fingerprint) != model_fingerprint(after.fingerprint)) {
    return refused("they hold different models; start both from the same checkpoint");
  }
  if (before.precision != after.precision) {
    return refused("precision is '", before.precision, "' on one and '", after.precision, "' on the other");
  }
  if (before.kv_dtype != after.kv_dtype) {
    return refused("KV is '", before.kv_dtype, "' on one and '", after.kv_dtype,
                   "' on the other; give all stages the same --kv-dtype");
  }
  if (before.d_model != after.d_model) return refused("d_model is ", before.d_model, " and ", after.d_model);
  if (before.plan.n_model_layers != after.plan.n_model_layers) {
    return refused("the model has ", before.plan.n_model_layers, " layers for one and ", after.plan.n_model_layers,
                   " for the other");
  }
  // Stage A counts blocks and rows by its own numbers.
  if (after.n_kv_blocks < before.n_kv_blocks) {
    return refused("there is room for ", before.n_kv_blocks, " KV blocks on one and ", after.n_kv_blocks,
                   " on the other; give all stages the same --kv-tokens, --kv-memory and --max-model-len");
  }
  if (after.n_window_blocks < before.n_window_blocks) {
    return refused("there is room for ", before.n_window_blocks, " KV blocks of windows on one and ",
                   after.n_window_blocks, " on the other; give all stages the same limits (--max-num-seqs and others)");
  }
  if (after.n_states < before.n_states) {
    return refused("there is room for the recurrent states of ", before.n_states, " sequences on one and ",
                   after.n_states, " on the other; give all stages the same --max-num-seqs");
  }
  if (after.max_rows < before.max_rows) {
    return refused("a step has up to ", before.max_rows, " rows on one and ", after.max_rows,
                   " on the other; give all stages the same --max-num-batched-tokens");
  }
  const int end = before.plan.layers.last;
  const int begin = after.plan.layers.first;
  if (end < begin) return refused("layers ", end, "-", begin, " are on no stage; give all stages the same cuts");
  if (end > begin) {
    return refused("layers ", begin, "-", std::min(end, after.plan.layers.last),
                   " are on both; give all stages the same cuts");
  }
  if (before.plan.n_stages != after.plan.n_stages || before.plan.index + 1 != after.plan.index) {
    return refused("stage ", before.plan.index + 1, " of ", before.plan.n_stages, " is followed by stage ",
                   after.plan.index + 1, " of ", after.plan.n_stages);
  }
  return {};
}

Status validate_chain(const std::vector<StageInfo>& stages) {
  if (stages.empty()) return Error(Code::kFailedPrecondition, "the chain has no stage");
  TRY(validate_alone(stages.front()));
  for (std::size_t i = 1; i < stages.size(); ++i) TRY(validate_neighbours(stages[i - 1], stages[i]));
  if (!stages.front().plan.is_first()) {
    return Error(Code::kFailedPrecondition, "the chain begins with ", describe(stages.front()),
                 ": the stages before it are missing");
  }
  if (!stages.back().plan.is_last()) {
    return Error(Code::kFailedPrecondition, "the chain ends with ", describe(stages.back()),
                 ": the stages after it are missing");
  }
  return {};
}

}  // namespace commissure
