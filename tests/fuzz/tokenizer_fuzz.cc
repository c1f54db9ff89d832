// Feeds the input to small tokenizers as text, and as tokenizer.json, chat template and stop string.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/check.h"
#include "jinja/chat_template.h"
#include "text/byte_level.h"
#include "text/stop_matcher.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace {

using namespace commissure;

std::unique_ptr<Tokenizer> byte_tokenizer() {
  std::vector<std::string> tokens = {"<|im_end|>"};
  for (int byte = 0; byte < 256; ++byte) tokens.push_back(spell_bytes(std::string(1, static_cast<char>(byte))));
  for (const char* text : {"aa", "aaaa", "\u0120a"}) tokens.emplace_back(text);
  std::vector<std::int64_t> types(tokens.size(), 1);
  types[0] = 3;
  Metadata gguf;
  gguf.set("tokenizer.ggml.model", std::string("gpt2"));
  gguf.set("tokenizer.ggml.pre", std::string("qwen2"));
  gguf.set("tokenizer.ggml.tokens", tokens);
  gguf.set("tokenizer.ggml.token_type", types);
  gguf.set("tokenizer.ggml.merges", std::vector<std::string>{"a a", "aa aa", "\u0120 a"});
  return Tokenizer::from_metadata(gguf).value();
}

void check_round_trip(const Tokenizer& tokenizer, std::string_view text) {
  const auto tokens = tokenizer.encode(text, {.add_special = false, .parse_special = false});
  CHECK(tokenizer.decode(tokens) == replace_invalid_utf8(text));
}

void check_json(std::string_view text) {
  const auto json = parse_json(text);
  if (!json) return;
  const auto tokenizer = Tokenizer::from_json(*json, Json());
  if (tokenizer) (*tokenizer)->decode((*tokenizer)->encode(text, {}));
}

void check_stops(std::string_view text) {
  if (text.size() < 2) return;
  const std::string stop(text.substr(0, 1 + static_cast<unsigned char>(text[0]) % 3));
  StopMatcher matcher({stop});
  std::string out;
  for (const char c : text.substr(1)) out += matcher.push(std::string_view(&c, 1)).text;
  out += matcher.finish();
  CHECK(out == text.substr(1, text.substr(1).find(stop)));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const auto tokenizer = byte_tokenizer();
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check_round_trip(*tokenizer, text);
  check_json(text);
  check_stops(text);
  if (const auto compiled = ChatTemplate::compile(text)) {
    (void)(*compiled)->render({{"messages", {{{"role", "user"}, {"content", "x"}}}}});
  }
  return 0;
}
