#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "apps/cloud_target.h"
#include "core/http.h"
#include "core/json.h"
#include "core/result.h"

namespace commissure {

/// Where the CLI finds the endpoint and with what key.
struct ApiAddress {
  std::string url;                  ///< "http://127.0.0.1:8080"
  std::string api_key;              ///< from COMMISSURE_API_KEY; "" without
  std::string identity_token = {};  ///< for a service behind Google's IAM: COMMISSURE_IDENTITY_TOKEN, or gcloud's
  std::string model = {};           ///< as the deployment's file names it; "" for any other endpoint
};

/// What a person says of the endpoint: nothing, its URL, or a deployment of commissure.yaml.
struct ApiChoice {
  std::string url;
  CloudChoice cloud = {};
};

void add_api_flags(CLI::App& app, ApiChoice& choice);

/// The URL or the deployment that is named, else COMMISSURE_URL, else the local chain, else the deployment in
/// commissure.yaml. Errors: kNotFound, nothing is running and none was named; as find_cloud_api.
Result<ApiAddress> find_api(const ApiChoice& choice);

/// GET or POST (when `body` is not null) of a JSON document. Errors: as http_fetch; an HTTP error's message otherwise.
Result<Json> exchange_json(const ApiAddress& endpoint, const std::string& path, const Json& body = nullptr);

/// GET of any page; any HTTP status is a success. Errors: as http_fetch.
Result<HttpReply> fetch_page(const ApiAddress& endpoint, const std::string& path);

/// A POST whose answer may take long: for streams.
HttpFetch streamed_post(const ApiAddress& endpoint, const std::string& path, const Json& body);

/// The message of an OpenAI error body, or the status alone. Codes: kUnauthenticated for 401, kUnavailable for 5xx,
/// else kInvalidArgument.
Error server_error(int status, const std::string& body);

/// How a streamed answer went.
struct AnswerSummary {
  std::string text;
  std::string finish_reason;
  Json usage;
  double first_token_seconds = 0;
  double seconds = 0;
};

/// Streams a chat completion (`request` without "stream"); `on_text` gets each piece and returns false to stop.
/// A model without a chat template answers through /v1/completions: then `request` must have "prompt" instead of
/// "messages". Errors: the server's message; as http_fetch.
Result<AnswerSummary> stream_answer(const ApiAddress& endpoint, Json request,
                                    const std::function<bool(const std::string&)>& on_text);

}  // namespace commissure
