// Feeds the input to the request parsers as a JSON body, and to the HTTP parser as bytes off the wire.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "api/chat_request.h"
#include "api/completion_request.h"
#include "api/http_parser.h"
#include "core/check.h"
#include "support/fake_engine.h"

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

void check_body(std::string_view text, const ServedModel& model) {
  const auto body = parse_json(text);
  if (!body) return;
  const ApiOptions options;
  if (const auto chat = parse_chat_request(*body, model, options)) {
    check_accepted(chat->fields.request, chat->fields.request.prompt, model);
  }
  for (const auto parse : {&parse_completion_request, &parse_generate_request}) {
    const auto completion = parse(*body, model, options);
    if (!completion) continue;
    for (const auto& prompt : completion->prompts) check_accepted(completion->fields.request, prompt, model);
  }
}

/// The same answer, however the bytes were cut.
void check_http(std::string_view text) {
  constexpr std::size_t kMaxBody = 1000;
  HttpParser parser(512, kMaxBody);
  while (!text.empty()) {
    const auto step = parser.feed(text);
    CHECK(step.used <= text.size());
    text.remove_prefix(step.used);
    parser.take_expectation();
    if (step.status != 0 || step.used == 0) return;
    if (!parser.done()) continue;
    HttpRequest request;
    if (parser.take(request)) CHECK(!request.path.empty() && request.body.size() <= kMaxBody);
    return;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const testing::FakeEngine engine;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check_body(text, engine.model());
  check_http(text);
  return 0;
}
