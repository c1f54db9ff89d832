#include <algorithm>
#include <utility>

#include "api/answer_format.h"
#include "api/api_call.h"
#include "api/chat_request.h"
#include "api/completion_request.h"
#include "api/generation_run.h"
#include "api/messages_request.h"

namespace commissure {

namespace {

/// The part of a job that does not depend on the endpoint.
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

AnswerShape make_shape(const ServedModel& model, const ApiOptions& options, const GenerationFields& fields,
                       bool logprobs, int prompt_logprobs) {
  return {.model = model.name,
          .system_fingerprint = options.system_fingerprint,
          .logprobs = logprobs,
          .prompt_logprobs = prompt_logprobs,
          .tokens_as_ids = fields.tokens_as_ids,
          .include_usage = fields.include_usage,
          .continuous_usage = fields.continuous_usage,
          .tokenizer = model.tokenizer};
}

}  // namespace

void ApiService::chat(Call& call) const { run_body(call, &ApiService::run_chat); }

void ApiService::run_chat(Call& call, Json body, const RequestImages& images) const {
  answer_chat(call, body, images, /*is_messages=*/false);
}

void ApiService::messages(Call& call) const { run_body(call, &ApiService::run_messages); }

void ApiService::run_messages(Call& call, Json body, const RequestImages& images) const {
  const auto chat = chat_from_messages(body, MessagesUse::kAnswer);
  body = nullptr;  // may be large
  chat ? answer_chat(call, *chat, images, /*is_messages=*/true) : call.fail(chat.error());
}

void ApiService::answer_chat(Call& call, const Json& body, const RequestImages& images, bool is_messages) const {
  auto parsed = parse_chat_request(body, engine_.model(), options_, call.is_unwanted(), images);
  if (!parsed) return call.fail(parsed.error());

  GenerationJob job = make_job(call.info(), call.request.body, parsed->fields, options_);
  job.refusals = refusals_;
  job.request = std::move(parsed->fields.request);
  job.prompts.push_back(std::exchange(job.request.prompt, {}));
  job.scores_once = true;  // they stand beside the choices
  if (is_messages) {
    job.format = make_messages_format(engine_.model().name, call.id, std::move(parsed->plan));
  } else {
    job.format = make_chat_format(
        make_shape(engine_.model(), options_, parsed->fields, parsed->logprobs, job.request.prompt_logprobs),
        parsed->fields.n, std::move(parsed->plan));
  }
  start_generation(engine_, call.responder, std::move(job));
}

void ApiService::completions(Call& call) const {
  const auto body = call.body();
  if (!body) return;
  auto parsed = parse_completion_request(*body, engine_.model(), options_, call.is_unwanted());
  if (!parsed) return call.fail(parsed.error());
  run_prompts(call, std::move(*parsed), false);
}

void ApiService::generate(Call& call) const {
  const auto body = call.body();
  if (!body) return;
  auto parsed = parse_generate_request(*body, engine_.model(), options_, call.is_unwanted());
  if (!parsed) return call.fail(parsed.error());
  run_prompts(call, std::move(*parsed), true);
}

void ApiService::run_prompts(Call& call, CompletionRequest parsed, bool native) const {
  GenerationJob job = make_job(call.info(), call.request.body, parsed.fields, options_);
  job.refusals = refusals_;
  job.request = std::move(parsed.fields.request);
  job.prompts = std::move(parsed.prompts);
  const auto n_prompts = static_cast<int>(job.prompts.size());
  const int n = parsed.fields.n, best_of = parsed.fields.best_of;
  if (native) {
    job.format = make_generate_format(engine_.model().name, parsed.echo_texts.empty() ? "" : parsed.echo_texts.front(),
                                      job.request.sampling.seed);
  } else {
    job.format = make_completion_format(
        make_shape(engine_.model(), options_, parsed.fields, parsed.logprobs, parsed.prompt_logprobs), n_prompts, n,
        {.prompts = parsed.echo_texts.empty() ? std::vector<std::vector<TokenId>>() : job.prompts,
         .texts = std::move(parsed.echo_texts),
         .n_top = job.request.sampling.n_logprobs});
    if (best_of > n) {
      job.format = make_best_of_format(std::move(job.format), n_prompts, n, best_of);
    }
  }
  start_generation(engine_, call.responder, std::move(job));
}

}  // namespace commissure
