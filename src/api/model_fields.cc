#include <algorithm>

#include "api/generation_fields.h"

namespace commissure {

namespace {

constexpr std::size_t kMostShown = 10;  // names in an error
constexpr double kMostScale = 100;

}  // namespace

std::vector<std::string> model_names(const ServedModel& model, const ApiOptions& options) {
  std::vector<std::string> names = {model.name};
  names.insert(names.end(), options.model_aliases.begin(), options.model_aliases.end());
  return names;
}

std::optional<std::string> find_adapter(const std::string& name, const ServedModel& model, const ApiOptions& options) {
  const std::vector<std::string> names = model_names(model, options);
  if (name.empty() || std::ranges::count(names, name) > 0) return "";
  if (options.adapters == nullptr) return std::nullopt;
  if (options.adapters->knows(name)) return name;
  for (const std::string& base : names) {
    if (!name.starts_with(base + ":")) continue;
    std::string adapter = name.substr(base.size() + 1);
    if (options.adapters->knows(adapter)) return adapter;
  }
  return std::nullopt;
}

std::vector<AdapterSource> all_adapters(const ApiOptions& options) {
  return options.adapters == nullptr ? std::vector<AdapterSource>() : options.adapters->list();
}

ApiError unknown_model(const std::string& name, const ServedModel& model, const ApiOptions& options) {
  std::string there = fmt::format("'{}'", model.name);
  std::size_t n_shown = 0;
  for (const AdapterSource& adapter : all_adapters(options)) {
    if (n_shown++ < kMostShown) there += fmt::format(", '{}'", adapter.name);
  }
  if (n_shown > kMostShown) there += fmt::format(" and {} more adapters", n_shown - kMostShown);
  return {.status = 404,
          .message = fmt::format("The model '{}' does not exist here; this server has {}.", name, there),
          .type = "not_found_error",
          .param = "model",
          .code = "model_not_found"};
}

void check_model(Fields& fields, const ServedModel& model, const ApiOptions& options) {
  const auto name = fields.text("model");
  if (name && !find_adapter(*name, model, options)) fields.fail(unknown_model(*name, model, options));
}

void read_adapter(Fields& fields, const ServedModel& model, const ApiOptions& options, GenerationRequest& request) {
  request.adapter = find_adapter(fields.text("model").value_or(""), model, options).value_or("");
  const auto scale = fields.number("lora_scale", -kMostScale, kMostScale);
  if (!scale) return;
  if (request.adapter.empty()) fields.fail("lora_scale", "'lora_scale' needs a 'model' that names an adapter");
  request.adapter_scale = static_cast<float>(*scale);
}

}  // namespace commissure
