#include "plan/plan_making.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "core/index.h"
#include "core/units.h"
#include "deployment/cloud_limits.h"
#include "model/quantise_at_load.h"
#include "plan/file_cuts.h"
#include "plan/split_plan.h"
#include "weights/quantisation.h"

namespace commissure {

namespace {

constexpr int kDefaultStreams = 4;  // full contexts that a stage holds then

Result<Catalogue> read_catalogue(const std::string& path) {
  if (path.empty()) return parse_catalogue(built_in_catalogue());
  std::ifstream file(path);
  if (!file) return Error(Code::kNotFound, "cannot read ", path);
  auto catalogue = parse_catalogue(std::string{std::istreambuf_iterator<char>(file), {}});
  if (!catalogue) return catalogue.error().within(path);
  return catalogue;
}

Status read_layer_times(const std::vector<std::string>& paths, KvType kv_type, ModelFootprint& model) {
  for (const std::string& path : paths) {
    std::ifstream file(path);
    if (!file) return Error(Code::kNotFound, "cannot read ", path);
    auto times = parse_layer_times(std::string{std::istreambuf_iterator<char>(file), {}});
    if (!times) return times.error().within(path);
    if (times->machine.empty()) {
      return Error(Code::kInvalidArgument, path,
                   ": for which machine? Measure again with --machine NAME, or write it behind \"machine\"");
    }
    const Status added = add_times(model, std::move(*times), kv_type_name(kv_type));
    if (!added) return added.error().within(path);
  }
  return {};
}

Result<std::vector<const Machine*>> choose_machines(const Catalogue& catalogue, const PlanOptions& options,
                                                    const std::string& region) {
  std::vector<const Machine*> chosen;
  std::string names;
  for (const Machine& machine : catalogue.machines) {
    names += (names.empty() ? "" : ", ") + machine.name;
    const bool is_wanted =
        options.machines.empty() || std::ranges::find(options.machines, machine.name) != options.machines.end();
    const bool computes_there = options.device == "auto" || (options.device == "cuda") == !machine.gpu.empty();
    if (is_wanted && computes_there && machine.is_in(region)) chosen.push_back(&machine);
  }
  for (const std::string& name : options.machines) {
    const auto known = std::ranges::find(catalogue.machines, name, &Machine::name);
    if (known == catalogue.machines.end()) {
      return Error(Code::kInvalidArgument, "the catalogue has no machine ", name, "; there are: ", names);
    }
    if (!known->is_in(region)) {
      return Error(Code::kInvalidArgument, name, " is not offered in ", region);
    }
  }
  if (chosen.empty()) {
    return Error(Code::kInvalidArgument, "no machine is left for --device ", options.device,
                 "; the catalogue has: ", names);
  }
  return chosen;
}

/// The weights as they are and, when they are wider, as GGUF files of fewer bits would be.
std::vector<ModelFootprint> weight_choices(const ModelFootprint& model) {
  std::vector<ModelFootprint> choices = {model};
  double parameters = model.head_parameters, bytes = model.head_bytes;
  for (const LayerFootprint& layer : model.layers) {
    parameters += layer.parameters;
    bytes += layer.weight_bytes;
  }
  const double bits = 8 * bytes / parameters;
  if (bits > 9) choices.push_back(requantised(model, "Q8_0", 8.5));
  if (bits > 6) choices.push_back(requantised(model, "Q4_K_M", 4.9));
  return choices;
}

/// What the file's chain lacks: memory by stage, and the wishes it does not meet.
std::vector<std::string> problems_of(const ChainPlan& plan, const PlanWish& wish) {
  std::vector<std::string> problems;
  for (std::size_t i = 0; i < plan.stages.size(); ++i) {
    const PlannedStage& stage = plan.stages[i];
    if (stage.fits(wish.margin)) continue;
    const char letter = static_cast<char>('a' + i);
    const double room = stage.machine->usable_bytes * (1 - wish.margin);
    if (stage.needed_bytes() <= room) {
      problems.push_back(
          fmt::format("stage {} keeps {:.1f} GB of rows, embeddings and image encoder in the host's memory, which has "
                      "{:.1f}: fewer streams or "
                      "a shorter context, or take more memory",
                      letter, stage.host_bytes() / kGiga, stage.host_room(wish.margin) / kGiga));
      continue;
    }
    problems.push_back(
        fmt::format("stage {} needs {:.1f} GB and has {:.1f}: give it fewer layers, fewer streams or a "
                    "shorter context, or take more memory",
                    letter, stage.needed_bytes() / kGiga, room / kGiga));
  }
  if (plan.tokens_per_second < wish.tokens_per_second) {
    problems.push_back(fmt::format("it gives each stream {:.3g} tokens a second, not {:.3g}", plan.tokens_per_second,
                                   wish.tokens_per_second));
  }
  if (wish.first_token_seconds > 0 && plan.first_token_seconds > wish.first_token_seconds) {
    problems.push_back(fmt::format("the first token of a prompt of {} takes {:.3g} s, not {:.3g}", wish.prompt,
                                   plan.first_token_seconds, wish.first_token_seconds));
  }
  return problems;
}

/// Bits of a quantised weight with its share of a scale. NF4 as the kernels of a CPU hold it; files need 4.25.
double bits_of(Quantisation type) { return type == Quantisation::kInt8 ? 8.5 : 4.5; }

/// The model as a stage holds it that quantises its layers. Errors: as check_quantisable.
Result<ModelFootprint> quantised_part(const ModelFootprint& model, LayerRange layers, const std::string& name) {
  const QuantWish wish = TRY(parse_quant(name));
  if (!wish) return model;
  if (model.no_quant) return *model.no_quant;
  return with_quantised(model, layers, bits_of(wish.type), wish.head);
}

Result<FilePlan> plan_file(const CloudFile& file, const ModelFootprint& model, const Catalogue& catalogue,
                           const PlanWish& wish) {
  const CloudSpec& spec = file.spec;
  TRY(check_cuts(spec));
  TRY(check_limits(spec, catalogue));
  FilePlan planned;
  planned.title = fmt::format("{} in {}, {} stage{}", spec.name, spec.region, spec.stages.size(),
                              spec.stages.size() == 1 ? "" : "s");
  for (const CloudStage& stage : spec.stages) {
    planned.machines.push_back(
        TRY(shaped_machine(catalogue, stage.gpu, TRY(parse_cpus(stage.cpu)), TRY(parse_memory_gib(stage.memory)))));
  }
  const std::vector<StagePlan> places = TRY(plan_stages(count_of(model.layers), spec.cuts));
  if (model.tied) {
    std::vector<QuantWish> quants;
    for (const CloudStage& stage : spec.stages) quants.push_back(TRY(parse_quant(stage.quant)));
    if (const Status fit = check_tied_quants(quants); !fit) return fit.error().within("quant");
  }
  std::vector<PlannedStage> stages;
  for (std::size_t i = 0; i < places.size(); ++i) {
    const ModelFootprint held = TRY(quantised_part(model, places[i].layers, spec.stages[i].quant));
    stages.push_back(plan_stage(held, places[i].layers, planned.machines[i], wish, count_of(places)));
  }
  planned.plan = total_chain(model, std::move(stages), catalogue, wish);
  planned.problems = problems_of(planned.plan, wish);
  return planned;
}

/// The weights that the file's chain is planned with. Errors: kInvalidArgument, a name that there is not.
Result<ModelFootprint> chosen_weights(const ModelFootprint& model, const std::string& name) {
  if (name.empty()) return model;
  std::string names;
  for (const ModelFootprint& choice : weight_choices(model)) {
    if (choice.weights == name) return choice;
    names += (names.empty() ? "" : ", ") + choice.weights;
  }
  return Error(Code::kInvalidArgument, "--weights is ", name, "; there are: ", names);
}

/// Every kind of machine alone, and mixed where that is cheaper, with every kind of weights.
void find_alternatives(const std::vector<const Machine*>& machines, Planning& planning) {
  for (const ModelFootprint& weights : weight_choices(planning.model.footprint)) {
    const auto add = [&](const std::string& name, const std::vector<const Machine*>& of) {
      auto plan = plan_chain(weights, of, planning.catalogue, planning.wish);
      if (plan) {
        planning.found.push_back({name, std::move(*plan)});
      } else {
        planning.refused.push_back(fmt::format("{} on {}: {}", weights.weights, name, plan.error().message()));
      }
    };
    for (const Machine* machine : machines) add(machine->name, {machine});
    if (machines.size() < 2) continue;
    auto mixed = plan_chain(weights, machines, planning.catalogue, planning.wish);
    if (!mixed) continue;
    const auto is_other = [&](const PlannedStage& stage) { return stage.machine != mixed->stages.front().machine; };
    if (std::ranges::any_of(mixed->stages, is_other)) planning.found.push_back({"mixed", std::move(*mixed)});
  }
  std::ranges::stable_sort(planning.found, {}, [](const Alternative& a) { return a.plan.usd_per_hour; });
}

}  // namespace

Result<Planning> make_plans(const PlanOptions& options) {
  Planning planning;
  std::optional<CloudFile> file = options.file;
  planning.kv_type = TRY(parse_kv_type(!options.kv_dtype.empty() ? options.kv_dtype : file ? file->kv_dtype : "auto"));
  planning.model = TRY(
      measure_model(options.model.empty() ? file->model : options.model, file ? file->revision : "", planning.kv_type));
  TRY(read_layer_times(options.layer_times, planning.kv_type, planning.model.footprint));
  if (!options.quant.empty()) {
    ModelFootprint& footprint = planning.model.footprint;
    footprint = TRY(quantised_part(footprint, {0, count_of(footprint.layers)}, options.quant));
    if (options.quant != "none") footprint.weights = options.quant;
    if (file)
      for (CloudStage& stage : file->spec.stages) stage.quant = "none";  // it is counted already
  }
  planning.catalogue = TRY(read_catalogue(options.catalogue));
  if (file && file->spec.weights.baked)
    planning.catalogue.source_bytes_per_second = planning.catalogue.image_bytes_per_second;
  PlanWish& wish = planning.wish = options.wish;
  if (wish.context == 0 && file) wish.context = file->context;
  if (wish.context == 0) wish.context = std::min(kDefaultContext, planning.model.context);
  if (wish.streams == 0) wish.streams = file ? (file->streams > 0 ? file->streams : kDefaultStreams) : 1;
  wish.sequences = file ? file->sequences() : std::max(wish.streams, CloudStage().concurrency);
  std::string region = options.region;
  if (region.empty()) region = file ? file->spec.region : "europe-west4";
  if (file) {
    if (!options.region.empty()) file->spec.region = region;
    TRY(choose_cuts_of(file->spec, options.model.empty() ? file->model : options.model, file->revision,
                       planning.model.header.get()));
    const ModelFootprint weights = TRY(chosen_weights(planning.model.footprint, options.weights));
    auto planned = plan_file(*file, weights, planning.catalogue, wish);
    if (!planned) return planned.error().within(file->path);
    planning.budget = file->budget;
    if (file->budget > 0 && planned->plan.usd_per_hour > file->budget) {
      planned->problems.push_back(
          fmt::format("it costs {:.2f} USD an hour while all stages are up, the budget is {:.2f}",
                      planned->plan.usd_per_hour, file->budget));
    }
    planned->title = file->path + ": " + planned->title;
    planning.file = std::move(*planned);
  }
  find_alternatives(TRY(choose_machines(planning.catalogue, options, region)), planning);
  if (planning.found.empty() && !planning.file) {
    return Error(Code::kNotFound, planning.refused.empty() ? "no machine of the catalogue is offered in " + region
                                                           : planning.refused.front());
  }
  return planning;
}

const ChainPlan& Planning::chosen() const {
  if (file) return file->plan;
  const auto as_stored = std::ranges::find_if(
      found, [&](const Alternative& alternative) { return alternative.plan.weights == model.footprint.weights; });
  return as_stored == found.end() ? found.front().plan : as_stored->plan;
}

}  // namespace commissure
