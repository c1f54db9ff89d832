#include "client/stage_table.h"

#include <fmt/format.h>

#include "terminal/progress.h"

namespace commissure {

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
