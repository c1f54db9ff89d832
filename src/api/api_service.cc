#include "api/api_service.h"

#include <algorithm>
#include <utility>

#include "api/api_call.h"
#include "api/cors.h"
#include "api/grammar_fields.h"
#include "api/image_worker.h"
#include "api/messages_error.h"
#include "api/ollama_error.h"
#include "api/openai.h"
#include "api/sampling_fields.h"
#include "core/ascii.h"
#include "core/json_limits.h"
#include "core/log.h"
#include "core/scarce.h"
#include "net/host.h"

namespace commissure {

namespace {

constexpr std::size_t kMaxRequestId = 128;
constexpr std::string_view kOutOfMemory =
    "the server has no memory left for this request; try again later or ask for less";
constexpr std::size_t kMostKeptBody = 16 << 10;
constexpr int kMostVersions = 3;  // "/v1" in front of a path that are too many

/// Adds fields to whatever the route answers: the request id and CORS.
class DecoratedResponder final : public Responder {
 public:
  DecoratedResponder(std::shared_ptr<Responder> inner, HttpHeaders extra)
      : inner_(std::move(inner)), extra_(std::move(extra)) {}

  void post(std::function<void()> task) override { inner_->post(std::move(task)); }
  void send(HttpResponse response) override { inner_->send(with_extra(std::move(response))); }
  void begin_stream(HttpResponse head) override { inner_->begin_stream(with_extra(std::move(head))); }
  void write(std::string bytes) override { inner_->write(std::move(bytes)); }
  void end_stream(bool close) override { inner_->end_stream(close); }
  bool is_gone() const override { return inner_->is_gone(); }
  void on_gone(std::function<void()> callback) override { inner_->on_gone(std::move(callback)); }
  void on_silence(std::chrono::milliseconds silence, std::function<void()> callback) override {
    inner_->on_silence(silence, std::move(callback));
  }

 private:
  HttpResponse with_extra(HttpResponse response) const {
    response.headers.insert(response.headers.end(), extra_.begin(), extra_.end());
    return response;
  }

  const std::shared_ptr<Responder> inner_;
  const HttpHeaders extra_;
};

/// The client's id if it is short and printable (it goes to logs and back into a header), else a new one.
std::string request_id(const HttpRequest& request) {
  const std::string* given = request.header("x-request-id");
  const auto printable = [](char c) { return c > ' ' && c < 127; };
  if (given != nullptr && !given->empty() && given->size() <= kMaxRequestId &&
      std::all_of(given->begin(), given->end(), printable)) {
    return *given;
  }
  return random_id("req_");
}

/// With a collector, a request that belongs to no trace starts one.
TraceContext trace_of(const HttpRequest& request, const ApiOptions& options) {
  TraceContext trace = read_trace_context(request);
  return trace.trace_id.empty() && options.spans != nullptr ? new_trace() : trace;
}

/// Takes the same time wherever the first difference is.
bool equal_secrets(std::string_view a, std::string_view b) {
  unsigned difference = a.size() == b.size() ? 0 : 1;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference |= static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b.empty() ? 0 : b[i % b.size()]);
  }
  return difference == 0;
}

bool is_public(std::string_view path) { return path == "/health" || path == "/v1/health" || path == "/live"; }

/// Slashes one by one and none at the end, as "BASE/" + "/path" makes them two.
std::string single_slashes(const std::string& path) {
  std::string result;
  for (const char c : path) {
    if (c != '/' || !result.ends_with('/')) result += c;
  }
  if (result.size() > 1 && result.ends_with('/')) result.pop_back();
  return result;
}

ApiOptions with_adapters(ApiOptions options, const Engine& engine) {
  options.adapters = engine.adapters();
  return options;
}

}  // namespace

ApiService::ApiService(Engine& engine, ApiOptions options)
    : engine_(engine),
      options_(with_adapters(std::move(options), engine)),
      image_worker_(std::make_unique<ImageWorker>()) {
  prepare_vocabulary(engine_.model(), *options_.vocabulary);
}

ApiService::~ApiService() = default;

void ApiService::stop() { image_worker_->stop(); }

