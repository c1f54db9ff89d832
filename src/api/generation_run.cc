#include "api/generation_run.h"

#include <algorithm>

#include "api/generation_fields.h"
#include "api/request_log.h"
#include "api/warming.h"
#include "core/index.h"
#include "core/log.h"

namespace commissure {

namespace {

using Clock = std::chrono::steady_clock;

/// Prompts of one HTTP request that are in the engine at the same time: a long list must not fill the queue for others.
constexpr int kMaxPromptsAtOnce = 16;

/// Lives as long as the engine or the connection may call it.
class GenerationRun : public std::enable_shared_from_this<GenerationRun> {
 public:
  GenerationRun(Engine& engine, std::shared_ptr<Responder> responder, GenerationJob job)
      : engine_(engine),
        responder_(std::move(responder)),
        job_(std::move(job)),
        n_choices_(job_.prompts.size() * to_size(job_.choices_per_prompt)),
        handles_(n_choices_),
        usage_(n_choices_) {}

  void start() {
    responder_->on_gone([self = shared_from_this()] { self->gone(); });
    if (job_.stream) watch_silence();
    submit_more();
  }

 private:
  /// Made when its turn comes: a thousand choices must not each hold the prompt and the lists while they wait.
  GenerationRequest request_of(std::size_t choice) const {
    const auto per_prompt = to_size(job_.choices_per_prompt);
    const std::size_t prompt = choice / per_prompt, i = choice % per_prompt;
    GenerationRequest request = job_.request;
    request.prompt = job_.prompts[prompt];
    request.max_tokens = fit_tokens(engine_.model(), request.prompt.size(), request.max_tokens);
    request.sampling.seed += i;
    request.choice = static_cast<int>(choice);
    if (job_.prompts.size() > 1) request.id += fmt::format("-{}", prompt);
    if (per_prompt > 1) request.id += fmt::format("-{}", i);
    if (job_.scores_once && i > 0) request.prompt_logprobs = -1;
    return request;
  }

  void submit_more() {
    while (!done_ && next_ < n_choices_ && n_running_ < kMaxPromptsAtOnce) {
      const std::size_t choice = next_;
      auto handle = engine_.submit(request_of(choice), [self = shared_from_this(), choice](GenerationEvent event) {
        self->responder_->post(
            [self, choice, event = std::move(event)]() mutable { self->received(choice, std::move(event)); });
      });
      if (!handle) {
        // A list of prompts that met a full queue goes on when its own earlier prompts have left it.
        if (handle.error().code() == Code::kResourceExhausted && n_running_ > 0) return;
        return fail(handle.error());
      }
      handles_[choice] = *handle;
      ++n_running_;
      ++next_;
    }
  }

  void received(std::size_t choice, GenerationEvent event) {
    if (done_) return;
    keep_trace(choice, event);
    if (!first_event_) first_event_ = Clock::now();
    add_usage(choice, event.usage);
    if (event.finish) handles_[choice].reset();
    if (event.error) return fail(*event.error);
    if (event.finish == FinishReason::kCancelled || event.finish == FinishReason::kError) {
      return fail(Error(Code::kUnavailable, "the generation was cut off by the server; try again"));
    }
    if (job_.stream) {
      begin_stream();
      responder_->write(job_.format->stream_event(static_cast<int>(choice), event, total_));
    } else {
      job_.format->collect(static_cast<int>(choice), event);
    }
    if (event.finish) choice_finished();
  }

  void add_usage(std::size_t choice, const Usage& usage) {
    Usage& before = usage_[choice];
    total_.completion_tokens += usage.completion_tokens - before.completion_tokens;
    if (choice % to_size(job_.choices_per_prompt) == 0) {
      total_.prompt_tokens += usage.prompt_tokens - before.prompt_tokens;
      total_.cached_tokens += usage.cached_tokens - before.cached_tokens;
    }
    before = usage;
  }

  void choice_finished() {
    --n_running_;
    submit_more();
    if (done_ || n_running_ > 0 || next_ < n_choices_) return;
    done_ = true;
    log_end(200, "");
    if (job_.stream) {
      responder_->write(job_.format->stream_end(total_));
      responder_->end_stream(false);
    } else {
      responder_->send({.status = 200, .body = dump_json(job_.format->whole(total_)), .headers = job_.headers});
    }
  }

  void begin_stream() {
    if (streaming_) return;
    streaming_ = true;
    HttpResponse head{.content_type = std::string(job_.format->stream_type()), .headers = job_.headers};
    head.headers.insert(head.headers.end(), {{"cache-control", "no-cache"}, {"x-accel-buffering", "no"}});
    responder_->begin_stream(std::move(head));
  }

  bool wants_comments() const { return job_.ping.count() > 0; }

  /// While the chain wakes silence is broken more often, with how far it is.
  void watch_silence() {
    const bool wakes = (wants_comments() || job_.warming_events) && job_.warming && job_.warming();
    if (wakes) {
      responder_->on_silence(job_.warming_interval, [self = shared_from_this()] { self->tell_warming(); });
    } else if (wants_comments()) {
      responder_->on_silence(job_.ping, [self = shared_from_this()] { self->ping(); });
    }
  }

