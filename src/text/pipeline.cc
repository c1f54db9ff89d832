#include "text/pipeline.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "text/byte_level.h"

namespace commissure {

namespace {

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581

// Merging counts bytes in 32 bits; longer texts are far beyond any context window.
constexpr std::size_t kMaxTextBytes = std::size_t{1} << 30;

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// The byte that "<0xXX>" names.
std::optional<char> named_byte(std::string_view text) {
  if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>') return std::nullopt;
  const int high = hex_digit(text[3]), low = hex_digit(text[4]);
  if (high < 0 || low < 0) return std::nullopt;
  return static_cast<char>(high * 16 + low);
}

}  // namespace

struct Pipeline::Run {
  const EncodeOptions& options;
  std::vector<TokenId> tokens;
  MergeScratch scratch;
};

Pipeline::Pipeline(PipelineParts parts) : parts_(std::move(parts)) {
  std::sort(parts_.end_tokens.begin(), parts_.end_tokens.end());
  parts_.end_tokens.erase(std::unique(parts_.end_tokens.begin(), parts_.end_tokens.end()), parts_.end_tokens.end());
}

std::vector<TokenId> Pipeline::encode(std::string_view text, const EncodeOptions& options) const {
  text = text.substr(0, kMaxTextBytes);
  Run run{options, {}, {}};
  run.tokens.reserve(text.size() / 3 + 2);
  const auto add = [&](const std::vector<TokenId>& tokens) {
    if (options.add_special) run.tokens.insert(run.tokens.end(), tokens.begin(), tokens.end());
  };
  add(parts_.before);
  for (std::size_t done = 0; done < text.size();) {
    const auto match = parts_.specials.find(text, done, options.parse_special, options.plain_at);
    const std::size_t end = match ? match->begin : text.size();
    if (end > done) encode_raw(text.substr(done, end - done), done == 0, run);
    if (!match) break;
    run.tokens.push_back(match->token);
    done = match->end;
  }
  add(parts_.behind);
  return std::move(run.tokens);
}

void Pipeline::encode_raw(std::string_view text, bool is_start, Run& run) const {
  std::string normal = parts_.normaliser.run(std::string(text));
  if (parts_.normalised_specials.empty()) return encode_normalised(std::move(normal), is_start, run);
  // Places of the raw text mean nothing after normalisation, so with any of them no control token is taken from it.
  const bool with_control = run.options.parse_special && run.options.plain_at.empty();
  for (std::size_t done = 0; done < normal.size();) {
    const auto match = parts_.normalised_specials.find(normal, done, with_control);
    const std::size_t end = match ? match->begin : normal.size();
    if (end > done) encode_normalised(normal.substr(done, end - done), is_start && done == 0, run);
    if (!match) break;
    run.tokens.push_back(match->token);
    done = match->end;
  }
}

void Pipeline::encode_normalised(std::string text, bool is_start, Run& run) const {
  const Pieces pieces = parts_.pre_tokenizer.run(std::move(text), is_start);
  std::size_t begin = 0;
  for (const std::uint32_t end : pieces.ends) {
    parts_.model->encode(std::string_view(pieces.text).substr(begin, end - begin), run.scratch, run.tokens);
    begin = end;
  }
}

std::vector<std::size_t> Pipeline::control_places(std::string_view text) const {
  std::vector<std::size_t> places = parts_.specials.control_places(text);
  if (parts_.normalised_specials.empty()) return places;
  std::vector<std::size_t> all;
  std::ranges::set_union(places, parts_.normalised_specials.control_places(text), std::back_inserter(all));
  // A spelling that only the normaliser makes has no place in this text: any place turns all of those off.
  const bool is_hidden = all.empty() && !text.empty() &&
                         !parts_.normalised_specials.control_places(parts_.normaliser.run(std::string(text))).empty();
  if (is_hidden) all.push_back(0);
  return all;
}

bool Pipeline::is_control(TokenId token) const {
  if (!contains(token)) return false;
  const TokenType type = parts_.vocabulary->type(token);
  return type == TokenType::kControl || type == TokenType::kUnknown;
}

std::string Pipeline::token_bytes(TokenId token, bool show_control) const {
  // A model may have more rows than its tokenizer has tokens: those stand for no text.
  if (!contains(token)) return {};
  const std::string_view text = parts_.vocabulary->text(token);
  if (is_control(token)) return show_control ? std::string(text) : std::string();
  if (parts_.vocabulary->type(token) == TokenType::kUserDefined) return std::string(text);
  switch (parts_.spelling) {
    case Spelling::kByteLevel: return unspell_bytes(text);
    case Spelling::kSpaceMark:
      if (const std::optional<char> byte = named_byte(text)) return std::string(1, *byte);
      return replace_all(text, kSpaceMark, " ");
    case Spelling::kPlain: break;
  }
  return std::string(text);
}

bool is_known_end_text(std::string_view text) {
  static constexpr std::string_view kTexts[] = {
      "<|eot_id|>",
      "<|eom_id|>",
      "<|im_end|>",
      "<|end|>",
      "<|return|>",
      "<|call|>",
      "<end_of_turn>",
      "<|endoftext|>",
      "<turn|>",
      "<|tool_response>",
      "<|end_of_text|>",
      "<end_of_utterance>",
      "<EOT>",
      "[EOT]",
      "<eos>",
      "</s>",
      "<\xEF\xBD\x9C"
      "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>",
  };
  return std::find(std::begin(kTexts), std::end(kTexts), text) != std::end(kTexts);
}

void add_known_end_tokens(PipelineParts& parts) {
  TokenTable& vocabulary = *parts.vocabulary;
  // Gemma 4 and gpt-oss have an ordinary token of the same text as another family's end.
  const bool is_gemma4 = vocabulary.find("<|tool_response>").has_value();
  const bool is_harmony = vocabulary.find("<|return|>") && vocabulary.find("<|call|>");
  for (int id = 0; id < vocabulary.n_tokens(); ++id) {
    const TokenId token(id);
    const TokenType type = vocabulary.type(token);
    if (type != TokenType::kControl && type != TokenType::kUserDefined) continue;
    const std::string_view text = vocabulary.text(token);
    if (!is_known_end_text(text) || (is_gemma4 && text == "</s>") || (is_harmony && text == "<|end|>")) continue;
    vocabulary.set_type(token, TokenType::kControl);
    parts.end_tokens.push_back(token);
  }
  if (is_harmony) std::erase(parts.end_tokens, vocabulary.find("<|end|>").value_or(TokenId(-1)));  // ends a message
}

}  // namespace commissure
