#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/json.h"
#include "core/result.h"
#include "net/http.h"

namespace commissure {

/// Where the CLI finds the endpoint and with what key.
struct ApiAddress {
  std::string url;                  ///< "http://127.0.0.1:8080"
  std::string api_key;              ///< from COMMISSURE_API_KEY; "" without
  std::string identity_token = {};  ///< for a service behind Google's IAM: COMMISSURE_IDENTITY_TOKEN, or gcloud's
  std::string model = {};           ///< as the deployment's file names it; "" for any other endpoint
};

/// GET or POST (when `body` is not null) of a JSON document. Errors: as http_fetch; an HTTP error's message otherwise.
Result<Json> exchange_json(const ApiAddress& endpoint, const std::string& path, const Json& body = nullptr);

/// A GET of any page, to be sent by http_fetch.
HttpFetch page_request(const ApiAddress& endpoint, const std::string& path);

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

/// Streams one answer and waits for its end.
///   request       the body: "messages" for /v1/chat/completions, or "prompt" for /v1/completions, which a model
///   without
///                 a chat template needs; "stream" and "stream_options" are set here
///   on_text       gets each piece of the text as it comes; false ends the request
///   is_cancelled  as HttpFetch::is_cancelled, so it is asked before the first token too; may be empty
/// A request that was ended this way is a success whose finish_reason is "cancelled"; its connection is closed, by
/// which the server knows. Errors: the server's own message (codes as server_error; kUnavailable once the stream has
/// begun); as http_fetch.
Result<AnswerSummary> stream_answer(const ApiAddress& endpoint, Json request,
                                    const std::function<bool(const std::string&)>& on_text,
                                    const std::function<bool()>& is_cancelled = {});

}  // namespace commissure