  void tell_warming() {
    if (done_) return;
    const std::optional<Json> status = first_event_ ? std::nullopt : job_.warming();
    if (!status) {  // awake: the usual comments from here on, or none
      const auto silence = wants_comments() ? job_.ping : std::chrono::milliseconds(0);
      return responder_->on_silence(silence, [self = shared_from_this()] {
        if (self->wants_comments()) self->ping();
      });
    }
    const Json progress = warming_progress(*status);
    begin_stream();
    if (wants_comments()) responder_->write(job_.format->waking(progress));
    if (job_.warming_events) responder_->write(warming_event(progress));
  }

  void ping() {
    if (done_) return;
    begin_stream();
    responder_->write(job_.format->keep_alive());
  }

  void fail(const Error& error) {
    if (done_) return;
    done_ = true;
    cancel_all();
    const ApiError api_error = to_api_error(error);
    HttpResponse response = job_.format->failure(api_error);
    log_end(response.status, error.to_string());
    if (!streaming_) return responder_->send(std::move(response));
    responder_->write(job_.format->failure_event(api_error));
    responder_->end_stream(true);
  }

  void gone() {
    if (done_) return;
    done_ = true;
    cancel_all();
    log_end(499, "the client went away");
  }

  void cancel_all() {
    for (auto& handle : handles_) {
      if (handle) engine_.cancel(*handle);
      handle.reset();
    }
  }

  void log_end(int status, std::string_view problem) {
    const auto now = Clock::now();
    const auto ms = [&](Clock::time_point until) {
      return std::chrono::duration_cast<std::chrono::microseconds>(until - started_).count() / 1000.0;
    };
    LogFields fields = request_log_fields(job_.info, status, ms(now) / 1000, job_.cloud_project);
    fields.emplace_back("prompt_tokens", total_.prompt_tokens);
    fields.emplace_back("cached_tokens", total_.cached_tokens);
    fields.emplace_back("completion_tokens", total_.completion_tokens);
    fields.emplace_back("total_ms", ms(now));
    if (first_event_) fields.emplace_back("ttft_ms", ms(*first_event_));
    if (!problem.empty()) fields.emplace_back("problem", std::string(problem));
    if (!job_.logged_body.empty()) fields.emplace_back("body", job_.logged_body);
    log_request(status, std::move(fields), *job_.refusals);
    export_spans(status);
  }

  /// Takes the trace of a choice's steps for the spans, and out of the answer unless the client asked for it.
  void keep_trace(std::size_t choice, GenerationEvent& event) {
    if (job_.spans == nullptr || event.trace.empty()) return;
    const auto spans = stage_spans(job_.info.trace, static_cast<int>(choice), event.trace);
    spans_.insert(spans_.end(), spans.begin(), spans.end());
    if (job_.hide_trace) event.trace.clear();
  }

  void export_spans(int status) {
    if (job_.spans == nullptr) return;
    const TraceContext& trace = job_.info.trace;
    Span span{.trace_id = trace.trace_id,
              .span_id = trace.span_id,
              .parent_id = trace.parent_id,
              .name = job_.info.method + " " + job_.info.path};
    span.is_server = true;
    span.is_error = status >= 500;
    const auto spent = std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - started_).count();
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    span.end_unix_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
    span.start_unix_ns = span.end_unix_ns - spent;
    span.attributes = {{"http.response.status_code", status},
                       {"commissure.request_id", job_.info.id},
                       {"gen_ai.usage.input_tokens", total_.prompt_tokens},
                       {"gen_ai.usage.output_tokens", total_.completion_tokens}};
    spans_.push_back(std::move(span));
    job_.spans->add(std::move(spans_));
  }

  Engine& engine_;
  const std::shared_ptr<Responder> responder_;
  const GenerationJob job_;
  const std::size_t n_choices_;
  std::vector<std::optional<RequestHandle>> handles_;  // by choice, while it runs
  std::vector<Usage> usage_;
  Usage total_;
  std::vector<Span> spans_;
  std::size_t next_ = 0;
  int n_running_ = 0;
  bool streaming_ = false;
  bool done_ = false;
  const Clock::time_point started_ = Clock::now();
  std::optional<Clock::time_point> first_event_;
};

}  // namespace

void start_generation(Engine& engine, std::shared_ptr<Responder> responder, GenerationJob job) {
  Responder& strand = *responder;
  strand.post([run = std::make_shared<GenerationRun>(engine, std::move(responder), std::move(job))] { run->start(); });
}

std::string AnswerFormat::waking(const Json& progress) const { return warming_comment(progress); }

std::string AnswerFormat::failure_event(const ApiError& error) { return sse_data(error.body()); }

std::string sse_data(const Json& value) { return "data: " + dump_json(value) + "\n\n"; }

std::string sse_event(std::string_view type, const Json& members) {
  Json data = {{"type", type}};
  data.update(members);
  return fmt::format("event: {}\ndata: {}\n\n", type, dump_json(data));
}

}  // namespace commissure
