#include <fmt/format.h>

#include <cstdio>
#include <memory>

#include "commands/command.h"
#include "core/json.h"
#include "hub/catalogue.h"
#include "hub/model_store.h"
#include "terminal/progress.h"

namespace commissure {

namespace {

int list_models(bool as_json) {
  const auto cached = cached_models();
  if (as_json) {
    Json list = Json::array();
    for (const CachedModel& model : cached) {
      list.push_back({{"name", model.name}, {"path", model.path.string()}, {"bytes", model.n_bytes}, {"cached", true}});
    }
    for (const KnownModel& model : known_models()) {
      bool have = false;
      for (const CachedModel& other : cached) have |= other.name == model.name;
      if (!have) list.push_back({{"name", model.name}, {"path", nullptr}, {"bytes", model.n_bytes}, {"cached", false}});
    }
    fmt::print("{}\n", pretty_json(list));
    return 0;
  }
  fmt::print("{:<32} {:>10}  {}\n", "NAME", "SIZE", "WHERE");
  for (const CachedModel& model : cached) {
    fmt::print("{:<32} {:>10}  {}\n", model.name, human_bytes(model.n_bytes), model.path.string());
  }
  for (const KnownModel& model : known_models()) {
    bool have = false;
    for (const CachedModel& other : cached) have |= other.name == model.name;
    if (!have)
      fmt::print("{:<32} {:>10}  not here yet: commissure pull {}\n", model.name, human_bytes(model.n_bytes),
                 model.name);
  }
  return 0;
}

}  // namespace

CommandRun add_models(CLI::App& app) {
  auto as_json = std::make_shared<bool>(false);  // shared: the parser keeps the address, the run keeps the value
  app.add_flag("--json", *as_json, "print JSON");
  return [as_json]() -> Result<int> { return list_models(*as_json); };
}

}  // namespace commissure
