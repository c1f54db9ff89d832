#include "api/api_call.h"
#include "api/chat_request.h"
#include "api/grammar_fields.h"
#include "api/messages_request.h"
#include "api/prompt_tokens.h"
#include "api/sampling_fields.h"
#include "text/utf8.h"

namespace commissure {

namespace {

constexpr std::size_t kMaxTokenizeBytes = 1 << 20;

/// What /tokenize shall encode: `prompt` (vLLM), `content` (llama.cpp) or `messages`. They differ in whether special
/// tokens are added by default.
struct TokenizeInput {
  ChatPrompt prompt;
  bool add_special = true;
  bool parse_special = true;
};

/// The prompt that a chat of the same fields has.
ChatPrompt chat_prompt(Fields& fields, const ServedModel& model, bool sanitize, const Unwanted& is_unwanted,
                       std::size_t n_images) {
  const ToolFields tools = read_tool_fields(fields, model);
  const bool is_held = read_grammar_fields(fields, is_unwanted).source.has_value();
  if (!fields.ok()) return {};
  ChatPrompt prompt = render_chat(fields, model, tools.tools, sanitize, is_unwanted, n_images);
  if (fields.ok()) plan_answer(model, tools, is_held, prompt);
  return prompt;
}

std::optional<TokenizeInput> tokenize_input(Fields& fields, const ServedModel& model, bool sanitize,
                                            const Unwanted& is_unwanted, std::size_t n_images) {
  TokenizeInput input;
  if (fields.find("messages") != nullptr) {
    input = {.prompt = chat_prompt(fields, model, sanitize, is_unwanted, n_images), .add_special = false};
  } else if (auto prompt = fields.text("prompt")) {
    input = {.prompt = {std::move(*prompt)}, .parse_special = !sanitize};
  } else if (auto content = fields.text("content")) {
    input = {.prompt = {std::move(*content)}, .add_special = false, .parse_special = !sanitize};
  } else {
    fields.fail("prompt", "'prompt', 'content' or 'messages' is missing");
  }
  if (const auto add = fields.boolean("add_special_tokens")) input.add_special = *add;
  if (const auto add = fields.boolean("add_special")) input.add_special = *add;
  if (const auto parse = fields.boolean("parse_special")) input.parse_special = *parse;
  if (!fields.ok()) return std::nullopt;
  return input;
}

std::optional<ApiError> check_length(std::string_view text) {
  if (text.size() <= kMaxTokenizeBytes) return std::nullopt;
  return bad_field("prompt", fmt::format("the text has {} bytes, but at most {} are tokenised at once", text.size(),
                                         kMaxTokenizeBytes));
}

/// A token's text, or its bytes as numbers where it is only a part of a character.
Json piece_of(const std::string& bytes) {
  if (valid_utf8_prefix(bytes) == bytes.size()) return bytes;
  Json numbers = Json::array();
  for (const char byte : bytes) numbers.push_back(static_cast<unsigned char>(byte));
  return numbers;
}

}  // namespace

/// What /v1/messages would count for the same body, which needs no length here.
void ApiService::count_tokens(Call& call) const { run_body(call, &ApiService::run_count_tokens); }

void ApiService::run_count_tokens(Call& call, Json body, const RequestImages& images) const {
  const auto chat = chat_from_messages(body, MessagesUse::kCount);
  if (!chat) return call.fail(chat.error());
  Fields fields(*chat);
  check_model(fields, engine_.model(), options_);
  ChatPrompt prompt;
  if (fields.ok()) prompt = chat_prompt(fields, engine_.model(), options_.sanitize, call.is_unwanted(), images.size());
  if (!fields.ok()) return call.fail(*fields.error());
  if (const auto error = check_length(prompt.text)) return call.fail(*error);
  const auto encoded = encode_prompt(prompt, images, engine_.model(), /*add_special=*/false, {}, call.is_unwanted());
  if (!encoded) return call.fail(encoded.error());
  call.answer({{"input_tokens", encoded->tokens.size()}});
}

void ApiService::tokenize(Call& call) const { run_body(call, &ApiService::run_tokenize); }

void ApiService::run_tokenize(Call& call, Json body, const RequestImages& images) const {
  Fields fields(body);
  check_model(fields, engine_.model(), options_);
  const Tokenizer& tokenizer = *engine_.model().tokenizer;
  const auto input =
      tokenize_input(fields, engine_.model(), sanitizes(fields, options_), call.is_unwanted(), images.size());
  const bool with_pieces = fields.boolean("with_pieces").value_or(false);
  const bool with_texts = fields.boolean("return_token_strs").value_or(false);
  if (!fields.ok()) return call.fail(*fields.error());

  const std::string& text = input->prompt.text;
  if (const auto error = check_length(text)) return call.fail(*error);
  std::vector<TokenId> tokens;
  if (images.empty()) {
    tokens = tokenizer.encode(text, {input->add_special, input->parse_special, input->prompt.plain_at});
  } else {
    auto encoded = encode_prompt(input->prompt, images, engine_.model(), input->add_special, {}, call.is_unwanted());
    if (!encoded) return call.fail(encoded.error());
    tokens = std::move(encoded->tokens);
  }
  // As text from the start: as values, the pieces of a megabyte would take hundreds.
  std::string ids, texts;
  for (const TokenId token : tokens) {
    if (!ids.empty()) ids += ',';
    ids += with_pieces ? dump_json({{"id", token.value}, {"piece", piece_of(tokenizer.token_bytes(token, true))}})
                       : std::to_string(token.value);
    if (!with_texts) continue;
    if (!texts.empty()) texts += ',';
    texts += dump_json(std::string(tokenizer.token_text(token)));
  }
  std::string answer = fmt::format(R"({{"count":{},"max_model_len":{},"tokens":[{}])", tokens.size(),
                                   engine_.model().context_length, ids);
  if (with_texts) answer += R"(,"token_strs":[)" + texts + "]";
  call.responder->send({.body = std::move(answer) + "}"});
}

void ApiService::detokenize(Call& call) const {
  const auto body = call.body();
  if (!body) return;
  Fields fields(*body);
  check_model(fields, engine_.model(), options_);
  const Tokenizer& tokenizer = *engine_.model().tokenizer;
  const Json* list = fields.array("tokens");
  if (list == nullptr) fields.fail("tokens", "'tokens' is missing: give an array of token ids");
  std::optional<std::vector<TokenId>> tokens;
  if (fields.ok()) {
    if (auto error = check_context(engine_.model(), list->size(), 0, "tokens")) fields.fail(std::move(*error));
  }
  if (fields.ok()) tokens = read_token_ids(fields, "tokens", *list, tokenizer);
  if (!fields.ok()) return call.fail(*fields.error());

  // Control tokens are shown, so that what /tokenize made of a text comes back as that text.
  std::string text;
  for (const TokenId token : *tokens) text += tokenizer.token_bytes(token, true);
  if (tokenizer.strips_leading_space() && text.starts_with(' ')) text.erase(0, 1);
  call.answer({{"prompt", text}, {"content", text}});
}

void ApiService::apply_template(Call& call) const {
  auto body = call.body();
  if (!body) return;
  const auto images = take_images(*body, engine_.model());
  if (!images) return call.fail(images.error());
  Fields fields(*body);
  check_model(fields, engine_.model(), options_);
  ChatPrompt prompt;
  if (fields.ok()) {
    prompt = chat_prompt(fields, engine_.model(), /*sanitize=*/false, call.is_unwanted(), images->size());
  }
  if (!fields.ok()) return call.fail(*fields.error());
  call.answer({{"prompt", prompt.text}});
}

}  // namespace commissure
