#include "client/client.h"

#include <chrono>
#include <cstdlib>
#include <string_view>

#include "client/event_reader.h"

namespace commissure {

namespace {

std::vector<std::pair<std::string, std::string>> headers_of(const ApiAddress& endpoint) {
  std::vector<std::pair<std::string, std::string>> headers = {{"Content-Type", "application/json"}};
  if (!endpoint.api_key.empty()) headers.emplace_back("Authorization", "Bearer " + endpoint.api_key);
  if (!endpoint.identity_token.empty())
    headers.emplace_back("X-Serverless-Authorization", "Bearer " + endpoint.identity_token);
  return headers;
}

}  // namespace

HttpFetch page_request(const ApiAddress& endpoint, const std::string& path) {
  HttpFetch request;
  request.url = endpoint.url + path;
  request.headers = headers_of(endpoint);
  request.connect_timeout = std::chrono::seconds(3);
  return request;
}

Result<HttpReply> fetch_page(const ApiAddress& endpoint, const std::string& path) {
  return http_fetch(page_request(endpoint, path));
}

HttpFetch streamed_post(const ApiAddress& endpoint, const std::string& path, const Json& body) {
  HttpFetch request;
  request.method = "POST";
  request.url = endpoint.url + path;
  request.headers = headers_of(endpoint);
  request.body = dump_json(body);
  request.stall_timeout = std::chrono::minutes(10);
  return request;
}

Error server_error(int status, const std::string& body) {
  std::string message = "the server answered " + std::to_string(status);
  if (const auto json = parse_json(body)) {
    if (const Json* error = find_member(*json, "error")) {
      if (const Json* text = find_member(*error, "message"); text != nullptr && text->is_string()) {
        message = text->get<std::string>();
      }
    }
  }
  const Code code = status == 401   ? Code::kUnauthenticated
                    : status >= 500 ? Code::kUnavailable
                                    : Code::kInvalidArgument;
  return Error(code, message, status == 401 ? " (set COMMISSURE_API_KEY)" : "");
}

Result<Json> exchange_json(const ApiAddress& endpoint, const std::string& path, const Json& body) {
  HttpFetch request = page_request(endpoint, path);
  if (!body.is_null()) {
    request.method = "POST";
    request.body = dump_json(body);
  }
  const HttpReply response = TRY(http_fetch(request));
  const auto json = parse_json(response.body);
  if (response.status >= 400 && !(json && response.status == 503 && json->contains("stages"))) {
    return server_error(response.status, response.body);
  }
  if (!json)
    return Error(Code::kDataLoss, public_url(request.url), " did not answer with JSON; is it a Commissure endpoint?");
  return *json;
}

Result<AnswerSummary> stream_answer(const ApiAddress& endpoint, Json body,
                                    const std::function<bool(const std::string&)>& on_text,
                                    const std::function<bool()>& is_cancelled,
                                    const std::function<void(const std::string&)>& on_thought) {
  using Clock = std::chrono::steady_clock;
  const bool chat = body.contains("messages");
  body["stream"] = true;
  body["stream_options"] = {{"include_usage", true}};
  HttpFetch request = streamed_post(endpoint, chat ? "/v1/chat/completions" : "/v1/completions", body);
  request.is_cancelled = is_cancelled;

  const auto start = Clock::now();
  const auto since_start = [&] { return std::chrono::duration<double>(Clock::now() - start).count(); };
  AnswerSummary summary;
  bool stopped = false;
  Status problem;
  EventReader events([&](const Json& event) -> Status {
    if (const Json* error = find_member(event, "error")) {
      const Json* text = find_member(*error, "message");
      return Error(Code::kUnavailable,
                   text != nullptr && text->is_string() ? text->get<std::string>() : "the stream broke off");
    }
    if (const Json* usage = find_member(event, "usage")) summary.usage = *usage;
    const Json* choices = find_member(event, "choices");
    if (choices == nullptr || !choices->is_array() || choices->empty()) return {};
    const Json& choice = choices->front();
    if (const Json* reason = find_member(choice, "finish_reason"); reason != nullptr && reason->is_string()) {
      summary.finish_reason = reason->get<std::string>();
    }
    const std::string text = choice_text(choice);
    const std::string thought = choice_thought(choice);
    if (text.empty() && thought.empty()) return {};
    if (summary.text.empty() && summary.thoughts.empty()) summary.first_token_seconds = since_start();
    summary.thoughts += thought;
    if (!thought.empty() && on_thought) on_thought(thought);
    if (text.empty()) return {};
    summary.text += text;
    stopped = !on_text(text);
    return {};
  });
  std::string error_body;
  const auto response = http_fetch(request, [&](const HttpReply& head, std::string_view piece) {
    if (head.status >= 400) {
      error_body.append(piece);
      return true;
    }
    problem = events.push(piece);
    return problem.has_value() && !stopped;
  });
  if (!problem) return Error(problem.error());
  stopped = stopped || (!response && response.error().code() == Code::kCancelled);
  if (!response && !stopped) return Error(response.error());
  if (response && response->status >= 400) return server_error(response->status, error_body);
  summary.seconds = since_start();
  if (stopped) summary.finish_reason = "cancelled";
  return summary;
}

}  // namespace commissure
