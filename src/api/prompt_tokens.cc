#include "api/prompt_tokens.h"

#include <algorithm>
#include <utility>

#include "api/generation_fields.h"
#include "core/index.h"

namespace commissure {

namespace {

/// The tokens of the text [begin, end) of a prompt between two others.
std::vector<TokenId> encode_between(const ChatPrompt& prompt, std::size_t begin, std::size_t end,
                                    const std::string& before, const std::string& after, const Tokenizer& tokenizer) {
  std::vector<std::size_t> plain_at;
  for (const std::size_t place : prompt.plain_at) {
    if (place >= begin && place < end) plain_at.push_back(place - begin + before.size());
  }
  return tokenizer.encode(before + prompt.text.substr(begin, end - begin) + after,
                          {.add_special = false, .parse_special = true, .plain_at = plain_at});
}

/// The texts around the images: one more than there are images.
std::vector<std::vector<TokenId>> encode_texts(const ChatPrompt& prompt, const std::vector<std::size_t>& places,
                                               const ImageMarks& marks, const Tokenizer& tokenizer) {
  std::vector<std::vector<TokenId>> texts;
  std::size_t begin = 0;
  for (std::size_t i = 0; i <= places.size(); ++i) {
    const bool is_last = i == places.size();
    texts.push_back(encode_between(prompt, begin, is_last ? prompt.text.size() : places[i], i == 0 ? "" : marks.after,
                                   is_last ? "" : marks.before, tokenizer));
    if (!is_last) begin = places[i] + marks.mark.size();
  }
  return texts;
}

Error at_image(const RequestImage& image, const Error& error) {
  return Error(error.code(), "'", image.where, "': ", error.message());
}

ApiError image_error(const RequestImage& image, const Error& error) {
  if (error.code() == Code::kInvalidArgument) return bad_field("messages", at_image(image, error).message());
  return to_api_error(at_image(image, error));
}

}  // namespace

std::vector<std::size_t> image_places(const ChatPrompt& prompt, std::string_view mark) {
  std::vector<std::size_t> places;
  for (std::size_t at = prompt.text.find(mark); at != std::string::npos;) {
    const auto plain = std::ranges::lower_bound(prompt.plain_at, at);
    const bool is_plain = plain != prompt.plain_at.end() && *plain < at + mark.size();
    if (!is_plain) places.push_back(at);
    at = prompt.text.find(mark, is_plain ? at + 1 : at + mark.size());
  }
  return places;
}

std::optional<ApiError> check_images(const ServedModel& model, const ChatPrompt& prompt, std::size_t n_images) {
  if (n_images == 0) return std::nullopt;
  const std::size_t n_places = image_places(prompt, model.image_encoder->marks().mark).size();
  if (n_places == n_images) return std::nullopt;
  return bad_field("messages", fmt::format("the messages have {} images, but the model's chat template has shown {} of "
                                           "them: it may take them in messages of the user alone",
                                           n_images, n_places));
}

ApiResult<PromptTokens> encode_prompt(const ChatPrompt& prompt, const RequestImages& images, const ServedModel& model,
                                      bool add_special, std::optional<int> max_tokens, const Unwanted& is_unwanted) {
  const auto too_long = [&](std::size_t n_tokens) {
    return max_tokens ? check_context(model, n_tokens, *max_tokens, "messages") : std::nullopt;
  };
  const Tokenizer& tokenizer = *model.tokenizer;
  if (images.empty()) {
    PromptTokens all{
        .tokens = tokenizer.encode(prompt.text,
                                   {.add_special = add_special, .parse_special = true, .plain_at = prompt.plain_at})};
    if (auto error = too_long(all.tokens.size())) return tl::unexpected(*error);
    return all;
  }
  if (auto error = check_images(model, prompt, images.size())) return tl::unexpected(std::move(*error));
  const ImageMarks& marks = model.image_encoder->marks();
  const std::vector<std::size_t> places = image_places(prompt, marks.mark);
  const auto texts = encode_texts(prompt, places, marks, tokenizer);
  std::size_t n_tokens = 0;
  for (const auto& text : texts) n_tokens += text.size();

  PromptTokens all;
  // What else add_special might add would stand behind the last text.
  if (add_special && tokenizer.bos() && !tokenizer.encode("", {}).empty()) all.tokens.push_back(*tokenizer.bos());
  n_tokens += all.tokens.size();
  for (std::size_t i = 0; i < images.size(); ++i) {
    // Each image yet to come has a row at least.
    const std::size_t n_left = images.size() - i;
    if (auto error = too_long(n_tokens + n_left)) return tl::unexpected(*error);
    if (is_unwanted && is_unwanted()) return tl::unexpected(to_api_error(Error(Code::kCancelled, "the client left")));
    auto rows = model.image_encoder->encode(std::as_bytes(std::span(images[i].file)));
    if (!rows) return tl::unexpected(image_error(images[i], rows.error()));
    all.tokens.insert(all.tokens.end(), texts[i].begin(), texts[i].end());
    all.images.push_back({count_of(all.tokens), *rows});
    all.tokens.insert(all.tokens.end(), to_size((*rows)->n_rows), marks.token);
    n_tokens += to_size((*rows)->n_rows);
  }
  all.tokens.insert(all.tokens.end(), texts.back().begin(), texts.back().end());
  if (auto error = too_long(all.tokens.size())) return tl::unexpected(*error);
  return all;
}

}  // namespace commissure
