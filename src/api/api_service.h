#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "api/api_options.h"
#include "api/request_images.h"
#include "api/request_log.h"
#include "engine/engine.h"
#include "http/http.h"

namespace commissure {

class ImageWorker;

/// The routes: OpenAI's, Anthropic's, Ollama's, the native ones, health and metrics, behind keys and CORS.
///
///   ApiService service(engine, options);
///   auto server = HttpServer::start(http, service.handler());
///
/// Threading: handle may be called from several threads at once. `engine` outlives the service; the service outlives
/// the server.
class ApiService {
 public:
  /// Looks through the engine's vocabulary once or twice, so that no request has to that asks for nothing special.
  ApiService(Engine& engine, ApiOptions options);
  ~ApiService();

  void handle(HttpRequest request, std::shared_ptr<Responder> responder) const;
  /// Refuses the requests with images that wait, and waits for the one that is read: from then on no thread of the
  /// service uses the engine or its image encoder. A second call does nothing.
  void stop();

  /// HttpServerOptions::is_quick: a few kilobytes, of which no template is rendered and for which no vocabulary is
  /// looked through.
  static bool is_quick(const HttpRequest& request);
  /// HttpServerOptions::is_long: a grammar may have to be compiled.
  static bool is_long(const HttpRequest& request);
  HttpHandler handler() const {
    return [this](HttpRequest request, std::shared_ptr<Responder> responder) {
      handle(std::move(request), std::move(responder));
    };
  }

 private:
  struct Call;
  struct Route;
  static const std::vector<Route>& routes();

  static std::string route_path(const std::string& path);

  bool is_authorized(const HttpRequest& request) const;
  bool is_admitted(Call& call) const;
  void dispatch(Call& call) const;

  /// Answers a call whose images were taken out of its body.
  using Run = void (ApiService::*)(Call& call, Json body, const RequestImages& images) const;
  /// Reads the body and answers it by `run`, at once, or on the thread of images where it has some.
  void run_body(Call& call, Run run, ImagePlace place = ImagePlace::kMessages) const;

  void chat(Call& call) const;
  void run_chat(Call& call, Json body, const RequestImages& images) const;
  void messages(Call& call) const;
  void run_messages(Call& call, Json body, const RequestImages& images) const;
  void responses(Call& call) const;
  void run_responses(Call& call, Json body, const RequestImages& images) const;
  /// Answers the body of a chat, as the clients of `dialect` read it.
  void answer_chat(Call& call, const Json& body, const RequestImages& images, const struct ChatDialect& dialect) const;
  void completions(Call& call) const;
  void generate(Call& call) const;
  /// Answers completions through the format that `make_format` makes of the request.
  void run_prompts(
      Call& call, struct CompletionRequest parsed,
      const std::function<std::unique_ptr<class AnswerFormat>(CompletionRequest&, const struct GenerationJob&)>&
          make_format) const;

  void ollama_chat(Call& call) const;
  void ollama_generate(Call& call) const;
  void run_ollama_chat(Call& call, Json body, const RequestImages& images) const;
  void run_ollama_generate(Call& call, Json body, const RequestImages& images) const;
  void run_ollama(Call& call, Json body, const RequestImages& images, bool is_chat) const;
  void ollama_version(Call& call) const;
  void ollama_tags(Call& call) const;
  void ollama_ps(Call& call) const;
  void ollama_show(Call& call) const;
  void ollama_pull(Call& call) const;
  void ollama_unsupported(Call& call) const;
  void ollama_embed(Call& call) const;

  void count_tokens(Call& call) const;
  void run_count_tokens(Call& call, Json body, const RequestImages& images) const;
  void tokenize(Call& call) const;
  void run_tokenize(Call& call, Json body, const RequestImages& images) const;
  void detokenize(Call& call) const;
  void apply_template(Call& call) const;

  void models(Call& call) const;
  void one_model(Call& call) const;
  void load_adapter(Call& call) const;
  void unload_adapter(Call& call) const;
  void live(Call& call) const;
  void health(Call& call) const;
  void warm(Call& call) const;
  void reset_prefix_cache(Call& call) const;
  void metrics(Call& call) const;
  void props(Call& call) const;
  void index(Call& call) const;
  /// The file of the page that a request asks for; null: it asks for something else.
  const PageFile* page_file(const HttpRequest& request) const;
  void send_page_file(Call& call, const PageFile& file) const;

  Engine& engine_;
  const ApiOptions options_;
  const std::shared_ptr<LogLimiter> refusals_ = std::make_shared<LogLimiter>();  // shared: requests may outlive this
  const std::unique_ptr<ImageWorker> image_worker_;                              // last: its thread uses all of this
};

}  // namespace commissure
