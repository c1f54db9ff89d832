#include <fmt/format.h>

#include <cstdio>
#include <map>
#include <memory>

#include "commands/command.h"
#include "commands/quant_choice.h"
#include "core/json.h"
#include "hub/model_store.h"
#include "hub/open_model.h"
#include "plan/split_plan.h"
#include "terminal/progress.h"
#include "vision/find_vision.h"

namespace commissure {

namespace {

struct InspectOptions {
  std::string model;
  std::string mmproj;
  std::string cuts;
  int n_stages = 1;
  bool tensors = false;
  bool as_json = false;
  int max_model_len = 0;
  std::int64_t kv_tokens = 0;
  std::uint64_t kv_memory = 0;
  std::string kv_dtype = "auto";
  std::string quant;
};

std::string shape_text(const TensorInfo& tensor) {
  std::string text;
  for (const std::int64_t size : tensor.shape) text += (text.empty() ? "" : " x ") + std::to_string(size);
  return text;
}

struct Inspection {
  LocalModel model;
  std::unique_ptr<Checkpoint> checkpoint;
  DecoderSpec spec;
  ContextPlan context;
  std::vector<StageEstimate> stages;  ///< the image encoder's weights are among those of the first
  std::optional<FoundVision> vision;
};

Result<Inspection> inspect(const InspectOptions& options) {
  Inspection result;
  result.model = TRY(resolve_model(options.model, false));
  result.checkpoint = TRY(open_model(result.model.location));
  result.spec = TRY(read_decoder_spec(*result.checkpoint));
  result.spec.kv_type = TRY(parse_kv_type(options.kv_dtype));
  const std::vector<int> cuts = options.cuts.empty()
                                    ? TRY(choose_cuts(*result.checkpoint, result.spec, options.n_stages))
                                    : TRY(parse_cuts(options.cuts));
  TRY(quantise_stages(*result.checkpoint, result.spec, cuts, options.quant));
  result.context = TRY(plan_context(result.spec, cuts, {options.max_model_len, options.kv_tokens, options.kv_memory}));
  result.stages = TRY(estimate_stages(*result.checkpoint, result.spec, cuts, result.context.kv, 512));
  result.vision = TRY(find_vision(*result.checkpoint, options.mmproj, result.spec.d_model, ReadMode::kRead));
  if (result.vision) result.stages.front().weight_bytes += result.vision->weight_bytes;
  return result;
}

std::map<std::string, std::pair<int, std::uint64_t>> by_dtype(const Checkpoint& checkpoint) {
  std::map<std::string, std::pair<int, std::uint64_t>> types;
  for (const TensorInfo& tensor : checkpoint.tensors()) {
    auto& [count, bytes] = types[std::string(dtype_name(tensor.dtype))];
    ++count;
    bytes += tensor.n_bytes;
  }
  return types;
}

Json to_json(const Inspection& model, bool with_tensors) {
  Json types = Json::object(), stages = Json::array(), layers = Json::array();
  for (const auto& [name, entry] : by_dtype(*model.checkpoint))
    types[name] = {{"tensors", entry.first}, {"bytes", entry.second}};
  for (const StageEstimate& stage : model.stages) {
    stages.push_back({{"stage", stage.plan.name()},
                      {"layers", {stage.plan.layers.first, stage.plan.layers.last}},
                      {"weight_bytes", stage.weight_bytes},
                      {"kv_bytes", stage.kv_bytes},
                      {"state_bytes", stage.state_bytes},
                      {"row_log_bytes", stage.row_log_bytes},
                      {"scratch_bytes", stage.scratch_bytes}});
  }
  for (int layer = 0; layer < model.spec.n_layers(); ++layer)
    layers.push_back(layer_bytes(*model.checkpoint, model.spec, layer));
  Json json = {{"location", model.model.location},
               {"architecture", model.spec.architecture},
               {"n_layers", model.spec.n_layers()},
               {"d_model", model.spec.d_model},
               {"n_vocab", model.spec.n_vocab},
               {"context", model.spec.n_context},
               {"fingerprint", model.checkpoint->quantised_fingerprint()},
               {"header_bytes", model.checkpoint->header_bytes()},
               {"types", types},
               {"layer_bytes", layers},
               {"stages", stages},
               {"kv_dtype", kv_type_name(model.spec.kv_type)},
               {"kv_tokens", model.context.kv_tokens()},
               {"kv_blocks", model.context.kv.n_blocks},
               {"states", model.context.kv.n_states},
               {"kv_window_blocks", model.context.kv.n_window_blocks}};
  if (model.vision) {
    const VisionSpec& vision = model.vision->spec;
    json["image_encoder"] = {{"location", model.vision->checkpoint(*model.checkpoint).location()},
                             {"n_layers", vision.n_layers},
                             {"d_model", vision.d_model},
                             {"image_size", vision.image_size},
                             {"n_rows", vision.most_rows()},
                             {"weight_bytes", model.vision->weight_bytes}};
  }
  if (with_tensors) {
    json["tensors"] = Json::array();
    for (const TensorInfo& tensor : model.checkpoint->tensors()) {
      json["tensors"].push_back({{"name", tensor.name},
                                 {"dtype", dtype_name(tensor.dtype)},
                                 {"shape", tensor.shape},
                                 {"bytes", tensor.n_bytes}});
    }
  }
  return json;
}

/// " 3 x 265.0 MB 1 x 270.1 MB": layers one after the other that have the same size are counted.
std::string layers_line(const Inspection& model) {
  std::string line;
  for (int first = 0, next = 0; first < model.spec.n_layers(); first = next) {
    const std::string size = human_bytes(layer_bytes(*model.checkpoint, model.spec, first));
    while (next < model.spec.n_layers() && human_bytes(layer_bytes(*model.checkpoint, model.spec, next)) == size)
      ++next;
    line += fmt::format(" {} x {}", next - first, size);
  }
  return line;
}

void print(const Inspection& model, bool with_tensors) {
  const DecoderSpec& spec = model.spec;
  const auto attends = std::ranges::find_if_not(spec.layers, &LayerSpec::is_recurrent);
  const HeadLayout heads = attends == spec.layers.end() ? HeadLayout() : attends->heads;
  std::uint64_t total = 0;
  for (const TensorInfo& tensor : model.checkpoint->tensors()) total += tensor.n_bytes;
  fmt::print("{}\n  family {}, {} layers, d_model {}, {} heads / {} kv heads of {}, vocabulary {}, context {}\n",
             model.model.location, spec.architecture, spec.n_layers(), spec.d_model, heads.n_heads, heads.n_kv_heads,
             heads.head_dim, spec.n_vocab, spec.n_context);
  fmt::print("  {} tensors, {}:", model.checkpoint->tensors().size(), human_bytes(total));
  for (const auto& [name, entry] : by_dtype(*model.checkpoint))
    fmt::print(" {} x {} ({})", name, entry.first, human_bytes(entry.second));
  if (model.vision) {
    const VisionSpec& vision = model.vision->spec;
    const std::string sides = vision.image_size > 0 ? fmt::format("{} pixels a side, ", vision.image_size) : "up to ";
    fmt::print("\n  image encoder: {} layers, d_model {}, {}{} rows an image, {} on the first stage", vision.n_layers,
               vision.d_model, sides, vision.most_rows(), human_bytes(model.vision->weight_bytes));
  }
  fmt::print("\n  bytes per layer:{}\n\n{:<6} {:<9} {:>10} {:>12} {:>10} {:>12} {:>10}\n", layers_line(model), "STAGE",
             "LAYERS", "WEIGHTS", "KV", "ROW LOG", "ACTIVATIONS", "TOTAL");
  for (const StageEstimate& stage : model.stages) {
    fmt::print("{:<6} {:<9} {:>10} {:>12} {:>10} {:>12} {:>10}\n", stage.plan.name(),
               fmt::format("{}-{}", stage.plan.layers.first, stage.plan.layers.last - 1),
               human_bytes(stage.weight_bytes), human_bytes(stage.kv_bytes + stage.state_bytes),
               human_bytes(stage.row_log_bytes), human_bytes(stage.scratch_bytes), human_bytes(stage.total_bytes()));
  }
  const KvShape& kv = model.context.kv;
  fmt::print("KV ({}) for {} positions in all", kv_type_name(model.spec.kv_type), model.context.kv_tokens());
  if (kv.window > 0) {
    fmt::print(", {} in the layers that see the last {}", std::int64_t{kv.n_window_blocks} * kBlockPositions,
               kv.window);
  }
  if (kv.n_states > 0) {
    fmt::print(", and the recurrent states of {} sequences, {} each", kv.n_states,
               human_bytes(state_bytes(model.spec, {0, model.spec.n_layers()})));
  }
  fmt::print("; pages become resident as they are used.\n");
  if (!with_tensors) return;
  fmt::print("\n{:<42} {:<6} {:>18} {:>11}\n", "TENSOR", "TYPE", "SHAPE", "BYTES");
  for (const TensorInfo& tensor : model.checkpoint->tensors()) {
    fmt::print("{:<42} {:<6} {:>18} {:>11}\n", tensor.name, dtype_name(tensor.dtype), shape_text(tensor),
               tensor.n_bytes);
  }
}

}  // namespace

CommandRun add_inspect(CLI::App& app) {
  auto options = std::make_shared<InspectOptions>();
  app.add_option("model", options->model, "known name, file, folder or URL")->required();
  app.add_option("--mmproj", options->mmproj,
                 "image encoder of a GGUF model: an mmproj file; default: one that lies beside the model, if any");
  app.add_option("--stages", options->n_stages, "estimate for so many stages of equal bytes")
      ->check(CLI::Range(1, kMaxStages));
  app.add_option("--cuts", options->cuts, "estimate for these layer boundaries");
  app.add_flag("--tensors", options->tensors, "list every tensor");
  app.add_option("--max-model-len", options->max_model_len, "longest sequence");
  const auto kv_tokens = app.add_option("--kv-tokens", options->kv_tokens, "positions all sequences may hold together");
  app.add_option("--kv-memory", options->kv_memory, "instead: bytes of KV cache a stage may have, e.g. 2GiB")
      ->transform(CLI::AsSizeValue(true))
      ->excludes(kv_tokens);
  app.add_option("--kv-dtype,--kv-cache-dtype", options->kv_dtype, "keys and values as bf16 (auto) or int8")
      ->check(CLI::IsMember({"auto", "bf16", "int8"}));
  app.add_option("--quant", options->quant,
                 "count the weights as a stage holds them that quantises at load: int8 or nf4, with +head the head "
                 "too; one for all stages or one for each")
      ->check(quant_names_check());
  app.add_flag("--json", options->as_json, "print JSON");
  return [options]() -> Result<int> {
    const auto inspected = inspect(*options);
    if (!inspected) return refuse(inspected.error(), options->quant, "inspect");
    const Inspection& inspection = *inspected;
    if (options->as_json) {
      fmt::print("{}\n", pretty_json(to_json(inspection, options->tensors)));
    } else {
      print(inspection, options->tensors);
    }
    return 0;
  };
}

}  // namespace commissure
