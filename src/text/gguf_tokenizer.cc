// Tokenizers from a GGUF's keys tokenizer.ggml.*.
// Source: ggml/docs/gguf.md; defaults of absent keys as in llama.cpp, llama-vocab.cpp.

#include <numeric>

#include "text/bpe.h"
#include "text/pipeline.h"
#include "text/spm.h"

namespace commissure {

namespace {

using Strings = std::vector<std::string>;

std::string key(std::string_view name) { return "tokenizer.ggml." + std::string(name); }

TokenType token_type(std::int64_t value) {
  const bool is_known = value >= 1 && value <= 6;
  return is_known ? static_cast<TokenType>(value) : TokenType::kNormal;
}

Result<std::unique_ptr<TokenTable>> read_vocabulary(const Metadata& gguf) {
  const auto* texts = gguf.find<Strings>(key("tokens"));
  if (texts == nullptr || texts->empty()) {
    return Error(Code::kInvalidArgument, "the model file has no tokenizer.ggml.tokens; convert the model again");
  }
  const auto* types = gguf.find<std::vector<std::int64_t>>(key("token_type"));
  if (types != nullptr && types->size() < texts->size()) {
    return Error(Code::kInvalidArgument, "tokenizer.ggml.token_type has ", types->size(), " entries for ",
                 texts->size(), " tokens");
  }
  const std::size_t n_bytes = std::accumulate(texts->begin(), texts->end(), std::size_t{0},
                                              [](std::size_t sum, const std::string& s) { return sum + s.size(); });
  auto vocabulary = std::make_unique<TokenTable>(texts->size(), n_bytes + 64);
  for (std::size_t id = 0; id < texts->size(); ++id) {
    const TokenType type = types == nullptr ? TokenType::kNormal : token_type((*types)[id]);
    const std::string& text = (*texts)[id];
    // As llama.cpp spells tokens without text, so that each has one of its own.
    TRY(vocabulary->add(text.empty() ? "[EMPTY_" + std::to_string(id) + "]" : text, type));
  }
  return vocabulary;
}

/// The id that `name` holds; absent or out of range: none.
std::optional<TokenId> read_id(const Metadata& gguf, const TokenTable& vocabulary, std::string_view name) {
  const std::optional<std::int64_t> id = gguf.integer(key(name));
  if (!id || !vocabulary.contains(*id)) return std::nullopt;
  return TokenId(static_cast<std::int32_t>(*id));
}

Result<std::unique_ptr<PieceModel>> make_spm(const Metadata& gguf, const PipelineParts& parts) {
  const auto* scores = gguf.find<std::vector<float>>(key("scores"));
  const std::size_t n_tokens = parts.vocabulary->n_tokens();
  if (scores == nullptr || scores->size() < n_tokens) {
    return Error(Code::kInvalidArgument, "tokenizer.ggml.scores has ", scores == nullptr ? 0 : scores->size(),
                 " entries for ", n_tokens, " tokens; convert the model again");
  }
  return std::make_unique<SpmModel>(*parts.vocabulary, *scores, parts.unknown);
}

Result<std::unique_ptr<PieceModel>> make_bpe(const Metadata& gguf, const PipelineParts& parts,
                                             const BpeModel::Options& options) {
  const auto* merges = gguf.find<Strings>(key("merges"));
  if (merges == nullptr) {
    return Error(Code::kInvalidArgument, "the model file has no tokenizer.ggml.merges; convert the model again");
  }
  auto model = std::make_unique<BpeModel>(*parts.vocabulary, options, merges->size());
  for (const std::string& merge : *merges) {
    const std::size_t space = merge.find(' ', 1);  // a first part may begin with a space
    if (space == std::string::npos) {
      return Error(Code::kInvalidArgument, "tokenizer.ggml.merges holds \"", merge, "\", which is no pair");
    }
    TRY(model->add_merge(std::string_view(merge).substr(0, space), std::string_view(merge).substr(space + 1)));
  }
  return model;
}

bool takes_pieces_whole(std::string_view pre) {
  return pre == "llama-bpe" || pre == "llama3" || pre == "llama-v3" || pre == "falcon3" || pre == "pixtral" ||
         pre == "tekken" || pre == "glm4";
}

/// What the tokenizer model "llama", "gpt2" or "gemma4" settles.
Status apply_model(const Metadata& gguf, std::string_view model, PipelineParts& parts) {
  const bool is_spm = model == "llama";
  const bool is_gemma4 = model == "gemma4";
  const std::string* pre_key = gguf.text(key("pre"));
  const std::string pre = is_gemma4 ? "gemma4" : pre_key == nullptr ? "default" : *pre_key;
  parts.spelling = is_spm || is_gemma4 ? Spelling::kSpaceMark : Spelling::kByteLevel;
  if (parts.spelling == Spelling::kSpaceMark) {
    const bool has_prefix = gguf.boolean(key("add_space_prefix")).value_or(is_spm);
    parts.strips_leading_space = has_prefix;
    if (has_prefix) parts.normaliser.add(Normaliser::Prepend{" "});
    parts.normaliser.add(Normaliser::Replace{" ", "\xE2\x96\x81"});
  }
  if (is_spm) {
    parts.model = TRY(make_spm(gguf, parts));
    return {};
  }
  parts.pre_tokenizer = TRY(PreTokenizer::named(pre));
  BpeModel::Options options;
  options.byte_level = !is_gemma4;
  options.byte_fallback = options.newline_runs_whole = is_gemma4;
  options.ignore_merges = takes_pieces_whole(pre);
  parts.model = TRY(make_bpe(gguf, parts, options));
  return {};
}

bool adds_bos(const Metadata& gguf, std::string_view model) {
  if (model == "gemma4") return true;  // as llama.cpp's loader insists, whatever the key says
  const std::string* pre = gguf.text(key("pre"));
  const bool by_default =
      model == "llama" || (pre != nullptr && (*pre == "llama-bpe" || *pre == "llama3" || *pre == "tekken"));
  return gguf.boolean(key("add_bos_token")).value_or(by_default);
}

void add_specials(PipelineParts& parts) {
  for (int id = 0; id < parts.vocabulary->n_tokens(); ++id) {
    const TokenId token(id);
    const TokenType type = parts.vocabulary->type(token);
    const bool is_control = type == TokenType::kControl || type == TokenType::kUnknown;
    if (!is_control && type != TokenType::kUserDefined) continue;
    SpecialToken special{token};
    special.is_control = is_control;
    parts.specials.add(parts.vocabulary->text(token), special);
  }
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> Tokenizer::from_metadata(const Metadata& gguf) {
  const std::string* model = gguf.text(key("model"));
  if (model == nullptr) {
    return Error(Code::kInvalidArgument, "the model file has no tokenizer.ggml.model; convert the model again");
  }
  const bool is_spm = *model == "llama";
  if (!is_spm && *model != "gpt2" && *model != "gemma4") {
    return Error(Code::kUnimplemented, "the tokenizer model \"", *model, "\" is not supported (llama, gpt2, gemma4)");
  }
  PipelineParts parts(TRY(read_vocabulary(gguf)));
  parts.bos = read_id(gguf, *parts.vocabulary, "bos_token_id");
  parts.eos = read_id(gguf, *parts.vocabulary, "eos_token_id");
  parts.unknown = read_id(gguf, *parts.vocabulary, "unknown_token_id");
  if (is_spm && !gguf.has(key("bos_token_id")) && parts.vocabulary->contains(1)) parts.bos = TokenId(1);
  if (is_spm && !gguf.has(key("eos_token_id")) && parts.vocabulary->contains(2)) parts.eos = TokenId(2);
  TRY(apply_model(gguf, *model, parts));
  if (parts.bos && adds_bos(gguf, *model)) parts.before.push_back(*parts.bos);
  if (parts.eos && gguf.boolean(key("add_eos_token")).value_or(false)) parts.behind.push_back(*parts.eos);

  for (const char* name : {"eos_token_id", "eot_token_id", "eom_token_id"}) {
    if (const auto token = read_id(gguf, *parts.vocabulary, name)) parts.end_tokens.push_back(*token);
  }
  if (parts.eos) parts.end_tokens.push_back(*parts.eos);
  add_known_end_tokens(parts);
  add_specials(parts);
  return std::unique_ptr<Tokenizer>(std::make_unique<Pipeline>(std::move(parts)));
}

}  // namespace commissure
