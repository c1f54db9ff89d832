#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/api_error.h"
#include "api/request_spans.h"
#include "engine/engine.h"
#include "http/http.h"

namespace commissure {

/// What one kind of endpoint makes of the engine's events. One object per HTTP request.
/// Threading: the request's strand.
class AnswerFormat {
 public:
  virtual ~AnswerFormat() = default;

  /// What its streams are.
  virtual std::string_view stream_type() const { return "text/event-stream; charset=utf-8"; }

  /// What a stream says at one engine event of `choice`; may be empty. `usage` is the request's, so far.
  virtual std::string stream_event(int choice, const GenerationEvent& event, const Usage& usage) = 0;
  /// What follows the last choice's end.
  virtual std::string stream_end(const Usage& usage) = 0;

  /// What breaks a stream's silence; clients pass over it.
  virtual std::string keep_alive() const { return ": keep-alive\n\n"; }
  /// The same while the chain wakes. `progress`: as warming_progress gives it.
  virtual std::string waking(const Json& progress) const;
  /// A failure before the first byte of an answer, and in the middle of a stream.
  virtual HttpResponse failure(const ApiError& error) const { return error.response(); }
  virtual std::string failure_event(const ApiError& error);

  /// Keeps one engine event for `whole`.
  virtual void collect(int choice, const GenerationEvent& event) = 0;
  virtual Json whole(const Usage& usage) = 0;
};

/// One HTTP request's way through the engine.
struct GenerationJob {
  RequestInfo info = {};  ///< for the log line and the trace
  std::string cloud_project = {};
  std::string logged_body = {};                    ///< goes into the log line; empty: nothing of it does
  std::shared_ptr<SpanExporter> spans = {};        ///< null: the request leaves no spans
  bool hide_trace = false;                         ///< steps are traced for the spans, the answer does not show them
  GenerationRequest request = {};                  ///< what all choices share; no prompt
  std::vector<std::vector<TokenId>> prompts = {};  ///< not empty
  int choices_per_prompt = 1;                      ///< they differ in the seed; usage counts a prompt once
  bool scores_once = false;                        ///< a prompt's first choice alone scores it
  std::unique_ptr<AnswerFormat> format = {};
  HttpHeaders headers = {};  ///< of its answer, beside those that all have
  bool stream = false;
  std::shared_ptr<LogLimiter> refusals = {};          ///< of the lines of failed requests
  std::function<std::optional<Json>()> warming = {};  ///< as in ApiOptions
  std::chrono::milliseconds warming_interval{0};
  bool warming_events = false;        ///< the client wants `warming` as events too
  std::chrono::milliseconds ping{0};  ///< a stream silent for this long gets a comment; 0 or less: never
};

/// Submits the job and writes its answer: collects or streams, cancels what is left when the client goes away or one
/// choice fails. Until the first event (or comment) an error still gets its HTTP status; later it is an error event.
/// Threading: any thread; `engine` outlives the run.
void start_generation(Engine& engine, std::shared_ptr<Responder> responder, GenerationJob job);

/// "data: <one line>\n\n"
std::string sse_data(const Json& value);
/// "event: <type>\ndata: {"type": <type>, <members>}\n\n"
std::string sse_event(std::string_view type, const Json& members);

}  // namespace commissure
