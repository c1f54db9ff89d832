#include "serve/served_model.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <utility>

#include "core/log.h"
#include "hub/catalogue.h"
#include "model/decoder_spec.h"
#include "serve/generation_defaults.h"
#include "weights/read_file.h"

namespace commissure {

namespace {

constexpr std::uint64_t kMostTemplateBytes = 1 << 20;

Result<std::shared_ptr<const Tokenizer>> read_tokenizer(const Checkpoint& checkpoint) {
  if (checkpoint.format() == CheckpointFormat::kGguf) {
    return std::shared_ptr<const Tokenizer>(TRY(Tokenizer::from_metadata(checkpoint.metadata())));
  }
  const Json tokenizer = TRY(parse_json(TRY(checkpoint.read_side_file("tokenizer.json"))));
  Json config = nullptr;
  if (const auto text = checkpoint.read_side_file("tokenizer_config.json")) config = TRY(parse_json(*text));
  // Older models name their special tokens here alone.
  const auto map_text = checkpoint.read_side_file("special_tokens_map.json");
  if (const auto map = map_text ? parse_json(*map_text) : Result<Json>(Json(nullptr)); map && map->is_object()) {
    if (!config.is_object()) config = Json::object();
    for (const char* name : {"bos_token", "eos_token"}) {
      const Json* value = find_member(*map, name);
      if (value != nullptr && !config.contains(name)) config[name] = *value;
    }
  }
  return std::shared_ptr<const Tokenizer>(TRY(Tokenizer::from_json(tokenizer, config)));
}

/// tokenizer_config.json's chat_template: a string, which is "default", or a list of named ones.
std::string template_of(const Json& config, std::string_view wanted) {
  const Json* found = find_member(config, "chat_template");
  if (found == nullptr) return "";
  if (found->is_string()) return wanted == "default" ? found->get<std::string>() : "";
  if (!found->is_array()) return "";
  for (const Json& entry : *found) {
    const Json* name = find_member(entry, "name");
    const Json* source = find_member(entry, "template");
    if (name != nullptr && *name == wanted && source != nullptr && source->is_string())
      return source->get<std::string>();
  }
  return "";
}

/// The model's template of a name; empty when there is none.
std::string template_source(const Checkpoint& checkpoint, const std::string& name) {
  const bool is_default = name == "default";
  if (checkpoint.format() == CheckpointFormat::kGguf) {
    const std::string* source =
        checkpoint.metadata().text(is_default ? "tokenizer.chat_template" : "tokenizer.chat_template." + name);
    return source == nullptr ? "" : *source;
  }
  const bool is_plain = name.find('/') == std::string::npos;
  if (is_plain) {
    const std::string file = is_default ? "chat_template.jinja" : "additional_chat_templates/" + name + ".jinja";
    if (auto source = checkpoint.read_side_file(file)) return std::move(*source);
  }
  const auto text = checkpoint.read_side_file("tokenizer_config.json");
  const auto config = text ? parse_json(*text) : Result<Json>(Json(nullptr));
  return config ? template_of(*config, name) : "";
}

/// Compiles the template that was asked for, or the model's own, whose faults stop only the chat.
Status read_template(const Checkpoint& checkpoint, const ChatChoices& chat, ServedModel& model) {
  const std::string& wanted = chat.chat_template;
  std::string source = template_source(checkpoint, wanted.empty() ? "default" : wanted);
  if (!wanted.empty() && source.empty()) {
    auto read = read_whole(wanted, kMostTemplateBytes);
    if (!read) {
      return Error(Code::kNotFound, "--chat-template ", wanted,
                   ": the model has no template of that name, and no file can be read: ", read.error().message());
    }
    source = std::move(*read);
  }
  model.answer_syntax = answer_syntax(source, chat.tool_parser, chat.reasoning_parser);
  if (source.empty()) return {};
  auto compiled = ChatTemplate::compile(source);
  if (compiled) {
    model.chat_template = std::move(*compiled);
    return {};
  }
  if (!wanted.empty()) return compiled.error().within("--chat-template " + wanted);
  model.chat_template_problem = compiled.error().message();
  log_warning(fmt::format("{}; chat requests are refused, completions are served (--chat-template names another)",
                          model.chat_template_problem));
  return {};
}

/// Texts of the tokens that templates know by their roles, as transformers hands them over.
Json read_special_tokens(const Checkpoint& checkpoint, const Tokenizer& tokenizer) {
  Json tokens = Json::object();
  if (checkpoint.format() == CheckpointFormat::kGguf) {
    for (const auto& [key, name] : {std::pair("unknown", "unk_token"), std::pair("padding", "pad_token")}) {
      const auto id = checkpoint.metadata().integer(fmt::format("tokenizer.ggml.{}_token_id", key));
      if (id && *id >= 0 && *id < tokenizer.n_tokens()) {
        tokens[name] = std::string(tokenizer.token_text(TokenId(static_cast<std::int32_t>(*id))));
      }
    }
    return tokens;
  }
  // The newer file comes last and counts.
  for (const char* file : {"special_tokens_map.json", "tokenizer_config.json"}) {
    const auto text = checkpoint.read_side_file(file);
    const auto config = text ? parse_json(*text) : Result<Json>(Json(nullptr));
    if (!config) continue;
    for (const char* name :
         {"bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token"}) {
      const Json* value = find_member(*config, name);
      const Json* content = value == nullptr || value->is_string() ? value : find_member(*value, "content");
      if (content != nullptr && content->is_string()) tokens[name] = *content;
    }
  }
  return tokens;
}

/// Whether what the catalogue says of a file of this name is said of this very one: its tensors end where the known
/// file ends. Behind a URL the name alone was known so far.
bool is_of_catalogue(const Checkpoint& checkpoint, const std::string& location) {
  const std::filesystem::path path(location.substr(0, location.find_first_of("?#")));
  const KnownModel* known = find_known_file(path.filename().string());
  if (known == nullptr) return true;
  std::uint64_t end = 0;
  for (const TensorInfo& tensor : checkpoint.tensors())
    end = std::max(end, tensor.offset + checkpoint.stored_bytes(tensor));
  return end == known->n_bytes;
}

/// Their advice, in the log where it cannot be followed; where the files advise nothing, what is known of this model.
GenerationDefaults read_defaults(const Checkpoint& checkpoint, const LocalModel& local) {
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
  GenerationDefaults defaults = is_of_catalogue(checkpoint, local.location) ? local.defaults : GenerationDefaults();
  defaults.end_tokens.insert(defaults.end_tokens.end(), advised.values.end_tokens.begin(),
                             advised.values.end_tokens.end());
  return defaults;
}

}  // namespace

Result<ServedModel> read_served_model(const Checkpoint& checkpoint, const LocalModel& local, int context_length,
                                      const ChatChoices& chat) {
  ServedModel model;
  model.name = local.name;
  model.created =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  model.context_length = context_length;
  model.defaults = read_defaults(checkpoint, local);
  model.tokenizer = TRY(read_tokenizer(checkpoint));
  model.special_tokens = read_special_tokens(checkpoint, *model.tokenizer);
  if (const auto spec = read_decoder_spec(checkpoint)) model.n_rows = spec->n_vocab;
  TRY(read_template(checkpoint, chat, model));
  std::vector<TokenId> ends = model.tokenizer->end_tokens();
  std::ranges::copy_if(model.defaults.end_tokens, std::back_inserter(ends),
                       [&](TokenId token) { return model.tokenizer->contains(token); });
  model.grammars = GrammarCompiler::create(model.tokenizer, model.n_rows, std::move(ends));
  return model;
}

}  // namespace commissure
