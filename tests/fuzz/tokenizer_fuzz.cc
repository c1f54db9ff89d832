// Text to a small tokenizer, bytes to the stop matcher, and a tokenizer.json with its tokenizer_config.json (after a
// NUL). The first byte chooses.

#include "core/json.h"
#include "fuzz/fuzz.h"
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

void check_round_trip(std::string_view text) {
  static const auto tokenizer = byte_tokenizer();
  const auto tokens = tokenizer->encode(text, {.add_special = false, .parse_special = false});
  CHECK(tokenizer->decode(tokens) == replace_invalid_utf8(text));
}

void check_files(std::string_view text) {
  const auto [tokenizer_text, config_text] = fuzz::two_texts(text);
  const auto json = parse_json(tokenizer_text);
  if (!json) return;
  const auto config = parse_json(config_text);
  const auto tokenizer = Tokenizer::from_json(*json, config ? *config : Json());
  if (!fuzz::is_accepted(tokenizer)) return;
  const auto tokens = (*tokenizer)->encode("Hi <s> w\u00f6rld 12\xff", {});
  for (const TokenId token : tokens) CHECK((*tokenizer)->contains(token));
  (void)(*tokenizer)->decode(tokens);
  for (const TokenId token : (*tokenizer)->end_tokens()) CHECK(token.value >= 0);
}

/// What comes out, piece by piece, is the text before the first stop string.
void check_stops(std::string_view text) {
  if (text.size() < 2) return;
  const std::string stop(text.substr(0, 1 + static_cast<unsigned char>(text[0]) % 3));
  StopMatcher matcher({stop});
  std::string out;
  for (const char c : text.substr(1)) out += matcher.push(std::string_view(&c, 1)).text;
  out += matcher.finish();
  CHECK(out == text.substr(1, text.substr(1).find(stop)));
}

constexpr std::pair<char, void (*)(std::string_view)> kReaders[] = {
    {'x', check_round_trip}, {'t', check_files}, {'s', check_stops}};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return fuzz::dispatch(kReaders, data, size);
}
