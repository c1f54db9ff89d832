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
                      {"table_bytes", stage.table_bytes},
                      {"image_encoder_bytes", stage.image_encoder_bytes},
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

std::string stages_text(const ChainPlan& plan) {
  std::string text = fmt::format("{:<6}{:<8}{:<14}{:>8}{:>8}{:>8}{:>8}{:>8}{:>12}\n", "STAGE", "LAYERS", "MACHINE",
                                 "WEIGHTS", "KV", "ACTIV.", "ROWS*", "FREE", "STEP");
  for (std::size_t i = 0; i < plan.stages.size(); ++i) {
    const PlannedStage& stage = plan.stages[i];
    const double free = stage.machine->usable_bytes - stage.needed_bytes();
    text +=
        fmt::format("{:<6}{:<8}{:<14}{:>8.2f}{:>8.2f}{:>8.2f}{:>8.2f}{:>8.2f}{:>9.1f} ms\n", static_cast<char>('a' + i),
                    fmt::format("{}-{}", stage.layers.first, stage.layers.last - 1), stage.machine->name,
                    (stage.weight_bytes + stage.table_bytes) / kGiga, stage.kv_bytes / kGiga,
                    stage.scratch_bytes / kGiga, stage.row_log_bytes / kGiga, free / kGiga, 1000 * stage.step_seconds);
  }
  const bool any_gpu = std::ranges::any_of(plan.stages, [](const PlannedStage& stage) { return stage.has_gpu(); });
  text += fmt::format("In GB. * handed on, kept to mend the next stage with: in the host's memory{}\n",
                      any_gpu ? ",\nbeside a GPU not part of what it has free" : "");
  const double image_bytes = plan.stages.empty() ? 0 : plan.stages.front().image_encoder_bytes;
  if (image_bytes > 0)
    text += fmt::format("Stage a holds the image encoder besides, in the host's memory: {:.2f}\n", image_bytes / kGiga);
  return text;
}

/// Where the times come from.
std::string source_text(const Planning& planning) {
  const auto has_measured = [](const ChainPlan& plan, const std::string& machine) {
    return std::ranges::any_of(plan.stages,
                               [&](const PlannedStage& s) { return s.is_measured && s.machine->name == machine; });
  };
  std::string text;
  for (const LayerTimes& times : planning.model.footprint.times) {
    const bool used = has_measured(planning.chosen(), times.machine) ||
                      std::ranges::any_of(planning.found, [&](const Alternative& other) {
                        return has_measured(other.plan, times.machine);
                      });
    text += fmt::format("Steps on {} take what was measured on {} ({} threads, {}){}.\n", times.machine, times.device,
                        times.n_threads, times.date, used ? "" : "; no chain here runs on it");
  }
  return text + fmt::format("{} are computed from the catalogue of {}, not measured;\nprices are list prices.\n",
                            planning.model.footprint.times.empty() ? "Times" : "Other times", planning.catalogue.date);
}

/// In at most six columns, whatever a small model may reach.
std::string rate_text(double per_second) { return fmt::format("{:.{}f}", per_second, per_second < 1000 ? 1 : 0); }

std::string alternative_text(const std::string& chain, const ChainPlan& plan, int n_streams) {
  return fmt::format("{:<7} {:<19}{:>6}{:>8}{:>7.2f} s{:>5.0f} s{:>6.2f}{:>8.0f} {:>8.2f}\n", plan.weights, chain,
                     rate_text(plan.tokens_per_second), rate_text(plan.tokens_per_second * n_streams),
                     plan.first_token_seconds, plan.cold_start_seconds, plan.usd_per_hour,
                     plan.usd_per_hour * kHoursPerMonth, plan.usd_per_million);
}

std::string alternatives_text(const Planning& planning, const PlanWish& wish) {
  std::string text = fmt::format("\nAlternatives, {} stream{} of {} positions, prompts of {};\n", wish.streams,
                                 wish.streams == 1 ? "" : "s", wish.context, wish.prompt);
  text += "USD by the hour, the month** and a million tokens:\n";
  text += fmt::format("{:<7} {:<19}{:>6}{:>8}{:>9}{:>7}{:>6}{:>10}{:>7}\n", "WEIGHTS", "CHAIN", "TOK/S", "ALL", "TTFT",
                      "COLD", "/HOUR", "/MONTH**", "/M TOK");
  if (planning.file) text += alternative_text("as the file says", planning.chosen(), wish.streams);
  for (const auto& [machine, plan] : planning.found)
    text += alternative_text(fmt::format("{} x {}", plan.stages.size(), machine), plan, wish.streams);
  for (const std::string& reason : planning.refused) text += fmt::format("  no: {}\n", reason);
  return text;
}

}  // namespace

std::string plans_text(const Planning& planning) {
  const ChainPlan& best = planning.chosen();
  const ModelFootprint& model = planning.model.footprint;
  std::string text = fmt::format("{}, {} weights, {:.1f} GB, {} layers, KV in {}{}\n\n", model.name, model.weights,
                                 model.total_bytes() / kGiga, model.layers.size(), kv_type_name(planning.kv_type),
                                 planning.model.is_estimate ? " (from config.json alone)" : "");
  if (planning.file) text += planning.file->title + "\n";
  text += stages_text(best);
  if (best.stages.size() > 1) text += fmt::format("\ncuts: [{}]\n", fmt::join(best.cuts(), ", "));
  text += alternatives_text(planning, planning.wish);
  text += fmt::format("\n** always on; scaled to zero a chain costs {:.2f} USD a month\nfor {:.1f} GB in the bucket.\n",
                      model.total_bytes() / kGib * planning.catalogue.usd_per_gib_month, model.total_bytes() / kGiga);
  if (best.stages.size() > 1) {
    const auto whole = std::ranges::find_if(planning.found, [&](const Alternative& other) {
      return other.plan.stages.size() == 1 && other.plan.weights == best.weights;
    });
    if (whole != planning.found.end() && whole->plan.usd_per_million < best.usd_per_million) {
      text += fmt::format("Not splitting is cheaper per token here: one {} at {:.2f} USD per million.\n",
                          whole->machine, whole->plan.usd_per_million);
    }
  }
  text += source_text(planning);
  if (std::ranges::any_of(best.stages, [](const PlannedStage& s) { return !s.machine->gpu.empty(); }))
    text += "This build computes on CPUs only: a GPU chain is a plan, not yet a deployment.\n";
  return text;
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
