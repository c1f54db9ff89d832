#include <algorithm>
#include <chrono>

#include "api/api_call.h"
#include "api/chat_request.h"
#include "api/ollama_error.h"
#include "api/ollama_request.h"
#include "api/sampling_fields.h"
#include "core/sha256.h"

namespace commissure {

namespace {

/// The name with a tag, as Ollama shows all.
std::string tagged(const std::string& name) {
  const std::size_t slash = name.rfind('/');
  const bool has_tag = name.find(':', slash == std::string::npos ? 0 : slash) != std::string::npos;
  return has_tag ? name : name + ":latest";
}

/// What is known of the weights stands elsewhere (/health): clients want the members all the same.
Json no_details() {
  return {{"parent_model", ""},  {"format", ""},         {"family", ""},
          {"families", nullptr}, {"parameter_size", ""}, {"quantization_level", ""}};
}

std::string model_time(const ServedModel& model) {
  return ollama_time(std::chrono::system_clock::time_point(std::chrono::seconds(model.created)));
}

/// The digest tells names apart and says nothing of the weights.
Json listed_model(const std::string& name) {
  Sha256 digest;
  digest.update(name);
  return {{"name", tagged(name)},
          {"model", tagged(name)},
          {"size", 0},
          {"digest", digest.finish()},
          {"details", no_details()}};
}

Json capabilities(const ServedModel& model) {
  Json list = Json::array({"completion"});
  if (model.chat_template == nullptr) return list;
  if (!model.answer_syntax.calls.empty()) list.push_back("tools");
  if (!model.answer_syntax.think_open.empty()) list.push_back("thinking");
  if (model.image_encoder != nullptr) list.push_back("vision");
  return list;
}

/// As the PARAMETER lines of a Modelfile.
std::string parameters(const ServedModel& model) {
  std::string text = fmt::format("num_ctx {}", model.context_length);
  const Json defaults = default_sampling(model.defaults);
  for (const auto& [name, value] : defaults.items()) text += fmt::format("\n{} {}", name, dump_json(value));
  return text;
}

/// The model that a body names, under `model` or, in older clients, `name`. It need not name one.
void check_ollama_model(Fields& fields, const ServedModel& model, const ApiOptions& options) {
  const auto older = fields.text("name");
  const Json named = {{"model", without_latest(fields.text("model").value_or(older.value_or("")))}};
  Fields inner(named);
  check_model(inner, model, options);
  if (inner.error()) fields.fail(*inner.error());
}

}  // namespace

void ApiService::ollama_version(Call& call) const { call.answer({{"version", options_.version}}); }

void ApiService::ollama_tags(Call& call) const {
  Json models = Json::array();
  for (const std::string& name : model_names(engine_.model(), options_)) {
    models.push_back(listed_model(name));
    models.back()["modified_at"] = model_time(engine_.model());
  }
  for (const AdapterSource& adapter : all_adapters(options_)) {
    models.push_back(listed_model(adapter.name));
    models.back()["modified_at"] = model_time(engine_.model());
  }
  call.answer({{"models", std::move(models)}});
}

/// The model is in memory for as long as the server runs.
void ApiService::ollama_ps(Call& call) const {
  Json model = listed_model(engine_.model().name);
  model.update(
      {{"expires_at", "9999-12-31T23:59:59Z"}, {"size_vram", 0}, {"context_length", engine_.model().context_length}});
  call.answer({{"models", Json::array({std::move(model)})}});
}

void ApiService::ollama_show(Call& call) const {
  const auto body = call.body();
  if (!body) return;
  Fields fields(*body);
  check_ollama_model(fields, engine_.model(), options_);
  if (!fields.ok()) return call.fail(*fields.error());
  const ServedModel& model = engine_.model();
  call.answer({{"modelfile", ""},
               {"parameters", parameters(model)},
               {"template", ""},
               {"details", no_details()},
               {"model_info",
                {{"general.architecture", "commissure"},
                 {"general.basename", model.name},
                 {"commissure.context_length", model.context_length},
                 {"commissure.vocab_size", model.tokenizer->n_tokens()}}},
               {"capabilities", capabilities(model)},
               {"modified_at", model_time(model)}});
}

/// A served model is there already; others are chosen when the server is started.
void ApiService::ollama_pull(Call& call) const {
  const auto body = call.body();
  if (!body) return;
  Fields fields(*body);
  check_ollama_model(fields, engine_.model(), options_);
  const bool streams = fields.boolean("stream").value_or(true);
  if (!fields.ok()) return call.fail(*fields.error());
  const Json success = {{"status", "success"}};
  if (!streams) return call.answer(success);
  call.responder->send({.body = ollama_line({{"status", "pulling manifest"}}) + ollama_line(success),
                        .content_type = std::string(kNdjson)});
}

void ApiService::ollama_unsupported(Call& call) const {
  call.fail({.status = 501,
             .message = fmt::format("{} is not supported: this server serves the one model that it was started with.",
                                    call.request.path),
             .type = "not_supported_error",
             .code = "not_supported"});
}

void ApiService::ollama_embed(Call& call) const {
  call.fail({.status = 501,
             .message = "This server makes no embeddings: it answers /api/chat and /api/generate.",
             .type = "not_supported_error",
             .code = "not_supported"});
}

}  // namespace commissure
