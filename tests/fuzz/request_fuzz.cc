// A JSON body to the parsers of all routes that generate.

#include <algorithm>

#include "api/chat_request.h"
#include "api/completion_request.h"
#include "api/messages_request.h"
#include "api/ollama_request.h"
#include "api/responses_request.h"
#include "fuzz/fuzz.h"
#include "support/fake_engine.h"
#include "support/fake_image_encoder.h"

namespace {

using namespace commissure;

/// What the engine may rely on, whatever the body was.
void check_accepted(const GenerationRequest& request, const std::vector<TokenId>& prompt, const ServedModel& model) {
  CHECK(!prompt.empty());
  CHECK(validate(request.sampling).has_value());
  const int n_answer = fit_tokens(model, prompt.size(), request.max_tokens);
  CHECK(static_cast<int>(prompt.size()) + std::max(0, n_answer) <= model.context_length);
  for (const TokenId token : prompt) CHECK(model.tokenizer->contains(token));
}

/// Every row of every image has its token.
void check_images(const GenerationRequest& request, std::size_t n_images) {
  CHECK(request.images.size() == n_images);
  int end = 0;
  for (const PlacedImage& image : request.images) {
    CHECK(image.first_position >= end && image.rows->n_rows >= 1);
    end = image.first_position + image.rows->n_rows;
    CHECK(end <= static_cast<int>(request.prompt.size()));
    for (int i = image.first_position; i < end; ++i) CHECK(request.prompt[static_cast<std::size_t>(i)] == TokenId(256));
  }
}

void check_refused(const ApiError& error) {
  CHECK(error.status >= 400 && error.status < 500 && !error.message.empty());
  const std::string body = error.response().body;
  CHECK(body.size() <= 8000 && parse_json(body).has_value());
}

/// The body of a chat, as a client sent it or a translation made it.
void check_chat(const Json& body, const ServedModel& model, const ApiOptions& options, const RequestImages& images) {
  if (const auto chat = parse_chat_request(body, model, options, {}, images)) {
    check_accepted(chat->fields.request, chat->fields.request.prompt, model);
    check_images(chat->fields.request, images.size());
  } else {
    check_refused(chat.error());
    check_refused(in_responses_terms(chat.error()));
  }
}

void check_body(std::string_view text, const ServedModel& model) {
  const auto body = parse_json(text);
  if (!fuzz::is_accepted(body)) return;
  if (!body->is_object()) return;  // ApiService refuses it
  const ApiOptions options;
  Json seen = *body;
  const auto images = take_images(seen, model);
  if (!images) return check_refused(images.error());
  check_chat(seen, model, options, *images);
  for (const MessagesUse use : {MessagesUse::kAnswer, MessagesUse::kCount}) {
    const auto translated = chat_from_messages(seen, use);
    if (!translated) check_refused(translated.error());
    if (translated && use == MessagesUse::kAnswer) check_chat(*translated, model, options, *images);
  }
  Json items = *body;
  const auto in_input = take_images(items, model, ImagePlace::kInput);
  if (!in_input) return check_refused(in_input.error());
  if (const auto responses = read_responses(items)) {
    check_chat(responses->chat, model, options, *in_input);
    for (const std::string& kind : responses->left_out) CHECK(kind.find_first_of("\r\n") == std::string::npos);
  } else {
    check_refused(responses.error());
  }
  for (const OllamaUse use : {OllamaUse::kChat, OllamaUse::kGenerate}) {
    Json listed = *body;
    const auto in_lists =
        take_images(listed, model, use == OllamaUse::kChat ? ImagePlace::kMessageLists : ImagePlace::kList);
    if (!in_lists) return check_refused(in_lists.error());
    const auto asked = read_ollama(listed, use);
    if (!asked) check_refused(asked.error());
    if (!asked || asked->is_empty) continue;
    if (!asked->is_raw) {
      check_chat(asked->body, model, options, *in_lists);
    } else if (const auto completion = parse_completion_request(asked->body, model, options)) {
      check_accepted(completion->fields.request, completion->prompts.at(0), model);
    } else {
      check_refused(in_ollama_terms(completion.error()));
    }
  }
  for (const auto parse : {&parse_completion_request, &parse_generate_request}) {
    const auto completion = parse(*body, model, options, {});
    if (!completion) check_refused(completion.error());
    if (!completion) continue;
    for (const auto& prompt : completion->prompts) check_accepted(completion->fields.request, prompt, model);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const testing::FakeEngine engine;
  static testing::FakeEngine seeing;
  if (seeing.model().image_encoder == nullptr) {
    seeing.mutable_model().image_encoder = std::make_shared<testing::FakeImageEncoder>();
  }
  check_body(fuzz::as_text(data, size), engine.model());
  check_body(fuzz::as_text(data, size), seeing.model());
  return 0;
}