const std::vector<ApiService::Route>& ApiService::routes() {
  static const std::vector<Route> kRoutes = {
      {"POST", "/v1/chat/completions", &ApiService::chat},
      {"POST", "/v1/completions", &ApiService::completions},
      {"POST", "/v1/responses", &ApiService::responses},
      {"POST", "/v1/messages", &ApiService::messages},
      {"POST", "/v1/messages/count_tokens", &ApiService::count_tokens},
      {"POST", "/generate", &ApiService::generate},
      {"POST", "/tokenize", &ApiService::tokenize},
      {"POST", "/detokenize", &ApiService::detokenize},
      {"POST", "/apply-template", &ApiService::apply_template},
      {"POST", "/api/chat", &ApiService::ollama_chat},
      {"POST", "/api/generate", &ApiService::ollama_generate},
      {"GET", "/api/version", &ApiService::ollama_version},
      {"GET", "/api/tags", &ApiService::ollama_tags},
      {"GET", "/api/ps", &ApiService::ollama_ps},
      {"POST", "/api/show", &ApiService::ollama_show},
      {"POST", "/api/pull", &ApiService::ollama_pull},
      {"POST", "/api/embed", &ApiService::ollama_embed},
      {"POST", "/api/embeddings", &ApiService::ollama_embed},
      {"POST", "/api/push", &ApiService::ollama_unsupported},
      {"POST", "/api/create", &ApiService::ollama_unsupported},
      {"POST", "/api/copy", &ApiService::ollama_unsupported},
      {"DELETE", "/api/delete", &ApiService::ollama_unsupported},
      {"GET", "/v1/models", &ApiService::models},
      {"GET", "/v1/models/*", &ApiService::one_model},
      {"POST", "/v1/load_lora_adapter", &ApiService::load_adapter},
      {"POST", "/v1/unload_lora_adapter", &ApiService::unload_adapter},
      {"GET", "/live", &ApiService::live},
      {"GET", "/health", &ApiService::health},
      {"GET", "/v1/health", &ApiService::health},
      {"POST", "/warm", &ApiService::warm},
      {"POST", "/reset_prefix_cache", &ApiService::reset_prefix_cache},
      {"GET", "/metrics", &ApiService::metrics},
      {"GET", "/props", &ApiService::props},
      {"GET", "/", &ApiService::index},
  };
  return kRoutes;
}

/// The path of the table that is meant: clients are told a base with /v1 or without, and put /v1 before it or not.
std::string ApiService::route_path(const std::string& path) {
  const auto is_known = [](const std::string& candidate) {
    return std::ranges::any_of(routes(), [&](const Route& route) { return route.matches(candidate); });
  };
  std::string shorter = single_slashes(path);
  if (is_known(shorter)) return shorter;
  const std::string longer = "/v1" + shorter;
  if (is_known(longer)) return longer;
  for (int i = 0; i < kMostVersions && shorter.starts_with("/v1/"); ++i) {
    shorter.erase(0, 3);
    if (is_known(shorter)) return shorter;
  }
  return is_known("/v1" + shorter) ? "/v1" + shorter : path;
}

std::optional<Json> ApiService::Call::body() {
  JsonAllowance allowance;
  auto parsed = parse_json_within(request.body, allowance);
  if (!parsed) {
    const bool is_too_much = parsed.error().code() == Code::kResourceExhausted;
    fail(bad_field(
        "", (is_too_much ? "the request body " : "the request body is no valid JSON: ") + parsed.error().message()));
    return std::nullopt;
  }
  if (!parsed->is_object()) {
    fail(bad_field("", "the request body must be a JSON object"));
    return std::nullopt;
  }
  return std::move(*parsed);
}

std::function<bool()> ApiService::Call::is_unwanted() const {
  return [client = responder] { return client->is_gone(); };
}

RequestInfo ApiService::Call::info() const {
  constexpr std::size_t kMaxUserAgent = 200;
  const std::string* agent = request.header("user-agent");
  return {.id = id,
          .method = request.method,
          .path = request.path,
          .user_agent = agent == nullptr ? "" : agent->substr(0, kMaxUserAgent),
          .trace = trace};
}

