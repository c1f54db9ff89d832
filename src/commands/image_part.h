#pragma once

#include <string>

#include "core/json.h"
#include "core/result.h"

namespace commissure {

/// A file of this machine as a part of a message: {"type": "image_url", "image_url": {"url":
/// "data:image/png;base64,..."}} Errors: kNotFound, the file cannot be read; kInvalidArgument, it is no image of a kind
/// that we know, or too large.
Result<Json> image_part(const std::string& path);

/// A question with the images that it is about, which come first; its content is a text where there are none.
///   images  an array of image_part's
Json user_message(const std::string& text, const Json& images);

}  // namespace commissure
