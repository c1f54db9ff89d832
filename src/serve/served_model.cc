#include "serve/served_model.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

namespace commissure {

namespace {

Result<std::shared_ptr<const Tokenizer>> read_tokenizer(const Checkpoint& checkpoint) {
  if (checkpoint.format() == CheckpointFormat::kGguf) {
    return std::shared_ptr<const Tokenizer>(TRY(Tokenizer::from_metadata(checkpoint.metadata())));
  }
  const Json tokenizer = TRY(parse_json(TRY(checkpoint.read_side_file("tokenizer.json"))));
  Json config = nullptr;
  if (const auto text = checkpoint.read_side_file("tokenizer_config.json")) config = TRY(parse_json(*text));
  return std::shared_ptr<const Tokenizer>(TRY(Tokenizer::from_json(tokenizer, config)));
}

/// tokenizer_config.json's chat_template: a string, or a list of named ones of which "default" counts.
std::string template_of(const Json& config) {
  const Json* found = find_member(config, "chat_template");
  if (found == nullptr) return "";
  if (found->is_string()) return found->get<std::string>();
  if (!found->is_array()) return "";
  for (const Json& entry : *found) {
    const Json* name = find_member(entry, "name");
    const Json* source = find_member(entry, "template");
    if (name != nullptr && *name == "default" && source != nullptr && source->is_string())
      return source->get<std::string>();
  }
  return "";
}

std::string template_source(const Checkpoint& checkpoint) {
  if (checkpoint.format() == CheckpointFormat::kGguf) {
    const std::string* source = checkpoint.metadata().text("tokenizer.chat_template");
    return source == nullptr ? "" : *source;
  }
  if (auto source = checkpoint.read_side_file("chat_template.jinja")) return std::move(*source);
  const auto text = checkpoint.read_side_file("tokenizer_config.json");
  const auto config = text ? parse_json(*text) : Result<Json>(Json(nullptr));
  return config ? template_of(*config) : "";
}

/// eos_token_id: one id or a list of them.
std::vector<TokenId> read_end_tokens(const Json& config) {
  std::vector<TokenId> tokens;
  const auto add = [&](const Json& id) {
    if (id.is_number_unsigned() && id.get<std::uint64_t>() <= std::numeric_limits<std::int32_t>::max())
      tokens.emplace_back(id.get<std::int32_t>());
  };
  const Json* found = find_member(config, "eos_token_id");
  if (found == nullptr) return tokens;
  if (!found->is_array()) add(*found);
  if (found->is_array()) std::ranges::for_each(*found, add);
  return tokens;
}

/// generation_config.json, where there is one. `do_sample: false` means greedy.
std::optional<GenerationDefaults> read_defaults(const Checkpoint& checkpoint) {
  if (checkpoint.format() == CheckpointFormat::kGguf) return std::nullopt;
  const auto text = checkpoint.read_side_file("generation_config.json");
  const auto config = text ? parse_json(*text) : Result<Json>(Json(nullptr));
  if (!config || !config->is_object()) return std::nullopt;
  GenerationDefaults defaults;
  const auto number = [&](const char* key) -> std::optional<float> {
    const Json* value = find_member(*config, key);
    return value != nullptr && value->is_number() ? std::optional(value->get<float>()) : std::nullopt;
  };
  defaults.temperature = number("temperature");
  defaults.top_p = number("top_p");
  defaults.min_p = number("min_p");
  defaults.repetition_penalty = number("repetition_penalty");
  if (const auto top_k = number("top_k")) defaults.top_k = static_cast<int>(*top_k);
  if (const Json* sample = find_member(*config, "do_sample"); sample != nullptr && *sample == false)
    defaults.temperature = 0.0f;
  defaults.end_tokens = read_end_tokens(*config);
  return defaults;
}

}  // namespace

Result<ServedModel> read_served_model(const Checkpoint& checkpoint, const LocalModel& local, int context_length) {
  ServedModel model;
  model.name = local.name;
  model.created =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  model.context_length = context_length;
  model.defaults = read_defaults(checkpoint).value_or(local.defaults);
  model.tokenizer = TRY(read_tokenizer(checkpoint));
  if (const std::string source = template_source(checkpoint); !source.empty()) {
    auto compiled = ChatTemplate::compile(source);
    if (!compiled) return compiled.error().within("the model's chat template");
    model.chat_template = std::move(*compiled);
  }
  return model;
}

}  // namespace commissure
