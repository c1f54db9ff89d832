#include "plan/plan_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/units.h"
#include "terminal/svg_chart.h"

namespace commissure {

namespace {

constexpr double kSecondsPerDay = 24 * 3600;
constexpr std::size_t kMaxLines = 6;  // the cheapest; more would not be told apart

/// Every curve is a stair with one step a stage, each on top of the one below it.
ChartPanel memory_panel(const ChainPlan& plan) {
  ChartCurve weights{"weights", {}, {}}, kv{"+ KV", {}, {}},
      rows{"+ rows handed on and image encoder, without a GPU", {}, {}}, all{"+ activations", {}, {}},
      usable{"usable", {}, {}};
  double top = 0, at = 0;
  std::string names;
  for (const PlannedStage& stage : plan.stages) {
    const auto step = [&](ChartCurve& curve, double bytes) {
      curve.points.emplace_back(at, bytes / kGiga);
      curve.points.emplace_back(at + 1, bytes / kGiga);
      top = std::max(top, bytes / kGiga);
    };
    const double weight_bytes = stage.weight_bytes + (stage.has_gpu() ? 0 : stage.table_bytes);
    step(weights, weight_bytes);
    step(kv, weight_bytes + stage.kv_bytes);
    step(rows, stage.needed_bytes() - stage.scratch_bytes);
    step(all, stage.needed_bytes());
    step(usable, stage.machine->usable_bytes);
    names += fmt::format("{}{} from {:g}", names.empty() ? "" : ", ", static_cast<char>('a' + at), at);
    ++at;
  }
  ChartScale stages = linear_scale(at, "stage: " + names);
  stages.top = at;
  stages.ticks.clear();
  for (double tick = 0; tick <= at; ++tick) stages.ticks.push_back(tick);
  return {"Memory of each stage",
          std::move(stages),
          linear_scale(top, "GB"),
          {std::move(weights), std::move(kv), std::move(rows), std::move(all), std::move(usable)},
          {}};
}

/// The bucket is paid for either way.
ChartPanel cost_panel(const Planning& planning) {
  ChartPanel panel{"Cost by load, up only while it works", {}, {}, {}, {}};
  const double bucket = planning.model.footprint.total_bytes() / kGib * planning.catalogue.usd_per_gib_month;
  double most_tokens = 0, most_usd = 0;
  const auto add = [&](const std::string& name, const ChainPlan& plan) {
    if (panel.curves.size() == kMaxLines) return;
    const double tokens = plan.tokens_per_second * planning.wish.streams * kSecondsPerDay / 1e6;
    const double usd = plan.usd_per_hour * kHoursPerMonth + bucket;
    panel.curves.push_back({name, {{0, bucket}, {tokens, usd}}, {{tokens, usd}}});
    most_tokens = std::max(most_tokens, tokens);
    most_usd = std::max(most_usd, usd);
  };
  if (planning.file) add("the file", planning.file->plan);
  for (const auto& [machine, plan] : planning.found)
    add(fmt::format("{} x {}, {}", plan.stages.size(), machine, plan.weights), plan);
  panel.x = linear_scale(most_tokens, "million tokens a day");
  panel.y = linear_scale(most_usd, "USD a month");
  return panel;
}

}  // namespace

std::string plan_svg(const Planning& planning) {
  const ChainPlan& plan = planning.chosen();
  return draw_charts(
      fmt::format("{}, {} weights", planning.model.footprint.name, plan.weights),
      fmt::format("{} streams of {} positions; {} the catalogue of {}", planning.wish.streams, planning.wish.context,
                  planning.model.footprint.times.empty() ? "computed from" : "measured, else from",
                  planning.catalogue.date),
      {memory_panel(plan), cost_panel(planning)});
}

}  // namespace commissure
