#include "client/stage_table.h"

#include <fmt/format.h>

#include "core/json_fields.h"
#include "terminal/progress.h"

namespace commissure {

namespace {

std::string layers_of(const Json& info) {
  const Json* range = find_member(info, "layers");
  if (range == nullptr || !range->is_array() || range->size() != 2) return "?";
  return fmt::format("{}-{}", (*range)[0].get<int>(), (*range)[1].get<int>() - 1);
}

std::string bytes_of(const Json& info, const char* key) {
  const double value = number_of(info, key);
  return value > 0 ? human_bytes(static_cast<std::uint64_t>(value)) : "-";
}

std::string kernels_of(const Json& info) {
  const std::string device = text_of(info, "device");
  return device == "cpu" || device.empty() ? text_of(info, "isa") : device;
}

}  // namespace

std::string stage_state(const Json& info) {
  std::string state = text_of(info, "state");
  const double total = number_of(info, "weight_bytes");
  if (state == "loading" && total > 0) state += fmt::format(" {:.0f}%", 100 * number_of(info, "loaded_bytes") / total);
  return state;
}

std::string stage_line(const Json& info) {
  std::string line = fmt::format("stage {}  layers {:<7} {:>9}  ", text_of(info, "stage"), layers_of(info),
                                 bytes_of(info, "weight_bytes"));
  if (text_of(info, "state") == "ready") {
    line += fmt::format("ready in {}  {}, KV {}", human_seconds(number_of(info, "load_ms") / 1000), kernels_of(info),
                        text_of(info, "kv_dtype"));
  } else {
    line += stage_state(info);
  }
  if (const std::string problem = text_of(info, "problem"); !problem.empty()) line += "  " + problem;
  return line;
}

std::string stage_table(const Json& stages) {
  std::string text = fmt::format("{:<6} {:<8} {:<12} {:>9} {:>9} {:>9} {:>11}  {}\n", "STAGE", "LAYERS", "STATE",
                                 "WEIGHTS", "MEMORY", "PRIVATE", "LOADED IN", "KERNELS");
  for (const Json& stage : stages) {
    const bool ready = text_of(stage, "state") == "ready";
    text += fmt::format("{:<6} {:<8} {:<12} {:>9} {:>9} {:>9} {:>11}  {}\n", text_of(stage, "stage"), layers_of(stage),
                        stage_state(stage), bytes_of(stage, "weight_bytes"), bytes_of(stage, "resident_bytes"),
                        bytes_of(stage, "private_bytes"),
                        ready ? human_seconds(number_of(stage, "load_ms") / 1000) : "-", kernels_of(stage));
    if (const std::string problem = text_of(stage, "problem"); !problem.empty()) text += "  " + problem + "\n";
  }
  return text;
}

}  // namespace commissure
