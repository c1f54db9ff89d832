#include "apps/stage_table.h"

#include <fmt/format.h>

#include "apps/progress.h"

namespace commissure {

Json to_json(const StageInfo& info) {
  return {{"stage", info.plan.name()},
          {"state", load_state_name(info.state)},
          {"problem", info.problem},
          {"model", info.model},
          {"fingerprint", info.fingerprint},
          {"layers", {info.plan.layers.first, info.plan.layers.last}},
          {"n_model_layers", info.plan.n_model_layers},
          {"device", info.device},
          {"isa", info.isa},
          {"precision", info.precision},
          {"kv_dtype", info.kv_dtype},
          {"kv_blocks", info.n_kv_blocks},
          {"weight_bytes", info.weight_bytes},
          {"loaded_bytes", info.loaded_bytes},
          {"source_bytes_read", info.source_bytes_read},
          {"resident_bytes", info.resident_bytes},
          {"private_bytes", info.private_bytes},
          {"load_ms", info.load_ms},
          {"pid", info.pid}};
}

std::string stage_line(const Json& info) {
  const auto number = [&](const char* key) {
    const Json* value = find_member(info, key);
    return value != nullptr && value->is_number() ? value->get<double>() : 0.0;
  };
  const auto text = [&](const char* key) {
    const Json* value = find_member(info, key);
    return value != nullptr && value->is_string() ? value->get<std::string>() : std::string();
  };
  std::string layers = "?";
  if (const Json* range = find_member(info, "layers"); range != nullptr && range->is_array() && range->size() == 2) {
    layers = fmt::format("{}-{}", (*range)[0].get<int>(), (*range)[1].get<int>() - 1);
  }
  const std::string state = text("state");
  std::string line = fmt::format("stage {}  layers {:<7} {:>9}  ", text("stage"), layers,
                                 human_bytes(static_cast<std::uint64_t>(number("weight_bytes"))));
  if (state == "ready") {
    line += fmt::format("ready in {}  {} ({})  KV {}  memory {} ({} private)", human_seconds(number("load_ms") / 1000),
                        text("device"), text("isa"), text("kv_dtype"),
                        human_bytes(static_cast<std::uint64_t>(number("resident_bytes"))),
                        human_bytes(static_cast<std::uint64_t>(number("private_bytes"))));
  } else {
    line += state;
    const double total = number("weight_bytes");
    if (state == "loading" && total > 0) line += fmt::format(" {:.0f}%", 100 * number("loaded_bytes") / total);
  }
  if (!text("problem").empty()) line += "  " + text("problem");
  return line;
}

}  // namespace commissure
