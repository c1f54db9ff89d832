#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/json.h"
#include "core/result.h"
#include "net/http.h"

namespace commissure {

/// The endpoint of a chain and the credentials that it wants.
struct ApiAddress {
  std::string url;                  ///< "http://127.0.0.1:8080"
  std::string api_key;              ///< from COMMISSURE_API_KEY; "" without
  std::string identity_token = {};  ///< for a service behind Google's IAM: COMMISSURE_IDENTITY_TOKEN, or gcloud's
  std::string model = {};           ///< as the deployment's file names it; "" for any other endpoint
};

/// Sends a GET, or a POST where `body` is not null, and returns the JSON document of the answer. A 503 that tells of
/// stages (/health) is an answer too. Errors: as http_fetch; as server_error for any other status of 400 and above;
/// kDataLoss, the answer is no JSON.
Result<Json> exchange_json(const ApiAddress& endpoint, const std::string& path, const Json& body = nullptr);

/// The request for a GET of `path` with the endpoint's credentials, to be sent by http_fetch. It gives up when no
/// connection is made within 3 s.
HttpFetch page_request(const ApiAddress& endpoint, const std::string& path);

/// Sends page_request(endpoint, path). Any HTTP status is a success. Errors: as http_fetch.
Result<HttpReply> fetch_page(const ApiAddress& endpoint, const std::string& path);

/// The request for a POST of `body` whose answer may be silent for ten minutes: for streams.
HttpFetch streamed_post(const ApiAddress& endpoint, const std::string& path, const Json& body);

/// The error that an HTTP answer of 400 and above stands for: the message of its OpenAI error body, or the status where
/// the body has none. Codes: kUnauthenticated for 401, kUnavailable for 500 and above, kInvalidArgument for all others.
Error server_error(int status, const std::string& body);

/// A streamed answer once it has ended.
struct AnswerSummary {
  std::string text;                ///< all of it
  std::string thoughts = {};       ///< what the model thought before it, where the server told them apart
  std::string finish_reason;       ///< the server's ("stop", "length", ...), or "cancelled" where the caller ended it
  Json usage;                      ///< the server's token counts; null where it gave none
  double first_token_seconds = 0;  ///< from the request to the first text or thought; 0: none came
  double seconds = 0;              ///< from the request to the end
};

/// Streams one answer and waits for its end.
///   request       the body: "messages" for /v1/chat/completions, or "prompt" for /v1/completions, which a model
///   without
///                 a chat template needs; "stream" and "stream_options" are set here
///   on_text       gets each piece of the text as it comes; false ends the request
///   on_thought    gets each piece of the model's thoughts; may be empty
///   is_cancelled  as HttpFetch::is_cancelled, so it is asked before the first token too; may be empty
/// A request that was ended this way is a success whose finish_reason is "cancelled"; its connection is closed, by
/// which the server knows. Errors: the server's own message (codes as server_error; kUnavailable once the stream has
/// begun); as http_fetch.
Result<AnswerSummary> stream_answer(const ApiAddress& endpoint, Json request,
                                    const std::function<bool(const std::string&)>& on_text,
                                    const std::function<bool()>& is_cancelled = {},
                                    const std::function<void(const std::string&)>& on_thought = {});

}  // namespace commissure