void ApiService::Call::answer(const Json& value, int status) {
  responder->send({.status = status, .body = dump_json(value)});
}

HttpResponse ApiService::Call::refusal(const ApiError& error) const {
  if (is_messages_path(request.path)) return messages_error(error, id);
  return is_ollama_path(request.path) ? ollama_error(error) : error.response();
}

void ApiService::Call::fail(const ApiError& error) {
  HttpResponse response = refusal(error);
  // Not the message: it may quote the body, and prompts stay out of the logs.
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  LogFields fields = request_log_fields(info(), response.status, seconds, cloud_project);
  fields.emplace_back("code", error.code);
  fields.emplace_back("param", error.param);
  log_request(response.status, std::move(fields), *refusals);
  responder->send(std::move(response));
}

/// Any of the credentials it carries may be the key: behind Google's IAM, Authorization holds an identity token.
bool ApiService::is_authorized(const HttpRequest& request) const {
  if (options_.api_keys.empty()) return true;
  constexpr std::string_view kScheme = "bearer ";
  bool found = false;
  for (const auto& [name, value] : request.headers) {
    std::string_view given = value;
    if (name == "authorization" && lower(value.substr(0, kScheme.size())) == kScheme) {
      given.remove_prefix(kScheme.size());
    } else if (name != "x-api-key") {
      continue;
    }
    for (const std::string& key : options_.api_keys) found |= equal_secrets(given, key);  // all of them: no early exit
  }
  return found;
}

bool ApiService::is_quick(const HttpRequest& request) {
  constexpr std::size_t kMostBytes = 4 << 10;
  if (request.body.size() > kMostBytes) return false;
  const std::string path = route_path(request.path);
  const auto holds = [&](std::string_view text) { return request.body.find(text) != std::string::npos; };
  if (holds("\\u")) return false;  // the name of a member below may be written so
  // A grammar has to be compiled. DRY may look through the whole vocabulary; what it needs unasked is known from the
  // start.
  if (path == "/v1/completions" || path == "/generate") {
    return !holds("dry_") && !may_hold_grammar(request.body);
  }
  // `messages` are rendered.
  return path == "/detokenize" || (path == "/tokenize" && !holds("messages"));
}

bool ApiService::is_long(const HttpRequest& request) { return may_hold_grammar(request.body); }

void ApiService::handle(HttpRequest request, std::shared_ptr<Responder> responder) const {
  const std::string id = request_id(request);
  const TraceContext trace = trace_of(request, options_);
  HttpHeaders extra = cors_headers(request, options_.cors_origins);
  extra.emplace_back("x-request-id", id);
  request.path = route_path(request.path);
  if (is_messages_path(request.path)) extra.emplace_back("request-id", id);  // as that API's clients read it
  Call call{.request = std::move(request),
            .responder = std::make_shared<DecoratedResponder>(std::move(responder), std::move(extra)),
            .id = id,
            .trace = trace,
            .cloud_project = options_.cloud_project,
            .refusals = refusals_};
  dispatch(call);
}

void ApiService::run_body(Call& call, Run run, ImagePlace place) const {
  auto body = call.body();
  if (!body) return;
  auto images = take_images(*body, engine_.model(), place);
  if (!images) return call.fail(images.error());
  if (images->empty()) return (this->*run)(call, std::move(*body), {});
  if (const Status taken = engine_.admission(); !taken) return call.fail(to_api_error(taken.error()));
  struct Work {
    Call call;
    Json body;
    RequestImages images;
  };
  // As much of it as a log line may show; the rest was parsed.
  call.request.body = call.request.body.substr(0, kMostKeptBody);
  // Shared: a task is copyable.
  const auto work = std::make_shared<Work>(Work{std::move(call), std::move(*body), std::move(*images)});
  const auto answer = [this, run, work] {
    try {
      const auto is_unwanted = [this, is_gone = work->call.is_unwanted()] {
        return image_worker_->is_stopping() || is_gone();
      };
      if (const auto error = fetch_images(work->images, options_.image_urls, is_unwanted)) {
        const bool is_ended = image_worker_->is_stopping();
        return work->call.fail(is_ended ? to_api_error(Error(Code::kUnavailable, "the server is shutting down"))
                                        : *error);
      }
      (this->*run)(work->call, std::move(work->body), work->images);
    } catch (const std::bad_alloc&) {
      done_unless_scarce([&] { work->call.fail(to_api_error(Error(Code::kUnavailable, kOutOfMemory))); });
    } catch (const std::exception& error) {
      done_unless_scarce([&] {
        log_error("a request failed", {{"problem", std::string(error.what())}});
        work->call.fail(to_api_error(Error(Code::kInternal, "the server failed on this request")));
      });
    }
  };
  const Status is_queued =
      image_worker_->submit({.run = answer, .is_gone = work->call.is_unwanted(), .refuse = [work](const Error& why) {
                               done_unless_scarce([&] { work->call.fail(to_api_error(why)); });
                             }});
  if (!is_queued) work->call.fail(to_api_error(is_queued.error()));
}

