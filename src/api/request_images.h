#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "api/api_error.h"
#include "core/json.h"
#include "engine/engine.h"
#include "net/public_fetch.h"

namespace commissure {

/// Whether nobody waits for an answer any more; empty: somebody does.
using Unwanted = std::function<bool()>;

/// Images that a request may have, and bytes of each file.
inline constexpr std::size_t kMaxImages = 16;
inline constexpr std::size_t kMaxImageBytes = std::size_t{20} << 20;
/// Of all images of a request that are fetched from URLs: their bytes, and the time until the last one is here.
inline constexpr std::size_t kMaxFetchedBytes = std::size_t{64} << 20;
inline constexpr std::chrono::seconds kFetchTime{20};

/// An image that a request brought along.
struct RequestImage {
  std::string where;     ///< "messages[0].content[1]"
  std::string file;      ///< its bytes, of whatever format; empty until it is fetched from `url`
  std::string url = {};  ///< http or https; empty: the request brought the bytes
};
using RequestImages = std::vector<RequestImage>;

/// Where a route's bodies have their images.
enum class ImagePlace {
  kMessages,      ///< among the parts of `messages`: a chat's, or those of the Messages API
  kInput,         ///< among the parts of `input`, and of what functions put out: the Responses API
  kMessageLists,  ///< in a list, `images`, of each of `messages`: Ollama's chat
  kList,          ///< in a list, `images`, of the body: Ollama's generate
};

/// Takes the images out of a body, in the order in which they stand there. In each one's place {"type": "image"}
/// remains.
/// Errors: 400 that names the part: the model takes text alone, an image is no base64 in a data: URL (or of a source
/// of the Messages API), there are too many, or one is too large.
ApiResult<RequestImages> take_images(Json& body, const ServedModel& model, ImagePlace place = ImagePlace::kMessages);

/// Fetches those that have a URL, one after the other; takes seconds. Errors: 400 that names the part, the cause and
/// the cure, without path and query of the URL; kCancelled's where `is_unwanted`.
std::optional<ApiError> fetch_images(RequestImages& images, const FetchPolicy& policy, const Unwanted& is_unwanted);

/// Whether a part of a content is what take_images leaves of an image.
bool is_taken_image(const Json& part);

}  // namespace commissure
