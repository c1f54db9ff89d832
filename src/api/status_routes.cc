#include <algorithm>
#include <filesystem>

#include "api/api_call.h"
#include "api/chat_request.h"
#include "api/sampling_fields.h"
#include "core/json_fields.h"

namespace commissure {

namespace {

/// null: nobody says anything, and the constants of the API hold.
Json source_of(const GenerationDefaults& defaults) {
  return defaults.source.empty() ? Json(nullptr) : Json(defaults.source);
}

Json model_json(const ServedModel& model, const std::string& id) {
  return {{"id", id},
          {"object", "model"},
          {"created", model.created},
          {"owned_by", "commissure"},
          {"root", model.name},
          {"parent", id == model.name ? Json(nullptr) : Json(model.name)},
          {"max_model_len", model.context_length},
          {"input_modalities", model.image_encoder != nullptr ? Json::array({"text", "image"}) : Json::array({"text"})},
          {"default_sampling", default_sampling(model.defaults)},
          {"default_sampling_from", source_of(model.defaults)},
          {"permission", Json::array()}};
}

/// As vLLM shows adapters.
Json adapter_json(const ServedModel& model, const AdapterSource& adapter) {
  Json json = model_json(model, adapter.name);
  json["root"] = std::filesystem::path(adapter.path).filename().string();  // paths are the server's own business
  json["parent"] = model.name;
  return json;
}

/// Of what /health adds, each stage's name and state.
Json public_status(const Json& status) {
  Json stages = Json::array();
  if (const Json* all = find_member(status, "stages"); all != nullptr && all->is_array()) {
    for (const Json& stage : *all)
      stages.push_back({{"stage", text_of(stage, "stage")}, {"state", text_of(stage, "state")}});
  }
  return {{"stages", std::move(stages)}};
}

}  // namespace

void ApiService::models(Call& call) const {
  Json data = Json::array();
  for (const std::string& name : model_names(engine_.model(), options_))
    data.push_back(model_json(engine_.model(), name));
  for (const AdapterSource& adapter : all_adapters(options_)) data.push_back(adapter_json(engine_.model(), adapter));
  call.answer({{"object", "list"}, {"data", std::move(data)}});
}

void ApiService::one_model(Call& call) const {
  constexpr std::string_view kPrefix = "/v1/models/";
  const std::string id = call.request.path.substr(kPrefix.size());  // may hold slashes
  const auto adapter = find_adapter(id, engine_.model(), options_);
  if (id.empty() || !adapter) return call.fail(unknown_model(id, engine_.model(), options_));
  const auto all = all_adapters(options_);
  const auto found = std::ranges::find(all, *adapter, &AdapterSource::name);
  if (!adapter->empty() && found != all.end()) return call.answer(adapter_json(engine_.model(), *found));
  call.answer(model_json(engine_.model(), id));
}

/// For probes that restart a dead container: a stage that loads, or waits for another one, is alive.
void ApiService::live(Call& call) const { call.answer({{"status", "alive"}}); }

/// Who has no key where one is needed learns whether the server serves, and which stage it waits for; not what it runs
/// on.
void ApiService::health(Call& call) const {
  const Status health = engine_.health();
  const bool is_trusted = is_authorized(call.request);
  Json answer = {{"status", health ? "ok" : "unavailable"}};
  if (is_trusted) answer["model"] = engine_.model().name;
  const std::string why = health ? "" : is_trusted ? health.error().message() : "the model is not ready";
  if (!health) answer.update(to_api_error(Error(Code::kUnavailable, why)).body());
  if (options_.status) answer.update(is_trusted ? options_.status() : public_status(options_.status()));
  HttpResponse response{.status = health ? 200 : 503, .body = dump_json(answer)};
  if (!health) response.headers.emplace_back("retry-after", "2");
  call.responder->send(std::move(response));
}

void ApiService::warm(Call& call) const {
  if (options_.wake) options_.wake();
  Json answer = {{"status", "warming"}};
  if (options_.status) answer.update(options_.status());
  call.answer(answer, 202);
}

void ApiService::reset_prefix_cache(Call& call) const {
  engine_.reset_prefix_cache();
  call.answer({{"status", "ok"}});
}

void ApiService::metrics(Call& call) const {
  call.responder->send({.status = 200,
                        .body = rename_metrics(engine_.metrics_text(), options_.metric_names),
                        .content_type = "text/plain; version=0.0.4; charset=utf-8"});
}

void ApiService::props(Call& call) const {
  const ServedModel& model = engine_.model();
  Json answer = {{"model", model.name},
                 {"n_ctx", model.context_length},
                 {"n_vocab", model.tokenizer->n_tokens()},
                 {"total_slots", engine_.options().max_sequences},
                 {"has_chat_template", model.chat_template != nullptr},
                 {"modalities", {{"text", true}, {"vision", model.image_encoder != nullptr}, {"audio", false}}},
                 {"default_generation_settings", default_sampling(model.defaults)},
                 {"default_generation_settings_from", source_of(model.defaults)},
                 {"version", options_.version}};
  if (options_.status) answer.update(options_.status());
  call.answer(answer);
}

void ApiService::index(Call& call) const {
  Json endpoints = Json::array();
  for (const Route& route : routes()) endpoints.push_back(fmt::format("{} {}", route.method, route.path));
  call.answer({{"name", "commissure"},
               {"version", options_.version},
               {"model", engine_.model().name},
               {"endpoints", std::move(endpoints)}});
}

}  // namespace commissure