/// Whether the call goes on. Without a key Host and Origin are all that tells a person's own program from any page in
/// that person's browser.
bool ApiService::is_admitted(Call& call) const {
  const HttpRequest& request = call.request;
  if (options_.is_local && options_.api_keys.empty() && !is_allowed_host(request, options_.allowed_hosts)) {
    call.fail({.status = 403,
               .message = fmt::format("This server answers this machine alone, not as '{}': start it with "
                                      "--allowed-hosts {}, or with an API key.",
                                      *request.header("host"), host_of(*request.header("host"))),
               .type = "permission_error",
               .code = "host_not_allowed"});
    return false;
  }
  if (request.method == "OPTIONS" || is_public(request.path) || page_file(request) != nullptr) return true;
  if (!is_authorized(request)) {
    call.fail({.status = 401,
               .message = "the API key is missing or wrong: send it as 'Authorization: Bearer KEY'",
               .type = "authentication_error",
               .code = "invalid_api_key"});
    return false;
  }
  const bool reads = request.method == "GET" || request.method == "HEAD";
  if (!reads && options_.api_keys.empty() && !is_allowed_origin(request, options_.cors_origins)) {
    call.fail({.status = 403,
               .message = fmt::format("Pages of {} may not call this server; --cors-origins names those that may.",
                                      *request.header("origin")),
               .type = "permission_error",
               .code = "origin_not_allowed"});
    return false;
  }
  const std::string* encoding = request.header("content-encoding");
  if (encoding != nullptr && !encoding->empty() && lower(*encoding) != "identity") {
    call.fail({.status = 415,
               .message = fmt::format("a body in Content-Encoding '{}' is not understood; send it as it is", *encoding),
               .code = "unsupported_encoding"});
    return false;
  }
  return true;
}

void ApiService::dispatch(Call& call) const {
  const std::string& method = call.request.method;
  const std::string& path = call.request.path;
  if (!is_admitted(call)) return;
  if (const PageFile* const file = page_file(call.request)) return send_page_file(call, *file);
  std::string allowed;
  for (const Route& route : routes()) {
    if (!route.matches(path)) continue;
    if (method == route.method || (method == "HEAD" && route.method == "GET")) return (this->*route.run)(call);
    allowed = route.method == "GET" ? "GET, HEAD, OPTIONS" : fmt::format("{}, OPTIONS", route.method);
  }
  if (method == "OPTIONS") {
    return call.responder->send(
        {.status = 204, .headers = {{"allow", allowed.empty() ? "GET, HEAD, POST, OPTIONS" : allowed}}});
  }
  if (allowed.empty()) {
    return call.fail({.status = 404,
                      .message = fmt::format("There is nothing at {} {}; GET / lists the endpoints.", method, path),
                      .type = "not_found_error",
                      .code = "not_found"});
  }
  const ApiError error{.status = 405,
                       .message = fmt::format("{} does not answer {}; use {}.", path, method, allowed),
                       .code = "method_not_allowed"};
  HttpResponse response = call.refusal(error);
  response.headers.emplace_back("allow", allowed);
  call.responder->send(std::move(response));
}

}  // namespace commissure
