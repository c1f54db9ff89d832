#include <algorithm>
#include <utility>

#include "api/answer_format.h"
#include "api/api_call.h"
#include "api/chat_request.h"
#include "api/completion_request.h"
#include "api/generation_run.h"
#include "api/messages_request.h"
#include "api/ollama_error.h"
#include "api/ollama_request.h"
#include "api/responses_request.h"
#include "api/sampling_fields.h"

namespace commissure {

/// How the clients of an API that is translated into chats read what a chat gives.
struct ChatDialect {
  std::function<std::unique_ptr<AnswerFormat>(ChatRequest& parsed, const GenerationJob& job)> make_format;
  HttpHeaders headers = {};  ///< of the answer
  ApiError (*in_its_terms)(
      ApiError error) = {};  ///< a finding of the chat's, under the API's own names; null: as it is
};

namespace {

/// Hands the trace of a request whose spans are wanted to all stages, and asks the engine for the times of every step.
/// Without a collector of its own, stage A adds no span, and those of the others belong to the caller's.
void trace_steps(GenerationJob& job, GenerationFields& fields, const ApiOptions& options) {
  const TraceContext& trace = job.info.trace;
  if (!trace.sampled) return;
  const bool is_own = options.spans != nullptr || trace.parent_id.empty();
  fields.request.trace_parent = TraceParent{trace.trace_id, is_own ? trace.span_id : trace.parent_id, true};
  if (options.spans == nullptr) return;
  job.spans = options.spans;
  job.hide_trace = fields.request.trace == TraceLevel::kNone;
  if (job.hide_trace) fields.request.trace = TraceLevel::kTimes;
}

/// The part of a job that does not depend on the endpoint.
GenerationJob make_job(const RequestInfo& info, const std::string& body, GenerationFields& fields,
                       const ApiOptions& options) {
  constexpr std::size_t kMaxLoggedBody = 16 << 10;
  GenerationJob job;
  job.info = info;
  fields.request.id = info.id;
  if (!fields.request.timeout && options.request_timeout.count() > 0) fields.request.timeout = options.request_timeout;
  job.cloud_project = options.cloud_project;
  if (options.log_prompts) job.logged_body = body.substr(0, kMaxLoggedBody);
  job.choices_per_prompt = std::max(fields.n, fields.best_of);
  job.stream = fields.stream;
  job.ping = fields.ping.value_or(options.ping_interval);
  job.warming = options.warming;
  job.warming_interval = options.warming_interval;
  job.warming_events = fields.include_warming;
  trace_steps(job, fields, options);
  return job;
}

/// What an answer says it is from.
const std::string& answering_model(const ServedModel& model, const GenerationJob& job) {
  return job.request.adapter.empty() ? model.name : job.request.adapter;
}

AnswerShape make_shape(const ServedModel& model, const ApiOptions& options, const GenerationFields& fields,
                       const GenerationJob& job, bool logprobs, int prompt_logprobs) {
  return {.model = answering_model(model, job),
          .system_fingerprint = options.system_fingerprint,
          .logprobs = logprobs,
          .prompt_logprobs = prompt_logprobs,
          .tokens_as_ids = fields.tokens_as_ids,
          .include_usage = fields.include_usage,
          .continuous_usage = fields.continuous_usage,
          .tokenizer = model.tokenizer};
}

/// The answer where nothing was asked: the model is loaded, and stays so whatever the client wants.
Json ollama_loaded(const OllamaRequest& request, const std::string& model, bool is_chat) {
  Json answer = {{"model", request.model.empty() ? model : request.model},
                 {"created_at", ollama_time(std::chrono::system_clock::now())},
                 {"done", true},
                 {"done_reason", request.is_unload ? "unload" : "load"}};
  if (is_chat) {
    answer["message"] = {{"role", "assistant"}, {"content", ""}};
  } else {
    answer["response"] = "";
  }
  return answer;
}

}  // namespace

void ApiService::chat(Call& call) const { run_body(call, &ApiService::run_chat); }

void ApiService::run_chat(Call& call, Json body, const RequestImages& images) const {
  const ChatDialect dialect{[&](ChatRequest& parsed, const GenerationJob& job) {
    return make_chat_format(
        make_shape(engine_.model(), options_, parsed.fields, job, parsed.logprobs, job.request.prompt_logprobs),
        parsed.fields.n, std::move(parsed.plan));
  }};
  answer_chat(call, body, images, dialect);
}

void ApiService::messages(Call& call) const { run_body(call, &ApiService::run_messages); }

void ApiService::run_messages(Call& call, Json body, const RequestImages& images) const {
  const auto chat = chat_from_messages(body, MessagesUse::kAnswer);
  body = nullptr;  // may be large
  if (!chat) return call.fail(chat.error());
  const ChatDialect dialect{[&](ChatRequest& parsed, const GenerationJob& job) {
    return make_messages_format(answering_model(engine_.model(), job), call.id, std::move(parsed.plan));
  }};
  answer_chat(call, *chat, images, dialect);
}

void ApiService::responses(Call& call) const { run_body(call, &ApiService::run_responses, ImagePlace::kInput); }

void ApiService::run_responses(Call& call, Json body, const RequestImages& images) const {
  auto read = read_responses(body);
  body = nullptr;
  if (!read) return call.fail(read.error());
  const Json defaults = default_sampling(engine_.model().defaults);
  for (const char* name : {"temperature", "top_p"}) {
    read->echo[name] = read->chat.value(name, defaults.value(name, Json(1.0)));
  }
  ChatDialect dialect{[&](ChatRequest& parsed, const GenerationJob& job) {
    return make_responses_format(answering_model(engine_.model(), job), std::move(read->echo), std::move(parsed.plan));
  }};
  if (!read->left_out.empty()) {
    dialect.headers.emplace_back("x-commissure-left-out", fmt::format("tools: {}", fmt::join(read->left_out, ", ")));
  }
  dialect.in_its_terms = in_responses_terms;
  answer_chat(call, read->chat, images, dialect);
}

void ApiService::answer_chat(Call& call, const Json& body, const RequestImages& images,
                             const ChatDialect& dialect) const {
  auto parsed = parse_chat_request(body, engine_.model(), options_, call.is_unwanted(), images);
  if (!parsed) return call.fail(dialect.in_its_terms ? dialect.in_its_terms(parsed.error()) : parsed.error());

  GenerationJob job = make_job(call.info(), call.request.body, parsed->fields, options_);
  job.refusals = refusals_;
  job.request = std::move(parsed->fields.request);
  job.prompts.push_back(std::exchange(job.request.prompt, {}));
  job.scores_once = true;  // they stand beside the choices
  job.headers = dialect.headers;
  job.format = dialect.make_format(*parsed, job);
  start_generation(engine_, call.responder, std::move(job));
}

void ApiService::completions(Call& call) const {
  const auto body = call.body();
  if (!body) return;
  auto parsed = parse_completion_request(*body, engine_.model(), options_, call.is_unwanted());
  if (!parsed) return call.fail(parsed.error());
  run_prompts(call, std::move(*parsed), [&](CompletionRequest& request, const GenerationJob& job) {
    const auto n_prompts = static_cast<int>(job.prompts.size());
    const int n = request.fields.n, best_of = request.fields.best_of;
    auto format = make_completion_format(
        make_shape(engine_.model(), options_, request.fields, job, request.logprobs, request.prompt_logprobs),
        n_prompts, n,
        {.prompts = request.echo_texts.empty() ? std::vector<std::vector<TokenId>>() : job.prompts,
         .texts = std::move(request.echo_texts),
         .n_top = job.request.sampling.n_logprobs});
    return best_of > n ? make_best_of_format(std::move(format), n_prompts, n, best_of) : std::move(format);
  });
}

void ApiService::generate(Call& call) const {
  const auto body = call.body();
  if (!body) return;
  auto parsed = parse_generate_request(*body, engine_.model(), options_, call.is_unwanted());
  if (!parsed) return call.fail(parsed.error());
  run_prompts(call, std::move(*parsed), [&](CompletionRequest& request, const GenerationJob& job) {
    return make_generate_format(answering_model(engine_.model(), job),
                                request.echo_texts.empty() ? "" : request.echo_texts.front(),
                                job.request.sampling.seed);
  });
}

void ApiService::run_prompts(
    Call& call, CompletionRequest parsed,
    const std::function<std::unique_ptr<AnswerFormat>(CompletionRequest&, const GenerationJob&)>& make_format) const {
  GenerationJob job = make_job(call.info(), call.request.body, parsed.fields, options_);
  job.refusals = refusals_;
  job.request = std::move(parsed.fields.request);
  job.prompts = std::move(parsed.prompts);
  job.format = make_format(parsed, job);
  start_generation(engine_, call.responder, std::move(job));
}

void ApiService::ollama_chat(Call& call) const {
  run_body(call, &ApiService::run_ollama_chat, ImagePlace::kMessageLists);
}

void ApiService::run_ollama_chat(Call& call, Json body, const RequestImages& images) const {
  run_ollama(call, std::move(body), images, /*is_chat=*/true);
}

void ApiService::ollama_generate(Call& call) const {
  run_body(call, &ApiService::run_ollama_generate, ImagePlace::kList);
}

void ApiService::run_ollama_generate(Call& call, Json body, const RequestImages& images) const {
  run_ollama(call, std::move(body), images, /*is_chat=*/false);
}

void ApiService::run_ollama(Call& call, Json body, const RequestImages& images, bool is_chat) const {
  auto read = read_ollama(body, is_chat ? OllamaUse::kChat : OllamaUse::kGenerate);
  body = nullptr;
  if (!read) return call.fail(read.error());
  if (read->is_empty) {
    Fields fields(read->body);
    check_model(fields, engine_.model(), options_);
    return fields.ok() ? call.answer(ollama_loaded(*read, engine_.model().name, is_chat)) : call.fail(*fields.error());
  }
  const auto shape_of = [&](const GenerationFields& fields, const GenerationJob& job, bool logprobs) {
    AnswerShape shape = make_shape(engine_.model(), options_, fields, job, logprobs, -1);
    if (!read->model.empty()) shape.model = read->model;  // as the client calls it
    return shape;
  };
  if (!read->is_raw) {
    const ChatDialect dialect{[&](ChatRequest& parsed, const GenerationJob& job) {
                                return make_ollama_format(shape_of(parsed.fields, job, parsed.logprobs), is_chat,
                                                          std::move(parsed.plan));
                              },
                              {},
                              in_ollama_terms};
    return answer_chat(call, read->body, images, dialect);
  }
  auto parsed = parse_completion_request(read->body, engine_.model(), options_, call.is_unwanted());
  if (!parsed) return call.fail(in_ollama_terms(parsed.error()));
  run_prompts(call, std::move(*parsed), [&](CompletionRequest& request, const GenerationJob& job) {
    return make_ollama_format(shape_of(request.fields, job, false), is_chat, nullptr);
  });
}

}  // namespace commissure
