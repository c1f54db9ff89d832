#include "api/warming.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/json_fields.h"

namespace commissure {

namespace {

/// Loaded bytes of its own weights, 0 to 100.
int percent_of(const Json& stage, const std::string& state) {
  if (state == "ready") return 100;
  const double total = number_of(stage, "weight_bytes");
  if (total <= 0) return 0;
  return static_cast<int>(std::clamp(100 * number_of(stage, "loaded_bytes") / total, 0.0, 100.0));
}

}  // namespace

Json warming_progress(const Json& status) {
  Json stages = Json::array();
  if (const Json* all = find_member(status, "stages"); all != nullptr && all->is_array()) {
    for (const Json& stage : *all) {
      const std::string state = text_of(stage, "state");
      stages.push_back({{"stage", text_of(stage, "stage")}, {"state", state}, {"percent", percent_of(stage, state)}});
    }
  }
  return {{"stages", std::move(stages)}};
}

std::string warming_comment(const Json& progress) {
  std::string text;
  for (const Json& stage : progress["stages"]) {
    const std::string state = text_of(stage, "state");
    text += fmt::format("{} {} {}", text.empty() ? "" : ",", text_of(stage, "stage"),
                        state == "loading" ? fmt::format("{:.0f} %", number_of(stage, "percent")) : state);
  }
  return ": warming" + text + "\n\n";
}

std::string warming_event(const Json& progress) { return "event: warming\ndata: " + dump_json(progress) + "\n\n"; }

}  // namespace commissure
