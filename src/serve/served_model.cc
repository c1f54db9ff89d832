#include "serve/served_model.h"

#include <chrono>

#include "core/log.h"
#include "serve/generation_defaults.h"

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

/// Their advice, in the log where it cannot be followed; `known` where the files advise nothing.
GenerationDefaults read_defaults(const Checkpoint& checkpoint, const GenerationDefaults& known) {
  AdvisedDefaults advised;
  if (checkpoint.format() == CheckpointFormat::kGguf) {
    advised = defaults_of_gguf(checkpoint.metadata());
  } else {
    const auto text = checkpoint.read_side_file("generation_config.json");
    const auto parsed = text ? parse_json(*text) : Result<Json>(Json(nullptr));
    advised = defaults_of_config(parsed ? *parsed : Json(nullptr), checkpoint.config());
  }
  for (const std::string& warning : advised.warnings) log_warning(warning);
  if (advised.any) return advised.values;
  GenerationDefaults defaults = known;
  defaults.end_tokens.insert(defaults.end_tokens.end(), advised.values.end_tokens.begin(),
                             advised.values.end_tokens.end());
  return defaults;
}

}  // namespace

Result<ServedModel> read_served_model(const Checkpoint& checkpoint, const LocalModel& local, int context_length) {
  ServedModel model;
  model.name = local.name;
  model.created =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  model.context_length = context_length;
  model.defaults = read_defaults(checkpoint, local.defaults);
  model.tokenizer = TRY(read_tokenizer(checkpoint));
  if (const std::string source = template_source(checkpoint); !source.empty()) {
    auto compiled = ChatTemplate::compile(source);
    if (!compiled) return compiled.error().within("the model's chat template");
    model.chat_template = std::move(*compiled);
  }
  return model;
}

}  // namespace commissure
