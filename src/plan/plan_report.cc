#include "plan/plan_report.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/units.h"

namespace commissure {

namespace {

Json to_json(const ChainPlan& plan) {
  Json stages = Json::array();
  for (std::size_t i = 0; i < plan.stages.size(); ++i) {
    const PlannedStage& stage = plan.stages[i];
    stages.push_back({{"stage", std::string(1, static_cast<char>('a' + i))},
                      {"layers", {stage.layers.first, stage.layers.last}},
                      {"machine", stage.machine->name},
                      {"gpu", stage.machine->gpu},
                      {"weight_bytes", stage.weight_bytes},
                      {"kv_bytes", stage.kv_bytes},
                      {"scratch_bytes", stage.scratch_bytes},
                      {"row_log_bytes", stage.row_log_bytes},
                      {"needed_bytes", stage.needed_bytes()},
                      {"usable_bytes", stage.machine->usable_bytes},
                      {"step_ms", 1000 * stage.step_seconds},
                      {"is_measured", stage.is_measured}});
  }
  return {{"weights", plan.weights},
          {"cuts", plan.cuts()},
          {"stages", stages},
          {"tokens_per_second_per_stream", plan.tokens_per_second},
          {"tokens_per_second_single_stream", plan.single_stream},
          {"first_token_seconds", plan.first_token_seconds},
          {"cold_start_seconds", plan.cold_start_seconds},
          {"usd_per_hour", plan.usd_per_hour},
          {"usd_per_month_always_on", plan.usd_per_hour * kHoursPerMonth},
          {"usd_per_million_tokens", plan.usd_per_million}};
}

void print_stages(const ChainPlan& plan) {
  fmt::print("{:<6} {:<8} {:<13} {:>10} {:>8} {:>8} {:>8} {:>8} {:>9}\n", "STAGE", "LAYERS", "MACHINE", "WEIGHTS", "KV",
             "ACTIV.", "ROWS*", "FREE", "STEP");
  for (std::size_t i = 0; i < plan.stages.size(); ++i) {
    const PlannedStage& stage = plan.stages[i];
    const double free = stage.machine->usable_bytes - stage.needed_bytes();
    fmt::print("{:<6} {:<8} {:<13} {:>7.2f} GB {:>5.2f} GB {:>5.2f} GB {:>5.2f} GB {:>5.2f} GB {:>6.1f} ms\n",
               static_cast<char>('a' + i), fmt::format("{}-{}", stage.layers.first, stage.layers.last - 1),
               stage.machine->name, stage.weight_bytes / kGiga, stage.kv_bytes / kGiga, stage.scratch_bytes / kGiga,
               stage.row_log_bytes / kGiga, free / kGiga, 1000 * stage.step_seconds);
  }
  const bool any_gpu = std::ranges::any_of(plan.stages, [](const PlannedStage& stage) { return stage.has_gpu(); });
  fmt::print("* handed on, kept to mend the next stage with: in the host's memory{}\n",
             any_gpu ? ", beside a GPU not part of what it has free" : "");
}

/// Where the times come from.
void print_source(const Planning& planning) {
  const auto has_measured = [](const ChainPlan& plan, const std::string& machine) {
    return std::ranges::any_of(plan.stages,
                               [&](const PlannedStage& s) { return s.is_measured && s.machine->name == machine; });
  };
  for (const LayerTimes& times : planning.model.footprint.times) {
    const bool used = has_measured(planning.chosen(), times.machine) ||
                      std::ranges::any_of(planning.found, [&](const Alternative& other) {
                        return has_measured(other.plan, times.machine);
                      });
    fmt::print("Steps on {} take what was measured on {} ({} threads, {}){}.\n", times.machine, times.device,
               times.n_threads, times.date, used ? "" : "; no chain here runs on it");
  }
  fmt::print("{} are computed from the catalogue of {}, not measured; prices are list prices.\n",
             planning.model.footprint.times.empty() ? "Times" : "Other times", planning.catalogue.date);
}

void print_alternative(const std::string& chain, const ChainPlan& plan, int n_streams) {
  fmt::print("{:<8} {:<22} {:>9.1f} {:>11.1f} {:>6.2f} s {:>6.0f} s {:>9.2f} {:>11.0f} {:>10.2f}\n", plan.weights,
             chain, plan.tokens_per_second, plan.tokens_per_second * n_streams, plan.first_token_seconds,
             plan.cold_start_seconds, plan.usd_per_hour, plan.usd_per_hour * kHoursPerMonth, plan.usd_per_million);
}

void print_alternatives(const Planning& planning, const PlanWish& wish) {
  fmt::print(
      "\nAlternatives, {} stream{} of {} positions, prompts of {}:\n{:<8} {:<22} {:>9} {:>11} {:>8} {:>8} {:>9} {:>11} "
      "{:>10}\n",
      wish.streams, wish.streams == 1 ? "" : "s", wish.context, wish.prompt, "WEIGHTS", "CHAIN", "TOK/S", "ALL TOK/S",
      "TTFT", "COLD", "USD/HOUR", "USD/MONTH**", "USD/M TOK");
  if (planning.file) print_alternative("as the file says", planning.chosen(), wish.streams);
  for (const auto& [machine, plan] : planning.found) {
    print_alternative(fmt::format("{} x {}", plan.stages.size(), machine), plan, wish.streams);
  }
  for (const std::string& reason : planning.refused) fmt::print("  no: {}\n", reason);
}

}  // namespace

void print_plans(const Planning& planning) {
  const ChainPlan& best = planning.chosen();
  const ModelFootprint& model = planning.model.footprint;
  fmt::print("{}, {} weights, {:.1f} GB, {} layers, KV in {}{}\n\n", model.name, model.weights,
             model.total_bytes() / kGiga, model.layers.size(), kv_type_name(planning.kv_type),
             planning.model.is_estimate ? " (from config.json alone)" : "");
  if (planning.file) fmt::print("{}\n", planning.file->title);
  print_stages(best);
  std::string cuts;
  for (const int cut : best.cuts()) cuts += (cuts.empty() ? "" : ", ") + std::to_string(cut);
  if (!cuts.empty()) fmt::print("\ncuts: [{}]\n", cuts);
  print_alternatives(planning, planning.wish);
  fmt::print(
      "\n** always on; scaled to zero a chain costs nothing but {:.2f} USD a month for {:.1f} GB in the bucket.\n",
      model.total_bytes() / 1073741824.0 * planning.catalogue.usd_per_gib_month, model.total_bytes() / kGiga);
  if (best.stages.size() > 1) {
    const auto whole = std::ranges::find_if(planning.found, [&](const Alternative& other) {
      return other.plan.stages.size() == 1 && other.plan.weights == best.weights;
    });
    if (whole != planning.found.end() && whole->plan.usd_per_million < best.usd_per_million) {
      fmt::print("Not splitting is cheaper per token here: one {} at {:.2f} USD per million.\n", whole->machine,
                 whole->plan.usd_per_million);
    }
  }
  print_source(planning);
  if (std::ranges::any_of(best.stages, [](const PlannedStage& s) { return !s.machine->gpu.empty(); })) {
    fmt::print("This build computes on CPUs only: a GPU chain is a plan, not yet a deployment.\n");
  }
}

Json plans_json(const Planning& planning) {
  Json alternatives = Json::array();
  for (const auto& [machine, plan] : planning.found) {
    Json entry = to_json(plan);
    entry["machine"] = machine;
    alternatives.push_back(std::move(entry));
  }
  Json measured = Json::array();
  for (const LayerTimes& times : planning.model.footprint.times) measured.push_back(times.machine);
  return {{"model", planning.model.footprint.name},
          {"is_estimate", planning.model.is_estimate},
          {"catalogue", planning.catalogue.date},
          {"layer_times", measured},
          {"kv_dtype", kv_type_name(planning.kv_type)},
          {"context", planning.wish.context},
          {"streams", planning.wish.streams},
          {"plan", to_json(planning.chosen())},
          {"problems", planning.file ? planning.file->problems : std::vector<std::string>()},
          {"alternatives", alternatives},
          {"refused", planning.refused}};
}

}  // namespace commissure
