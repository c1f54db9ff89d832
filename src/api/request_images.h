#pragma once

#include <functional>
#include <string>
#include <vector>

#include "api/api_error.h"
#include "core/json.h"
#include "engine/engine.h"

namespace commissure {

/// Whether nobody waits for an answer any more; empty: somebody does.
using Unwanted = std::function<bool()>;

/// Images that a request may have, and bytes of each file.
inline constexpr std::size_t kMaxImages = 16;
inline constexpr std::size_t kMaxImageBytes = std::size_t{20} << 20;

/// An image that a request brought along.
struct RequestImage {
  std::string where;  ///< "messages[0].content[1]"
  std::string file;   ///< its bytes, of whatever format
};
using RequestImages = std::vector<RequestImage>;

/// Takes the images out of the messages of a body, a chat's or one of the Messages API, or out of the `input` of one of
/// the Responses API, in the order in which they stand there. In each one's place {"type": "image"} remains.
///   has_lists  the body is one of Ollama's API: each message, or the body itself, has its images in a list, `images`
/// Errors: 400 that names the part: the model takes text alone, an image is no base64 in a data: URL (or of a source
/// of the Messages API), there are too many, or one is too large.
ApiResult<RequestImages> take_images(Json& body, const ServedModel& model, bool has_lists = false);

/// Whether a part of a content is what take_images leaves of an image.
bool is_taken_image(const Json& part);

}  // namespace commissure
