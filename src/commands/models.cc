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
      list.push_back({{"name", model.name},
                      {"path", model.path.string()},
                      {"bytes", model.n_bytes},
                      {"pack_bytes", model.pack_bytes},
                      {"cached", true}});
    }
    for (const KnownModel& model : known_models()) {
      bool have = false;
      for (const CachedModel& other : cached) have |= other.name == model.name;
      if (!have) list.push_back({{"name", model.name}, {"path", nullptr}, {"bytes", model.n_bytes}, {"cached", false}});
    }
    fmt::print("{}\n", pretty_json(list));
    return 0;
  }
  const std::string folder = models_dir().string();
  fmt::print("{:<34} {:>9} {:>9}  {}\n", "NAME", "WEIGHTS", "PACK", "WHERE");
  for (const CachedModel& model : cached) {
    fmt::print("{:<34} {:>9} {:>9}  {}\n", model.name, human_bytes(model.n_bytes),
               model.pack_bytes > 0 ? human_bytes(model.pack_bytes) : "-", "cache");
  }
  for (const KnownModel& model : known_models()) {
    bool have = false;
    for (const CachedModel& other : cached) have |= other.name == model.name;
    if (!have) fmt::print("{:<34} {:>9} {:>9}  {}\n", model.name, human_bytes(model.n_bytes), "-", "commissure pull");
  }
  fmt::print("The cache is {}\n", folder);
  return 0;
}

}  // namespace

namespace {

/// What the parser fills: shared, since it keeps the addresses and the run keeps the values.
struct ModelsOptions {
  bool as_json = false;
  CLI::App* removes = nullptr;
  std::string name;
  bool pack_only = false;
};

Result<int> run_models(const ModelsOptions& options) {
  if (!options.removes->parsed()) return list_models(options.as_json);
  const std::uint64_t freed = TRY(remove_model(options.name, options.pack_only));
  fmt::print("Removed {}{}: {} are free now.\n", options.pack_only ? "the packed weights of " : "", options.name,
             human_bytes(freed));
  return 0;
}

}  // namespace

CommandRun add_models(CLI::App& app) {
  auto options = std::make_shared<ModelsOptions>();
  app.add_flag("--json", options->as_json, "print JSON");
  options->removes = app.add_subcommand("rm", "Remove a model from the cache");
  options->removes->add_option("name", options->name, "as `commissure models` shows it")->required();
  options->removes->add_flag("--pack", options->pack_only, "only its packed weights, which `up` makes again");
  return [options] { return run_models(*options); };
}

}  // namespace commissure
