#pragma once

#include <optional>
#include <vector>

#include "api/plain_text.h"
#include "api/request_images.h"
#include "step/image_rows.h"

namespace commissure {

/// What the engine gets of a prompt.
struct PromptTokens {
  std::vector<TokenId> tokens;
  std::vector<PlacedImage> images = {};
};

/// Where the mark of an image (ImageMarks::mark) stands in a prompt, except where somebody else wrote it.
std::vector<std::size_t> image_places(const ChatPrompt& prompt, std::string_view mark);

/// A finding where the prompt shows another number of images than a request has.
std::optional<ApiError> check_images(const ServedModel& model, const ChatPrompt& prompt, std::size_t n_images);

/// Tokenises a prompt whose control tokens count, and encodes its images in the places of their marks.
///   images       of a model that has an image encoder; as many as there are marks
///   add_special  as EncodeOptions has it
///   max_tokens   of the answer, as GenerationRequest has it; nothing: the prompt is only counted
/// Errors: 400, an image cannot be read, or the prompt leaves no room for the answer; 429 and others of the encoder;
/// 499, unwanted meanwhile.
/// Threading: any thread. Takes seconds where there are images.
ApiResult<PromptTokens> encode_prompt(const ChatPrompt& prompt, const RequestImages& images, const ServedModel& model,
                                      bool add_special, std::optional<int> max_tokens, const Unwanted& is_unwanted);

}  // namespace commissure
